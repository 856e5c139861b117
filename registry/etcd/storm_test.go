package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/internaldns/internaldns/registry"
)

// randomEvents returns a write to a small registry, which often refuses it.
func randomEvents(r *rand.Rand) []registry.Event {
	name := func() string { return []string{"web", "db", "mail"}[r.IntN(3)] }
	var events []registry.Event
	for range 1 + r.IntN(3) {
		id := fmt.Sprintf("m%d", r.IntN(12))
		switch r.IntN(12) {
		case 0:
			events = append(events, registry.Delete(registry.Key{Kind: registry.KindApp, Network: acme, Name: name()}))
		case 1, 2:
			events = append(events, newApp(name()))
		case 3:
			events = append(events, registry.Delete(registry.Key{Kind: registry.KindMachine, Network: acme, Name: name(), ID: id}))
		case 4:
			events = append(events, registry.Put(&registry.Peer{Name: []string{"p", "q"}[r.IntN(2)], Address: address(r.IntN(12))}))
		case 5:
			events = append(events, registry.Put(&registry.Flycast{Address: address(r.IntN(12)), App: name(), Owner: acme}))
		case 6:
			events = append(events, registry.Put(&registry.NetworkName{Network: registry.Network(1 + r.IntN(3)), Name: []string{"n", "o"}[r.IntN(2)]}))
		case 7:
			events = append(events, registry.Delete(registry.Key{Kind: registry.KindPeer, Network: acme, Name: "p"}), registry.Delete(registry.Key{Kind: registry.KindFlycast, Address: address(r.IntN(12))}), registry.Delete(registry.Key{Kind: registry.KindNetwork, Network: 1}))
		default:
			events = append(events, newMachine(name(), id, r.IntN(12), []string{"started", "stopped", "destroyed"}[r.IntN(3)]))
		}
	}
	return events
}

// All nodes write at once, connections break, etcd is killed, and some writes are imports.
// No node ever shows an older state after a newer one, and in the end all have the same.
func TestAfterAStormAllNodesHaveTheSame(t *testing.T) {
	s := serve(t)
	nodes := []*node{start(t, s), start(t, s), start(t, s)}
	ctx, stop := context.WithCancel(t.Context())
	var readers, writers sync.WaitGroup
	for i, n := range nodes {
		readers.Go(func() {
			var last uint64
			modified := map[string]uint64{}
			for ctx.Err() == nil {
				snap := n.store.Snapshot()
				if snap.Index < last {
					t.Errorf("node %d shows index %d after %d", i, snap.Index, last)
				}
				last = snap.Index
				for m := range snap.MachinesIn(acme) {
					if m.Modified < modified[m.ID] {
						t.Errorf("node %d shows machine %s of %d after %d", i, m.ID, m.Modified, modified[m.ID])
					}
					modified[m.ID] = m.Modified
				}
				sleep(ctx, time.Millisecond)
			}
		})
	}
	var mu sync.Mutex
	made, refused := 0, 0
	own := map[string][2]int{} // of each writer's own machine: the last version acknowledged, and tried
	nodes[0].do(t, newApp("keep"))
	for i, n := range nodes {
		for w := range 2 {
			writers.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), uint64(w)))
				id, acknowledged := fmt.Sprintf("own%d-%d", i, w), 0
				for version := range 80 {
					events := randomEvents(r)
					if r.IntN(2) == 0 {
						events = []registry.Event{newMachine("keep", id, 2000+2*i+w, fmt.Sprint("v", version))}
					}
					if r.IntN(40) == 0 { // too large for a transaction
						events = []registry.Event{newApp("web")}
						for m := range 150 {
							events = append(events, newMachine("web", fmt.Sprintf("bulk%d", m), 1000+m, []string{"started", "stopped"}[r.IntN(2)]))
						}
					}
					index, err := n.try(events...)
					var faults registry.Faults
					mu.Lock()
					if m, ok := events[0].Fact.(*registry.Machine); ok && !events[0].Delete && m.ID == id {
						if err == nil {
							acknowledged = version
						}
						own[id] = [2]int{acknowledged, version}
					}
					switch {
					case err == nil:
						made++
						if got := n.store.Snapshot().Index; got < index {
							t.Errorf("write %d was acknowledged at index %d", index, got)
						}
					case errors.As(err, &faults), errors.Is(err, registry.ErrUnavailable):
						refused++
					default:
						t.Errorf("a write: %v", err)
					}
					mu.Unlock()
					if errors.Is(err, registry.ErrUnavailable) {
						n.until(t, "etcd is back", func(*registry.Snapshot) bool { return n.Status().Connected })
					}
					if w > 0 {
						continue // only the first writer of a node breaks connections
					}
					if i == 0 && version%30 == 29 {
						s.Kill()
						s.Restart()
					}
					switch r.IntN(40) {
					case 0, 1:
						n.proxy.Reset()
					case 2:
						n.proxy.Delay(time.Duration(r.IntN(20)) * time.Millisecond)
					case 3:
						n.proxy.Swallow() // until the next, or the node has noticed
						n.until(t, "the node has noticed", func(*registry.Snapshot) bool { return !n.Status().Connected })
						n.proxy.Pass()
						n.until(t, "etcd is back", func(*registry.Snapshot) bool { return n.Status().Connected })
					default:
						n.proxy.Pass()
					}
				}
			})
		}
	}
	writers.Wait()
	stop()
	readers.Wait()
	t.Logf("%d writes, %d refused", made, refused)
	if made < 50 {
		t.Errorf("only %d writes were made", made)
	}
	for _, n := range nodes {
		n.proxy.Pass()
		n.back(t, "after the storm", time.Now())
	}
	converged(t, nodes...)
	for id, versions := range own {
		m, version := nodes[0].store.Snapshot().Machine(id), 0
		if m != nil {
			fmt.Sscanf(m.State, "v%d", &version)
		}
		if version < versions[0] || version > versions[1] {
			t.Errorf("machine %s is at version %d; %d was acknowledged and %d tried", id, version, versions[0], versions[1])
		}
	}
}

