package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/internaldns/internaldns/registry"
)

// Writes that wait while another is made are made together.
func TestWritesThatWaitAreMadeInOneTransaction(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	before := a.do(t, newApp("web"))
	a.proxy.Delay(20 * time.Millisecond)
	const writers = 50
	indexes := make([]uint64, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() { indexes[i] = a.do(t, newMachine("web", fmt.Sprint("m", i), i, "started")) })
	}
	wg.Wait()
	distinct := make(map[uint64]bool)
	for i, index := range indexes {
		distinct[index] = true
		if m := a.store.Snapshot().Machine(fmt.Sprint("m", i)); m == nil || m.Modified != index || index <= before {
			t.Errorf("write %d returned index %d; the machine is %+v", i, index, m)
		}
	}
	if len(distinct) > writers/2 {
		t.Errorf("%d writes were made in %d transactions", writers, len(distinct))
	}
}

// In one group some writes are refused, some change nothing, some panic and some give up:
// each caller gets its own result.
func TestEachWriteOfAGroupHasItsOwnResult(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	a.do(t, newApp("web"), newMachine("web", "same", 1000, "started"))
	a.proxy.Delay(20 * time.Millisecond)
	no := errors.New("no")
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			id := fmt.Sprint("m", i)
			ctx, cancel := context.WithTimeout(t.Context(), soon)
			defer cancel()
			w := registry.Write{Events: []registry.Event{newMachine("web", id, i, "started")}}
			var decided error
			switch i % 6 {
			case 1:
				w.Events = []registry.Event{newMachine("missing", id, i, "started")} // there is no such app
			case 2:
				w.Events = []registry.Event{newMachine("web", "same", 1000, "started")}
			case 3:
				decided = no
			case 4:
				cancel()
			case 5:
				defer func() {
					if r := recover(); r != id {
						t.Errorf("write %d panicked with %v", i, r)
					}
				}()
			}
			_, err := a.Write(ctx, func(*registry.Snapshot) (registry.Write, error) {
				if i%6 == 5 {
					panic(id)
				}
				return w, decided
			})
			var faults registry.Faults
			switch i % 6 {
			case 0, 2:
				if err != nil {
					t.Errorf("write %d: %v", i, err)
				}
			case 1:
				if !errors.As(err, &faults) || len(faults) != 1 {
					t.Errorf("write %d: %v", i, err)
				}
			case 3:
				if err != no {
					t.Errorf("write %d: %v", i, err)
				}
			case 4:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("write %d: %v", i, err)
				}
			case 5:
				t.Errorf("write %d did not panic: %v", i, err)
			}
		})
	}
	wg.Wait()
	for i := range 60 {
		if m := a.store.Snapshot().Machine(fmt.Sprint("m", i)); (m != nil) != (i%6 == 0) && i%6 != 4 {
			t.Errorf("machine %d is %v", i, m)
		}
	}
}

// A write that is refused only when its keys are made is not in the registry that the
// next write of the group reads.
func TestAWriteDoesNotReadARefusedWriteOfItsGroup(t *testing.T) {
	a := start(t, serve(t))
	a.do(t, newApp("web"))
	broken := newMachine("web", "broken", 1, "started")
	broken.Fact.(*registry.Machine).Raw = registry.Raw("broken")
	queue := func(decide func(*registry.Snapshot) []registry.Event) *write {
		return &write{ctx: t.Context(), done: make(chan struct{}), decide: func(s *registry.Snapshot) (registry.Write, error) {
			return registry.Write{Events: decide(s)}, nil
		}}
	}
	good := queue(func(*registry.Snapshot) []registry.Event {
		return []registry.Event{newMachine("web", "good", 2, "started")}
	})
	bad := queue(func(*registry.Snapshot) []registry.Event { return []registry.Event{broken} })
	last := queue(func(s *registry.Snapshot) []registry.Event {
		if s.Machine("good") == nil || s.Machine("broken") != nil {
			t.Errorf("the last write reads the machines good: %v, broken: %v", s.Machine("good"), s.Machine("broken"))
		}
		return nil
	})
	a.mu.Lock()
	a.queue = append(a.queue, good, bad, last)
	a.wakeCommitter()
	a.mu.Unlock()
	<-good.done
	<-bad.done
	<-last.done
	var faults registry.Faults
	if good.err != nil || !errors.As(bad.err, &faults) || last.err != nil {
		t.Errorf("the writes end with %v, %v and %v", good.err, bad.err, last.err)
	}
}

// A write that waits when the server stops is refused, and one that comes later.
func TestWritesAreRefusedWhenTheServerStops(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	a.do(t, newApp("web"))
	s.Etcdctl("put", "/internaldns/lock", "an import that does not end")
	a.knowsOfImport(t)
	done := make(chan error)
	go func() {
		_, err := a.try(newApp("db"))
		done <- err
	}()
	a.until(t, "the write waits", func(*registry.Snapshot) bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.waiting) > 0
	})
	a.stop()
	if err := <-done; !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("the write that waited: %v", err)
	}
	if _, err := a.try(newApp("db")); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("a later write: %v", err)
	}
}
