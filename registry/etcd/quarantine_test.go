package etcd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/internaldns/internaldns/registry"
)

func TestABadValueIsQuarantinedAndTheRestApplied(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	a.do(t, newApp("web"), newMachine("web", "m1", 1, "started"), newMachine("web", "m0", 0, "started"))
	root := "/internaldns/1/"
	for _, tt := range []struct{ name, key, value, because string }{
		{"no JSON", "machines/fdaa:0:18/web/x", "{", "no JSON"},
		{"another id", "machines/fdaa:0:18/web/x", object("y", 9, "started"), `the object says "y", the key "x"`},
		{"no region", "machines/fdaa:0:18/web/x", `{"id":"x","state":"started","private_ip":"fdaa:0:18::9"}`, "region: is missing"},
		{"another network's address", "machines/fdaa:0:18/web/x", `{"id":"x","state":"started","region":"ams","private_ip":"fdaa:0:19::9"}`, "outside the app's network"},
		{"a key twice", "machines/fdaa:0:18/web/x", `{"id":"x","id":"x","state":"started","region":"ams","private_ip":"fdaa:0:18::9"}`, "is given twice"},
		{"an app that is not there", "machines/fdaa:0:18/missing/x", object("x", 9, "started"), "no such app"},
		{"an address that another has", "machines/fdaa:0:18/web/x", object("x", 1, "started"), "is that of machines/fdaa:0:18/web/m1"},
		{"an id that another has", "machines/fdaa:0:18/web/m1/2", object("m1", 9, "started"), "is that of machines/fdaa:0:18/web/m1"},
		{"a key of no kind", "machine/x", "{}", "no kind of key"},
		{"a key written otherwise", "machines/fdaa:0:18/web/%78", object("x", 9, "started"), "not written as it must be"},
		{"a peer's address", "peers/fdaa:0:18/p", `{"address":"nowhere"}`, "cannot be read"},
		{"a peer of another network", "peers/fdaa:0:18/p", `{"address":"fdaa:0:19::1"}`, "outside the network"},
		{"a round trip", "rtts/ams/fra", "1.5", "whole milliseconds"},
		{"a region without a place", "regions/xx", `{"name":"X"}`, "latitude: is missing"},
		{"a region without a latitude", "regions/xx", `{"name":"X","latitude":null,"longitude":1}`, "latitude: is missing"},
		{"a peer without an address", "peers/fdaa:0:18/p", "{}", "address: is missing"},
		{"a network's name", "networks/fdaa:0:18", `{"name":"a b"}`, "is no name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.Etcdctl("put", root+tt.key, tt.value)
			a.until(t, "it is quarantined", func(*registry.Snapshot) bool { return a.Status().Quarantined == 1 })
			q := a.Status().Quarantine[0]
			if q.Key != root+tt.key || !strings.Contains(q.Because, tt.because) {
				t.Errorf("quarantined: %+v; want %q", q, tt.because)
			}
			a.do(t, newMachine("web", "m0", 0, "stopped"))
			a.do(t, newMachine("web", "m0", 0, "started")) // writes go on
			s.Etcdctl("put", root+tt.key, tt.value)        // the same again is not logged again
			b := start(t, s)
			if got, want := digest(b.store.Snapshot()), digest(a.store.Snapshot()); got != want {
				t.Errorf("a node that lists has\n%s\none that followed\n%s", got, want)
			}
			b.stop()
			s.Etcdctl("del", root+tt.key)
			a.until(t, "nothing is quarantined", func(*registry.Snapshot) bool { return a.Status().Quarantined == 0 })
		})
	}
	for i, line := range a.log.FilterMessageSnippet("not in effect").All() {
		for _, other := range a.log.FilterMessageSnippet("not in effect").All()[:i] {
			if fmt.Sprint(line.ContextMap()) == fmt.Sprint(other.ContextMap()) {
				t.Errorf("logged twice: %v", line.ContextMap())
			}
		}
	}
}

func TestTheNextGoodValueEndsAQuarantine(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	a.do(t, newApp("web"), newMachine("web", "m1", 1, "started"))
	s.Etcdctl("put", "/internaldns/1/machines/fdaa:0:18/web/m1", "oops")
	a.until(t, "the machine is not in effect", func(s *registry.Snapshot) bool { return s.Machine("m1") == nil })
	s.Etcdctl("put", "/internaldns/1/machines/fdaa:0:18/web/m1", object("m1", 1, "stopped"))
	a.until(t, "the machine is back", func(s *registry.Snapshot) bool { return s.Machine("m1") != nil })

	s.Etcdctl("put", "/internaldns/1/machines/fdaa:0:18/web/m1", "oops")
	a.until(t, "the machine is not in effect", func(s *registry.Snapshot) bool { return s.Machine("m1") == nil })
	a.do(t, newMachine("web", "m1", 1, "started")) // through a node
	if a.store.Snapshot().Machine("m1") == nil || a.Status().Quarantined != 0 {
		t.Errorf("after a good write: %+v", a.Status().Quarantine)
	}
}

