package disk

import (
	"context"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/internaldns/internaldns/registry"
)

var (
	soak      = flag.Int("disk.soak", 1, "how many times as much the random tests do; if more than once, from another seed each time")
	firstSeed = flag.Uint64("disk.seed", 0, "where the seeds of the random tests begin")
)

// seeds yields n seeds, or more in a soak. Names of tests have them.
func seeds(n int) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		first := *firstSeed
		if first == 0 && *soak > 1 {
			first = uint64(rand.Uint32())
		}
		for i := range uint64(n * *soak) {
			if !yield(first + i) {
				return
			}
		}
	}
}

// A draw makes random events, from few names and addresses, so that they often clash.
type draw struct{ *rand.Rand }

func newDraw(seed uint64) draw { return draw{rand.New(rand.NewPCG(seed, 7))} }

func pick[T any](d draw, from ...T) T { return from[d.IntN(len(from))] }

func (d draw) one(n int) bool { return d.IntN(n) == 0 }

func (d draw) network() registry.Network { return registry.Network(1 + d.IntN(3)) }

func (d draw) name() string {
	if d.one(60) {
		return pick(d, "", "Web", "a.b")
	}
	return pick(d, "web", "db", "api")
}

func (d draw) address(n registry.Network) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("fdaa:0:%d::%d:%x", n, d.IntN(3), 4+d.IntN(3)))
}

