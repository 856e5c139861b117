package etcd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/etcd/etcdtest"
	"github.com/internaldns/internaldns/registry/format"
)

// soon bounds what happens without an error in between. Nothing but a defect
// takes that long.
const soon = 30 * time.Second

// TestMain has many tests run at a time, however few the processors are, unless -parallel
// says otherwise: most of the time they wait for leases, elections and timeouts of etcd.
func TestMain(m *testing.M) {
	flag.Set("test.parallel", "8")
	os.Exit(m.Run())
}

// serve starts an etcd, for a test that runs beside others.
func serve(t *testing.T, args ...string) *etcdtest.Server {
	t.Helper()
	t.Parallel()
	return etcdtest.Start(t, args...)
}

// A node is a keeper with its store, as one server has it.
type node struct {
	*Keeper
	store   *registry.Store
	proxy   *etcdtest.Proxy
	log     *observer.ObservedLogs
	commits chan struct{} // has something after each commit
	stop    context.CancelFunc
	ended   chan error
}

// start starts a node with a proxy of its own.
func start(t testing.TB, s *etcdtest.Server) *node {
	t.Helper()
	p := s.Proxy()
	n := startAt(t, []string{p.Endpoint()})
	n.proxy = p
	return n
}

func startAt(t testing.TB, endpoints []string) *node {
	t.Helper()
	n := &node{commits: make(chan struct{}, 1), ended: make(chan error, 1)}
	n.store = registry.NewStore(func(*registry.Snapshot, *registry.Changes) {
		select {
		case n.commits <- struct{}{}:
		default:
		}
	})
	core, logs := observer.New(zap.InfoLevel)
	n.log = logs
	var err error
	if n.Keeper, err = New(Config{Endpoints: endpoints}, n.store, zap.New(core)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	load, done := context.WithTimeout(ctx, soon)
	defer done()
	if err := n.Load(load); err != nil {
		t.Fatal(err)
	}
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-n.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	go func() { n.ended <- n.Run(ctx) }()
	t.Cleanup(n.stop)
	return n
}

// until waits for cond, which it checks after every commit and every 10 ms.
func (n *node) until(t testing.TB, what string, cond func(*registry.Snapshot) bool) {
	t.Helper()
	deadline := time.After(soon)
	for !cond(n.store.Snapshot()) {
		select {
		case <-n.commits:
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatalf("after %v it is not so that %s; status %+v", soon, what, n.Status())
		}
	}
}

// knowsOfImport waits until the node has seen that the import lock is taken. A lock put by
// hand does not change the head, so until then the node still writes.
func (n *node) knowsOfImport(t testing.TB) {
	t.Helper()
	n.until(t, "the import is known", func(*registry.Snapshot) bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.importing
	})
}

// do writes events.
func (n *node) do(t testing.TB, events ...registry.Event) uint64 {
	t.Helper()
	index, err := n.try(events...)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func (n *node) try(events ...registry.Event) (uint64, error) {
	return n.tryLease(nil, events...)
}

func (n *node) tryLease(ttl *time.Duration, events ...registry.Event) (uint64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	return n.Write(ctx, func(*registry.Snapshot) (registry.Write, error) {
		return registry.Write{Events: events, Lease: ttl}, nil
	})
}

const acme = registry.Network(0x18)

func newApp(name string) registry.Event {
	return registry.Put(&registry.App{Network: acme, Name: name})
}

// object is the JSON object of a machine.
func object(id string, addr int, state string) string {
	return fmt.Sprintf(`{"id":%q,"state":%q,"region":"ams","private_ip":"%v","config":{"metadata":{"v":"1"}}}`, id, state, address(addr))
}

func address(n int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("fdaa:0:18:a7b:7d:%x:%x:2", n>>16, n&0xffff))
}

func newMachine(app, id string, addr int, state string) registry.Event {
	m, err := format.ParseMachine([]byte(object(id, addr, state)))
	if err != nil {
		panic(err)
	}
	m.Network, m.App = acme, app
	return registry.Put(m)
}

// digest is all that a registry holds, as text.
func digest(s *registry.Snapshot) string {
	var b strings.Builder
	f := s.Facts()
	if err := format.Write(&b, f); err != nil {
		panic(err)
	}
	for a := range s.Apps() {
		fmt.Fprintf(&b, "%v %s %d\n", a.Network, a.Name, a.Modified)
		var lines []string
		for m := range s.Machines(a) {
			lines = append(lines, fmt.Sprintf("%s %s %d\n", m.ID, m.State, m.Modified))
		}
		slices.Sort(lines)
		b.WriteString(strings.Join(lines, ""))
	}
	for p := range s.Peers() {
		fmt.Fprintf(&b, "%s %d\n", p.Name, p.Modified)
	}
	return b.String()
}