// What a node has acknowledged stays in effect, whatever is put by hand.
func TestWhatIsPutByHandDoesNotDisplaceAnAcknowledgedMachine(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	s.Etcdctl("put", "/internaldns/1/apps/fdaa:0:18/web", "{}")
	s.Etcdctl("put", "/internaldns/1/machines/fdaa:0:18/web/old", object("old", 1, "started")) // older than m1, elsewhere
	a.until(t, "what was put by hand is in effect", func(s *registry.Snapshot) bool { return s.Machine("old") != nil })
	a.do(t, newMachine("web", "m1", 2, "started"))
	s.Etcdctl("put", "/internaldns/1/machines/fdaa:0:18/web/old", object("old", 2, "started"))
	a.until(t, "the machine put by hand is quarantined", func(*registry.Snapshot) bool { return a.Status().Quarantined == 1 })
	if m := a.store.Snapshot().MachineAt(address(2)); m == nil || m.ID != "m1" {
		t.Errorf("the address is that of %v", m)
	}
	a.do(t, registry.Delete(registry.Key{Kind: registry.KindMachine, Network: acme, Name: "web", ID: "m1"}))
	if m := a.store.Snapshot().MachineAt(address(2)); m == nil || m.ID != "old" {
		t.Errorf("the address that was given up is that of %v", m)
	}
}

// A machine that is put by hand into an app that does not exist is older than one that a
// server acknowledges later. It must not come into effect when the app is made.
func TestAnAppThatIsMadeDoesNotDisplaceAnAcknowledgedMachine(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	a.do(t, newApp("web"))
	s.Etcdctl("put", "/internaldns/1/machines/fdaa:0:18/later/m1", object("m1", 7, "started"))
	s.Etcdctl("put", "/internaldns/1/machines/fdaa:0:18/later/other", object("other", 1, "started"))
	a.until(t, "both are quarantined", func(*registry.Snapshot) bool { return a.Status().Quarantined == 2 })
	a.do(t, newMachine("web", "m1", 1, "started"))
	a.do(t, newApp("later"))
	a.do(t, newMachine("web", "m2", 2, "started"))
	for name, n := range map[string]*node{"the node that wrote": a, "a node that starts": start(t, s)} {
		for _, m := range []*registry.Machine{n.store.Snapshot().Machine("m1"), n.store.Snapshot().MachineAt(address(1))} {
			if m == nil || m.ID != "m1" || m.App != "web" {
				t.Errorf("%s: machine m1 of app web, acknowledged, is %v", name, m)
			}
		}
	}
}

// hand puts a key as a person does with etcdctl, who does not put the head.
func (n *node) hand(t testing.TB, key, value string) {
	t.Helper()
	if _, err := n.client.Put(context.Background(), "/internaldns/1/"+key, value); err != nil {
		t.Error(err)
	}
}

