// Package workers spreads batches of work over all processors and keeps their
// order.
package workers

import (
	"runtime"
	"sync"
)

// A Pool does batches of work, each once. Add and Wait belong to one goroutine.
type Pool[T any] struct {
	batches []T // all, in the order of Add
	queue   chan T
	running sync.WaitGroup
}

// Start starts one goroutine for each processor (GOMAXPROCS). Each calls newWork
// once, and then the function that it returned for each batch that it takes: what
// that function remembers between batches needs no lock. The caller must call
// Wait.
func Start[T any](newWork func() func(batch T)) *Pool[T] {
	n := runtime.GOMAXPROCS(0)
	p := &Pool[T]{queue: make(chan T, 2*n)}
	for range n {
		p.running.Go(func() {
			work := newWork()
			for batch := range p.queue {
				work(batch)
			}
		})
	}
	return p
}

// Add gives a batch to the next goroutine that is free. It waits while two
// batches for each goroutine are queued, which bounds the memory of batches that
// are not done yet.
func (p *Pool[T]) Add(batch T) {
	p.queue <- batch
	p.batches = append(p.batches, batch)
}

// Wait returns all batches, in the order of Add, when they are done and the
// goroutines have ended.
func (p *Pool[T]) Wait() []T {
	close(p.queue)
	p.running.Wait()
	return p.batches
}
