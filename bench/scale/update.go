//go:build linux

package scale

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/internaldns/internaldns/bench/harness"
	"github.com/internaldns/internaldns/registry"
)

// Updates are single updates of machines, one after another.
type Updates struct {
	Machines int    `json:"machines"` // in the registry, or in the app
	What     string `json:"what"`
	Count    int    `json:"count"`
	// Latency is from the call of Apply until a lookup has shown the update.
	harness.Latency
	// Min is the shortest: what is left if other programs do not disturb it.
	Min time.Duration `json:"min_ns"`
	// First and Last are the times of the first and the last Window updates.
	Window int           `json:"window"`
	First  time.Duration `json:"first_ns"`
	Last   time.Duration `json:"last_ns"`
	Usage  Usage         `json:"usage"`
}

// updateOneByOne times n updates of the picks in turn, and checks each.
func (w *world) updateOneByOne(ctx context.Context, picks []pick, what string, n int) (Updates, error) {
	k := newAsker()
	took := make([]time.Duration, n)
	events := make([]registry.Event, 1)
	used := use()
	for i := range n {
		p := &picks[i%len(picks)]
		events[0] = p.update(what)
		began := time.Now()
		_, err := w.store.Apply(events)
		response := k.ask(w.publisher, p.query)
		took[i] = time.Since(began)
		if err == nil {
			err = p.shown(response)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return Updates{}, fmt.Errorf("update %d of %s: %w", i+1, what, err)
		}
	}
	u := Updates{Machines: w.machines(), What: what, Count: n, Min: slices.Min(took), Window: max(1, min(1000, n/10)), Usage: used()}
	for i := range u.Window {
		u.First += took[i]
		u.Last += took[n-1-i]
	}
	u.Latency = harness.LatencyOf(took)
	return u, nil
}

// Batches are as many updates as possible, that many in one Apply.
type Batches struct {
	Size    int   `json:"size"`
	Updates int   `json:"updates"`
	Usage   Usage `json:"usage"`
}

// PerSecond returns the updates in a second.
func (b *Batches) PerSecond() float64 { return float64(b.Updates) / b.Usage.Elapsed.Seconds() }

// updateInBatches updates the states of machines for d, size machines in one
// Apply. No machine is twice in a batch.
func (w *world) updateInBatches(ctx context.Context, picks []pick, size int, d time.Duration) (Batches, error) {
	size = min(size, len(picks))
	b := Batches{Size: size}
	events := make([]registry.Event, size)
	used, end := use(), time.Now().Add(d)
	for next := 0; b.Updates == 0 || time.Now().Before(end); {
		for i := range events {
			events[i] = picks[next].update(state)
			next = (next + 1) % len(picks)
		}
		if _, err := w.store.Apply(events); err != nil {
			return b, err
		}
		b.Updates += size
		if err := ctx.Err(); err != nil {
			return b, err
		}
	}
	b.Usage = used()
	return b, allShown(w.publisher, picks)
}

// Updating is what became of updates at a constant rate.
type Updating struct {
	Updates int `json:"updates"`
	Commits int `json:"commits"`
	// Late counts the updates that were due and not applied when the round ended.
	Late int `json:"late"`
	// Latency is from the time an update was due until a lookup has shown it.
	Latency harness.Latency `json:"latency"`
}

// mostAtOnce is the most updates in one commit. A source that is behind takes that
// many at a time.
const mostAtOnce = 1000

// updateAtRate updates the states of machines until stop is closed, each as soon
// as it is due; updates that became due while others were applied share a commit.
// One is due in each 1/rate seconds, at a random time within it: queries come at a
// constant rate, and would otherwise meet every update of a round at the same
// point of its work, or none.
func (w *world) updateAtRate(stop <-chan struct{}, picks []pick, rate float64, u *Updating) error {
	// A timer of the runtime can be a millisecond late, which would make one commit
	// of five updates.
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	var (
		random = rand.New(rand.NewPCG(1, 2))
		due    []time.Duration // of the updates from number u.Updates on
		drawn  int
		k      = newAsker()
		took   []time.Duration
		events []registry.Event
		began  = time.Now()
		most   = min(mostAtOnce, len(picks))
	)
	for {
		now := time.Since(began)
		for ; float64(drawn) <= now.Seconds()*rate+1; drawn++ {
			due = append(due, time.Duration((float64(drawn)+random.Float64())/rate*float64(time.Second)))
		}
		n := 0
		for n < len(due) && due[n] <= now {
			n++
		}
		select {
		case <-stop:
			u.Late, u.Latency = n, harness.LatencyOf(took)
			return nil
		default:
		}
		if n == 0 {
			ts := unix.NsecToTimespec(int64(min(due[0]-now, time.Millisecond))) // short, to notice stop
			unix.Nanosleep(&ts, nil)
			continue
		}
		events = events[:0]
		var last *pick
		for i := range min(n, most) {
			last = &picks[(u.Updates+i)%len(picks)]
			events = append(events, last.update(state))
		}
		if _, err := w.store.Apply(events); err != nil {
			return err
		}
		if err := last.shown(k.ask(w.publisher, last.query)); err != nil {
			return err
		}
		now = time.Since(began)
		for i := range events {
			took = append(took, now-due[i])
		}
		due = due[:copy(due, due[len(events):])]
		u.Updates += len(events)
		u.Commits++
	}
}
