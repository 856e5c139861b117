package etcd

import (
	"fmt"
	"strings"
	"testing"

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
		{"an app that is not there", "machines/fdaa:0:18/nobody/x", object("x", 9, "started"), "no such app"},
		{"an address that another has", "machines/fdaa:0:18/web/x", object("x", 1, "started"), "is that of machines/fdaa:0:18/web/m1"},
		{"an id that another has", "machines/fdaa:0:18/web/m1/2", object("m1", 9, "started"), "is that of machines/fdaa:0:18/web/m1"},
		{"a key of no kind", "machine/x", "{}", "no kind of key"},
		{"a key written otherwise", "machines/fdaa:0:18/web/%78", object("x", 9, "started"), "not written as it must be"},
		{"a peer's address", "peers/fdaa:0:18/p", `{"address":"nowhere"}`, "cannot be read"},
		{"a peer of another network", "peers/fdaa:0:18/p", `{"address":"fdaa:0:19::1"}`, "outside the network"},
		{"a round trip", "rtts/ams/fra", "1.5", "whole milliseconds"},
		{"a region without a place", "regions/xx", `{"name":"X"}`, "latitude and longitude"},
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
			s.Etcdctl("put", root+tt.key, tt.value)        // the same again is not told again
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

func TestTheNextGoodValueMends(t *testing.T) {
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
func TestHandsCannotTakeWhatIsClaimed(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	s.Etcdctl("put", "/internaldns/1/apps/fdaa:0:18/web", "{}")
	s.Etcdctl("put", "/internaldns/1/machines/fdaa:0:18/web/old", object("old", 1, "started")) // older than m1, elsewhere
	a.until(t, "what was put by hand is there", func(s *registry.Snapshot) bool { return s.Machine("old") != nil })
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
	// What was put by hand has its claims with the next write.
	a.do(t, newMachine("web", "old", 2, "stopped"))
	if got := s.Etcdctl("get", "--print-value-only", "/internaldns/1/addresses/"+address(2).String()); got != "machines/fdaa:0:18/web/old\n" {
		t.Errorf("the address is claimed by %q", got)
	}
}