// A key put by hand after a server has decided, and before it writes, has the older
// revision. It must not displace what the server acknowledges: neither at once, nor
// after the next write, nor after an import, nor for a node that starts.
func TestWhatIsPutByHandWhileAServerWritesDoesNotDisplaceIt(t *testing.T) {
	s := serve(t)
	a, b := start(t, s), start(t, s)
	a.do(t, newApp("web"), newApp("db"), newMachine("web", "m1", 1, "started"))
	a.hand(t, "machines/fdaa:0:18/web/hand", object("hand", 7, "started"))
	a.until(t, "the machine put by hand is in effect", func(s *registry.Snapshot) bool { return s.Machine("hand") != nil })
	check := func(when string, put registry.Event) {
		t.Helper()
		want := put.Fact.(*registry.Machine)
		converge := []*node{a, b, start(t, s)}
		for _, n := range converge {
			n.until(t, when, func(s *registry.Snapshot) bool { return s.Index >= a.store.Snapshot().Index })
			if m := n.store.Snapshot().MachineAt(want.Address); m == nil || m.ID != want.ID || m.State != want.State {
				t.Errorf("%s, %v is the address of %v", when, want.Address, m)
			}
			if q := n.Status().Quarantine; len(q) != 1 || !strings.HasSuffix(q[0].Key, "/hand") {
				t.Errorf("%s, quarantined: %v", when, q)
			}
		}
		converge[2].stop()
	}
	want := newMachine("web", "m1", 2, "started")
	if _, err := a.Write(t.Context(), func(*registry.Snapshot) (registry.Write, error) {
		a.hand(t, "machines/fdaa:0:18/web/hand", object("hand", 2, "started"))
		return registry.Write{Events: []registry.Event{want}}, nil
	}); err != nil {
		t.Fatal(err)
	}
	check("after the write", want)
	b.do(t, newMachine("db", "other", 9, "started"))
	check("after another node's write", want)
	for _, state := range []string{"stopped", "started", "stopped"} {
		want = newMachine("web", "m1", 2, state)
		b.do(t, want)
		check("after a write of the machine", want)
	}
	var many []registry.Event
	for i := range 200 {
		many = append(many, newMachine("db", fmt.Sprintf("d%d", i), 100+i, "started"))
	}
	a.do(t, many...)
	check("after an import", want)
	a.do(t, registry.Delete(registry.Key{Kind: registry.KindMachine, Network: acme, Name: "web", ID: "m1"}))
	if m := a.store.Snapshot().MachineAt(address(2)); m == nil || m.ID != "hand" {
		t.Errorf("the address that was given up is that of %v", m)
	}
}

// Two nodes write, and a person puts what excludes it: at no time, and on no node, is
// what was acknowledged out of effect.
func TestWhatIsPutByHandNeverDisplacesWhatIsAcknowledged(t *testing.T) {
	s := serve(t)
	nodes := []*node{start(t, s), start(t, s)}
	nodes[0].do(t, newApp("web"))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	type own struct {
		id, state string
		address   netip.Addr
	}
	var mu sync.Mutex
	acknowledged := map[string]own{} // without machines that are being written
	verify := func(who string, s *registry.Snapshot, index uint64, want map[string]own) {
		for id, o := range want {
			if m := s.Machine(id); s.Index >= index && (m == nil || m.State != o.state || m.Address != o.address) {
				t.Errorf("%s, at index %d: machine %+v, acknowledged, is %v", who, s.Index, o, m)
				stop()
			}
		}
	}
	var writers, others sync.WaitGroup
	var last uint64 // of the acknowledged writes
	for i, n := range nodes {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 7))
			for version := range 150 {
				id := fmt.Sprintf("own%d-%d", i, r.IntN(3))
				put := newMachine("web", id, r.IntN(12), fmt.Sprint("v", version))
				m := put.Fact.(*registry.Machine)
				mu.Lock()
				before, was := acknowledged[id]
				delete(acknowledged, id)
				mu.Unlock()
				index, err := n.try(put)
				var faults registry.Faults
				if err != nil && !errors.As(err, &faults) {
					t.Error(err)
					return
				}
				mu.Lock()
				if err == nil {
					before, was, last = own{id, m.State, m.Address}, true, max(last, index)
				}
				if was {
					acknowledged[id] = before
				}
				mu.Unlock()
			}
		})
		others.Go(func() { // a reader
			for ctx.Err() == nil {
				mu.Lock()
				index, want := last, maps.Clone(acknowledged)
				snap := n.store.Snapshot()
				mu.Unlock()
				verify(fmt.Sprint("node ", i), snap, index, want)
				sleep(ctx, time.Millisecond)
			}
		})
	}
	others.Go(func() { // a person
		r := rand.New(rand.NewPCG(1, 8))
		for ctx.Err() == nil {
			id := fmt.Sprint("hand", r.IntN(4))
			nodes[0].hand(t, "machines/fdaa:0:18/web/"+id, object(id, r.IntN(12), "started"))
			sleep(ctx, time.Duration(r.IntN(3))*time.Millisecond)
		}
	})
	others.Go(func() { // a node that starts
		for ctx.Err() == nil {
			mu.Lock()
			want := maps.Clone(acknowledged)
			listed := newMirrorOf(t, nodes[0])
			mu.Unlock()
			verify("a node that lists", listed, 0, want)
			sleep(ctx, 5*time.Millisecond)
		}
	})
	writers.Wait()
	stop()
	others.Wait()
	for _, n := range nodes {
		n.until(t, "the last write is there", func(s *registry.Snapshot) bool { return s.Index >= last })
		verify("at the end", n.store.Snapshot(), last, acknowledged)
	}
}
