//go:build linux

package scale

import (
	"math/rand/v2"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/internaldns/internaldns/registry"
)

// Updating is what became of updates that fell due at a constant rate.
type Updating struct {
	Updates int `json:"updates"`
	Commits int `json:"commits"`
	// Late counts the updates that were due and not applied when the round ended.
	Late int `json:"late"`
	// Latency is from when an update was due until it was seen.
	Latency Latency `json:"latency"`
}

// mostAtOnce bounds the updates in one commit: a source that has fallen behind
// takes that many at a time.
const mostAtOnce = 1000

// updateAtRate flips machines' states as they fall due until stop is closed: each
// as soon as it is due, and those that fell due while others were applied
// together. One falls due in each 1/rate seconds, at a time in it that is drawn:
// queries come at a constant rate, and would otherwise meet each update at the
// same point of its work for a whole round, or never.
func (w *world) updateAtRate(stop <-chan struct{}, picks []pick, rate float64, u *Updating) error {
	// A timer of the runtime may be a millisecond late, and then five updates
	// would be one burst.
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	var (
		draw   = rand.New(rand.NewPCG(1, 2))
		due    []time.Duration // of the updates from u.Updates on
		drawn  int
		k      = newAsker()
		took   []time.Duration
		events []registry.Event
		begun  = time.Now()
		most   = min(mostAtOnce, len(picks))
	)
	for {
		now := time.Since(begun)
		for ; float64(drawn) <= now.Seconds()*rate+1; drawn++ {
			due = append(due, time.Duration((float64(drawn)+draw.Float64())/rate*float64(time.Second)))
		}
		n := 0
		for n < len(due) && due[n] <= now {
			n++
		}
		select {
		case <-stop:
			u.Late, u.Latency = n, latency(took)
			return nil
		default:
		}
		if n == 0 {
			ts := unix.NsecToTimespec(int64(min(due[0]-now, time.Millisecond))) // sees stop in time
			unix.Nanosleep(&ts, nil)
			continue
		}
		events = events[:0]
		var last *pick
		for i := range min(n, most) {
			last = &picks[(u.Updates+i)%len(picks)]
			events = append(events, last.update(FlipState))
		}
		if _, err := w.store.Apply(events); err != nil {
			return err
		}
		if err := last.shown(k.ask(w.publisher, last.query)); err != nil {
			return err
		}
		now = time.Since(begun)
		for i := range events {
			took = append(took, now-due[i])
		}
		due = due[:copy(due, due[len(events):])]
		u.Updates += len(events)
		u.Commits++
	}
}