func TestAWriteIsVisibleHereAtOnceAndElsewhereSoon(t *testing.T) {
	s := serve(t)
	a, b, c := start(t, s), start(t, s), start(t, s)
	index := a.do(t, newApp("web"), newMachine("web", "m1", 1, "started"),
		registry.Put(&registry.Peer{Name: "laptop", Address: netip.MustParseAddr("fdaa:0:18:a7b:d6b:0:a:102"), Region: "ams"}),
		registry.Put(&registry.Flycast{Address: netip.MustParseAddr("fdaa:0:18:0:1::3"), App: "web", Owner: acme}),
		registry.Put(&registry.NetworkName{Network: acme, Name: "acme"}),
		registry.Put(&registry.Region{Code: "xyz", Name: "Nowhere", Latitude: 1.5, Longitude: -2}),
		registry.Put(&registry.RTT{From: "ams", To: "xyz", MS: 17}))
	snap := a.store.Snapshot()
	if m := snap.Machine("m1"); m == nil || m.Modified != index || snap.Index != index {
		t.Fatalf("after write %d the node that took it has index %d and machine %+v", index, snap.Index, m)
	}
	for _, n := range []*node{b, c} {
		n.until(t, "the write shows", func(s *registry.Snapshot) bool { return s.Index >= index })
		if got, want := digest(n.store.Snapshot()), digest(snap); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	again := start(t, s)
	if got, want := digest(again.store.Snapshot()), digest(snap); got != want {
		t.Errorf("a node that starts has\n%s\nwant\n%s", got, want)
	}
	if got := s.Etcdctl("get", "--print-value-only", "/internaldns/1/machines/fdaa:0:18/web/m1"); got != object("m1", 1, "started")+"\n" {
		t.Errorf("etcdctl shows %s", got)
	}
	if q := a.Status().Quarantine; q != nil {
		t.Errorf("quarantined: %v", q)
	}
}

// Deletes leave no key that would hinder other objects.
func TestDeletesLeaveNothingBehind(t *testing.T) {
	s := serve(t)
	a := start(t, s)
	empty := s.Etcdctl("get", "--prefix", "--keys-only", "/internaldns/1/")
	flycast := netip.MustParseAddr("fdaa:0:18:0:1::3")
	laptop := netip.MustParseAddr("fdaa:0:18:a7b:d6b:0:a:102")
	a.do(t, newApp("web"), newApp("db"), newMachine("web", "m1", 1, "started"), newMachine("db", "m2", 2, "started"), newMachine("db", "m3", 3, "destroyed"),
		registry.Put(&registry.Peer{Name: "laptop", Address: laptop}),
		registry.Put(&registry.Flycast{Address: flycast, App: "web", Owner: acme}),
		registry.Put(&registry.NetworkName{Network: acme, Name: "acme"}),
		registry.Put(&registry.Region{Code: "xyz"}), registry.Put(&registry.RTT{From: "ams", To: "xyz", MS: 17}))
	a.do(t, newMachine("web", "m1", 4, "started"))   // another address
	a.do(t, newMachine("web", "m1", 4, "destroyed")) // gone
	a.do(t, newMachine("web", "m1", 5, "started"))   // and back
	a.do(t, newMachine("web", "m4", 4, "started"))
	a.do(t, registry.Put(&registry.Flycast{Address: flycast, App: "db", Owner: acme}))
	a.do(t, registry.Put(&registry.NetworkName{Network: acme, Name: "corp"}))
	a.do(t, registry.Delete(registry.Key{Kind: registry.KindMachine, Network: acme, Name: "web", ID: "m4"}))
	a.do(t, registry.Delete(registry.Key{Kind: registry.KindApp, Network: acme, Name: "web"}), registry.Delete(registry.Key{Kind: registry.KindApp, Network: acme, Name: "db"}), registry.Delete(registry.Key{Kind: registry.KindPeer, Network: acme, Name: "laptop"}),
		registry.Delete(registry.Key{Kind: registry.KindNetwork, Network: acme}), registry.Delete(registry.Key{Kind: registry.KindRegion, Name: "xyz"}), registry.Delete(registry.Key{Kind: registry.KindRTT, Name: "ams", ID: "xyz"}))
	if got := s.Etcdctl("get", "--prefix", "/internaldns/1/"); got != empty {
		t.Errorf("left:\n%s", got)
	}
	if got := digest(a.store.Snapshot()); strings.Contains(got, "web") || strings.Contains(got, "laptop") {
		t.Errorf("the store has\n%s", got)
	}
}

func TestTheErrorOfDecideIsReturnedAsItIs(t *testing.T) {
	a := start(t, serve(t))
	want := errors.New("no")
	if _, err := a.Write(t.Context(), func(*registry.Snapshot) (registry.Write, error) { return registry.Write{}, want }); err != want {
		t.Errorf("got %v", err)
	}
	_, err := a.try(newMachine("web", "m1", 1, "started"))
	var faults registry.Faults
	if !errors.As(err, &faults) {
		t.Errorf("a machine without an app: %v", err)
	}
	index := a.do(t, newApp("web"))
	if again := a.do(t, newApp("web")); again != index {
		t.Errorf("the same again made commit %d after %d", again, index)
	}
}

// A write on one node sees all writes that other nodes have acknowledged.
func TestDecideSeesAllWritesBefore(t *testing.T) {
	s := serve(t)
	a, b := start(t, s), start(t, s)
	a.do(t, newApp("web"))
	b.proxy.Delay(30 * time.Millisecond)
	for i := range 10 {
		id := fmt.Sprintf("m%d", i)
		a.do(t, newMachine("web", id, i, "started"))
		_, err := b.Write(t.Context(), func(s *registry.Snapshot) (registry.Write, error) {
			if s.Machine(id) == nil {
				return registry.Write{}, errors.New("no such machine")
			}
			return registry.Write{}, nil
		})
		if err != nil {
			t.Fatalf("machine %s, acknowledged by the other node: %v", id, err)
		}
		a.do(t, newMachine("web", id, i, "stopped"))
		b.do(t, newMachine("web", id, i, "started")) // no change, as far as b has heard
		a.until(t, "the last write counts", func(s *registry.Snapshot) bool { return s.Machine(id).State == "started" })
	}
}

func TestOneOfSeveralWritesThatWantTheSameSucceeds(t *testing.T) {
	s := serve(t)
	nodes := []*node{start(t, s), start(t, s), start(t, s)}
	nodes[0].do(t, newApp("web"), newApp("db"))
	for _, n := range nodes {
		n.until(t, "the app is there", func(s *registry.Snapshot) bool { return s.App(acme, "db") != nil })
	}
	for round := range 20 {
		for _, tt := range []struct {
			what string
			put  func(i int) registry.Event
		}{
			{"an address", func(i int) registry.Event {
				return newMachine("web", fmt.Sprintf("a%d-%d", round, i), round, "started")
			}},
			{"an id", func(i int) registry.Event {
				return newMachine([]string{"web", "db", "db"}[i], fmt.Sprintf("i%d", round), 1000+10*round+i, "started")
			}},
			{"a network's name", func(i int) registry.Event {
				return registry.Put(&registry.NetworkName{Network: registry.Network(0x1000 + 10*round + i), Name: fmt.Sprintf("n%d", round)})
			}},
		} {
			won := make(chan int, len(nodes))
			var wg sync.WaitGroup
			for i, n := range nodes {
				if tt.what == "an id" && i == 2 {
					continue // the machine of one app and id may be replaced
				}
				wg.Go(func() {
					_, err := n.try(tt.put(i))
					var faults registry.Faults
					if err == nil {
						won <- i
					} else if !errors.As(err, &faults) {
						t.Errorf("the loser: %v", err)
					}
				})
			}
			wg.Wait()
			if len(won) != 1 {
				t.Fatalf("%d writers have %s", len(won), tt.what)
			}
		}
	}
	converged(t, nodes...)
}

// converged waits until all nodes have the same, and fails if anything is
// quarantined.
func converged(t testing.TB, nodes ...*node) {
	t.Helper()
	var last uint64
	for _, n := range nodes {
		if _, err := n.Write(t.Context(), func(*registry.Snapshot) (registry.Write, error) { return registry.Write{}, nil }); err != nil {
			t.Fatal(err)
		}
		last = max(last, n.store.Snapshot().Index)
	}
	want := digest(nodes[0].store.Snapshot())
	for i, n := range nodes {
		if got := digest(n.store.Snapshot()); got != want {
			t.Errorf("node %d has\n%s\nand node 0\n%s", i, got, want)
		}
		if s := n.Status(); s.Quarantined > 0 {
			t.Errorf("node %d quarantines %v", i, s.Quarantine)
		}
	}
	fresh := newMirrorOf(t, nodes[0])
	if got := digest(fresh); got != want {
		t.Errorf("listed again\n%s\nfollowed\n%s", got, want)
	}
}

// newMirrorOf lists the registry for a store of its own.
func newMirrorOf(t testing.TB, n *node) *registry.Snapshot {
	t.Helper()
	c, err := n.control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.list(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	store := registry.NewStore(nil)
	if _, err := store.Apply(store.Snapshot().Diff(m.facts())); err != nil {
		t.Fatal(err)
	}
	return store.Snapshot()
}
