//go:build linux

package scale

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/internaldns/internaldns/registry"
)

// Latency is of some updates, each from the call of Apply, or from when it fell
// due, until a lookup has shown it.
type Latency struct {
	P50 time.Duration `json:"p50_ns"`
	P99 time.Duration `json:"p99_ns"`
	Max time.Duration `json:"max_ns"`
}

// latency sorts took.
func latency(took []time.Duration) Latency {
	if len(took) == 0 {
		return Latency{}
	}
	slices.Sort(took)
	n := len(took)
	return Latency{P50: took[n/2], P99: took[min(n-1, n*99/100)], Max: took[n-1]}
}

// Updates are single updates of machines among many, one after the other.
type Updates struct {
	Machines int     `json:"machines"`
	Kind     Kind    `json:"kind"`
	Count    int     `json:"count"`
	Latency  Latency `json:"latency"`
	// Octets and Objects are what one update allocates.
	Octets  float64 `json:"octets"`
	Objects float64 `json:"objects"`
	// Fastest is the shortest update: what is left of other programs' noise.
	Fastest time.Duration `json:"fastest_ns"`
	// CPU is what all of them took, in user and kernel mode.
	CPU time.Duration `json:"cpu_ns"`
	GC  Collected     `json:"gc"`
}

// updateOneByOne times n updates of picks in turn.
func (w *world) updateOneByOne(ctx context.Context, picks []pick, kind Kind, n int) (Updates, error) {
	k := newAsker()
	took := make([]time.Duration, n)
	events := make([]registry.Event, 1)
	collected := readCollector()
	octets, objects, cpu := read(allocatedOctets), read(allocatedObjects), cpuTime()
	for i := range n {
		p := &picks[i%len(picks)]
		events[0] = p.update(kind)
		begun := time.Now()
		_, err := w.store.Apply(events)
		response := k.ask(w.publisher, p.query)
		took[i] = time.Since(begun)
		if err == nil {
			err = p.shown(response)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return Updates{}, fmt.Errorf("update %d: %w", i+1, err)
		}
	}
	u := Updates{Machines: w.machines(), Kind: kind, Count: n}
	u.Octets = float64(read(allocatedOctets)-octets) / float64(n)
	u.Objects = float64(read(allocatedObjects)-objects) / float64(n)
	u.CPU = cpuTime() - cpu
	u.GC = readCollector().since(collected)
	u.Latency = latency(took)
	u.Fastest = took[0]
	return u, nil
}

// Rate is how many updates there were at most, applied so many at a time.
type Rate struct {
	Batch   int           `json:"batch"`
	Updates int           `json:"updates"`
	Elapsed time.Duration `json:"elapsed_ns"`
	CPU     time.Duration `json:"cpu_ns"`
	Octets  float64       `json:"octets"` // allocated for one update
}

// PerSecond returns the updates in a second.
func (r *Rate) PerSecond() float64 { return float64(r.Updates) / r.Elapsed.Seconds() }

// updateInBatches flips machines' states, as many at a time, for that long. No
// machine is twice in a batch.
func (w *world) updateInBatches(ctx context.Context, picks []pick, batch int, d time.Duration) (Rate, error) {
	batch = min(batch, len(picks))
	r := Rate{Batch: batch}
	events := make([]registry.Event, batch)
	octets, cpu, begun := read(allocatedOctets), cpuTime(), time.Now()
	for next := 0; r.Elapsed < d; r.Elapsed = time.Since(begun) {
		for i := range events {
			events[i] = picks[next].update(FlipState)
			next = (next + 1) % len(picks)
		}
		if _, err := w.store.Apply(events); err != nil {
			return r, err
		}
		r.Updates += batch
		if err := ctx.Err(); err != nil {
			return r, err
		}
	}
	r.CPU = cpuTime() - cpu
	r.Octets = float64(read(allocatedOctets)-octets) / float64(r.Updates)
	return r, allShown(w.publisher, picks)
}