// Of two clients that read one index, and write on condition that nothing has changed
// since, one succeeds.
func TestOneOfTwoConditionalWritesSucceeds(t *testing.T) {
	s := serve(t)
	nodes := []*node{start(t, s), start(t, s)}
	index := nodes[0].do(t, newApp("web"), newMachine("web", "m1", 1, "v0"))
	lost := errors.New("another write was quicker")
	for round := range 30 {
		type result struct {
			index uint64
			err   error
		}
		results := make(chan result, 2)
		for i, n := range nodes {
			go func() {
				index, err := n.Write(t.Context(), func(s *registry.Snapshot) (registry.Write, error) {
					if m := s.Machine("m1"); m == nil || m.Modified != index {
						return registry.Write{}, lost
					}
					return registry.Write{Events: []registry.Event{newMachine("web", "m1", 1, fmt.Sprintf("v%d-%d", round, i))}}, nil
				})
				results <- result{index, err}
			}()
		}
		a, b := <-results, <-results
		if a.err != nil {
			a, b = b, a
		}
		if a.err != nil || b.err != lost {
			t.Fatalf("round %d: %v and %v", round, a.err, b.err)
		}
		index = a.index
	}
	converged(t, nodes...)
}

func TestTenThousandMachinesAreListed(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	events := []registry.Event{newApp("web")}
	for i := range 10_000 {
		events = append(events, newMachine("web", fmt.Sprintf("m%d", i), i, "started"))
	}
	begun := time.Now()
	a.do(t, events...)
	t.Logf("imported in %v", time.Since(begun))
	begun = time.Now()
	b := start(t, s)
	t.Logf("loaded in %v", time.Since(begun))
	if n := b.store.Snapshot().Stats().Total(); n != 10_000 {
		t.Errorf("%d machines", n)
	}
	begun = time.Now()
	index := b.do(t, newMachine("web", "m77", 77, "stopped"))
	t.Logf("one written in %v", time.Since(begun))
	a.until(t, "the write shows", func(s *registry.Snapshot) bool { return s.Index >= index })
	converged(t, a, b)
}