func (d draw) machine() *registry.Machine {
	m := &registry.Machine{
		Network: d.network(), App: d.name(), Region: pick(d, "ams", "fra", "xyz"), Skip: d.one(8),
		ID:    pick(d, "m1", "m2", "m3", "m4", "m5", "m-6", "m", "m11"),
		State: pick(d, "started", "started", "stopped", "odd", "destroyed", "replaced"),
	}
	m.Address = d.address(m.Network)
	if m.Gone() && d.one(2) {
		long := string(make([]byte, 40_000)) // longer than any key
		m.ID = pick(d, "", "m1", "m1\x00", long, long[1:])
		m.Region = pick(d, "", "Ams\x00")
		m.Address = pick(d, netip.Addr{}, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fe80::1%eth0"))
	}
	for _, key := range []string{"A", "fly_process_group", "role"} {
		if d.one(3) {
			m.Metadata = append(m.Metadata, registry.Pair{Key: key, Value: pick(d, "", "app", "b\x00c")})
		}
	}
	if d.one(2) {
		m.Raw = registry.NewRaw(fmt.Appendf(nil, `{"id":%q,"n":%d}`, m.ID[:min(len(m.ID), 9)], d.IntN(2)))
	}
	if d.one(50) {
		m.Raw = registry.Raw("broken")
	}
	return m
}

func (d draw) event() registry.Event {
	switch d.IntN(24) {
	case 0:
		return registry.Put(&registry.NetworkName{Network: d.network(), Name: d.name()})
	case 1:
		return registry.Delete(registry.Key{Kind: registry.KindNetwork, Network: d.network()})
	case 2, 3, 4, 5:
		return registry.Put(&registry.App{Network: d.network(), Name: d.name()})
	case 6:
		return registry.Delete(registry.Key{Kind: registry.KindApp, Network: d.network(), Name: d.name()})
	case 7, 8:
		m := d.machine()
		return registry.Delete(registry.Key{Kind: registry.KindMachine, Network: m.Network, Name: m.App, ID: m.ID})
	case 9:
		return registry.Put(&registry.Peer{Name: d.name(), Address: d.address(d.network()), Region: pick(d, "", "ams")})
	case 10:
		return registry.Delete(registry.Key{Kind: registry.KindPeer, Network: d.network(), Name: d.name()})
	case 11, 12:
		return registry.Put(&registry.Flycast{Address: d.address(d.network()), App: d.name(), Owner: d.network()})
	case 13:
		return registry.Delete(registry.Key{Kind: registry.KindFlycast, Address: d.address(d.network())})
	case 14:
		return registry.Put(&registry.Region{Code: pick(d, "ams", "xyz"), Name: pick(d, "A", "B"), Latitude: pick(d, 1.5, -2)})
	case 15:
		return registry.Delete(registry.Key{Kind: registry.KindRegion, Name: pick(d, "ams", "xyz")})
	case 16:
		return registry.Put(&registry.RTT{From: "ams", To: pick(d, "fra", "xyz"), MS: uint32(d.IntN(3))})
	case 17:
		return registry.Delete(registry.Key{Kind: registry.KindRTT, Name: "ams", ID: pick(d, "fra", "xyz")})
	}
	return registry.Put(d.machine())
}

func (d draw) events() []registry.Event {
	events := make([]registry.Event, 1+d.IntN(5))
	for i := range events {
		events[i] = d.event()
	}
	return events
}

// A twin is the simplest Keeper: a store in memory, and a map of leases.
type twin struct {
	*registry.Store
	leases map[registry.MachineKey]time.Duration
}

// write is Keeper.Write. No lease ends.
func (tw *twin) write(w registry.Write) (uint64, error) {
	changes, err := tw.Apply(w.Events)
	if err != nil {
		return 0, err
	}
	s := tw.Snapshot()
	for _, e := range w.Events {
		if m, ok := e.Fact.(*registry.Machine); ok && !e.Delete && w.Lease != nil {
			tw.leases[m.MachineKey()] = *w.Lease
		}
	}
	for key, ttl := range tw.leases {
		if ttl == 0 || !there(s, key) {
			delete(tw.leases, key)
		}
	}
	return changes.Index, nil
}

// there reports whether an app has a machine of that id, gone or not.
func there(s *registry.Snapshot, key registry.MachineKey) bool {
	if a := s.App(key.App.Network, key.App.Name); a != nil {
		for m := range s.Machines(a) {
			if m.ID == key.ID {
				return true
			}
		}
	}
	return false
}

// After any writes a Keeper holds the same as its twin in memory, and after a restart
// too, with every index.
func TestAKeeperDoesWhatItsTwinDoes(t *testing.T) {
	for seed := range seeds(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			d := newDraw(seed)
			dir := t.TempDir()
			tw := &twin{registry.NewStore(nil), make(map[registry.MachineKey]time.Duration)}
			s := serve(t, dir)
			for range 12 {
				for range d.IntN(25) {
					w := registry.Write{Events: d.events()}
					if d.one(3) {
						ttl := pick(d, 0, time.Hour, 2*time.Hour)
						w.Lease = &ttl
					}
					want, faults := tw.write(w)
					got, err := s.Write(context.Background(), func(*registry.Snapshot) (registry.Write, error) { return w, nil })
					if got != want || fmt.Sprint(err) != fmt.Sprint(faults) {
						t.Fatalf("a write made commit %d, %v; want %d, %v", got, err, want, faults)
					}
				}
				s.compare(t, tw)
				switch d.IntN(4) {
				case 0:
					s.stop(t)
					s = serve(t, dir)
				case 1: // as if it was killed: a copy of the file
					s.stop(t)
					other := filepath.Join(t.TempDir(), "copy")
					copyDir(t, dir, other)
					dir = other
					s = serve(t, dir)
				case 2:
					s.stop(t)
					if _, _, err := Compact(dir, nil); err != nil {
						t.Fatal(err)
					}
					s = serve(t, dir)
				}
				s.compare(t, tw)
			}
			s.stop(t)
			if r, err := Check(dir, nil); err != nil || r.Index != tw.Snapshot().Index || r.Machines != tw.Snapshot().Stats().Total() {
				t.Errorf("Check says %+v, %v", r, err)
			}
		})
	}
}

func (s *server) compare(t testing.TB, tw *twin) {
	t.Helper()
	if got, want := describe(s.store.Snapshot()), describe(tw.Snapshot()); got != want {
		t.Fatalf("there is\n%swant\n%s", got, want)
	}
	if st := s.Status(); st.Leases != len(tw.leases) || !st.Writable {
		t.Fatalf("the status is %+v, want %d leases", st, len(tw.leases))
	}
	for key, ttl := range tw.leases {
		l, ok := s.Lease(key)
		if left := time.Until(l.Expires); !ok || l.TTL != ttl || left > ttl || left < ttl-time.Minute {
			t.Fatalf("the lease of %q is %+v, %v; want one of %v", key.ID, l, ok, ttl)
		}
	}
}

// copyDir copies the database in from to another directory.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	octets, err := os.ReadFile(filepath.Join(from, fileName))
	if err != nil {
		t.Fatal(err)
	}
	writeDir(t, to, octets)
}

func writeDir(t testing.TB, dir string, octets []byte) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, fileName), octets, 0o600); err != nil {
		t.Fatal(err)
	}
}
