package workers

import (
	"sync/atomic"
	"testing"
)

func TestBatchesAreDoneOnceAndStayInOrder(t *testing.T) {
	type batch struct{ number, square, done int }
	var workers atomic.Int32
	p := Start(func() func(*batch) {
		workers.Add(1)
		return func(b *batch) { b.square, b.done = b.number*b.number, b.done+1 }
	})
	const n = 1000
	for i := range n {
		p.Add(&batch{number: i})
	}
	batches := p.Wait()
	if len(batches) != n || workers.Load() == 0 {
		t.Fatalf("%d batches came back from %d workers, want %d", len(batches), workers.Load(), n)
	}
	for i, b := range batches {
		if *b != (batch{i, i * i, 1}) {
			t.Fatalf("batch %d is %+v", i, *b)
		}
	}
}
