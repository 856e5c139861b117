package zone_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// fleetNetwork is the network of fleets.
const fleetNetwork = registry.Network(0x18)

var fleetRegions = []string{"ams", "cdg", "dfw", "fra", "gru", "iad", "lhr", "nrt", "sin", "sjc", "syd", "yyz"}

// fleetMachine returns the j-th machine of app i. Three in four are started.
func fleetMachine(i, j int) *registry.Machine {
	b := fleetNetwork.Prefix().Addr().As16()
	binary.BigEndian.PutUint64(b[6:], uint64(i)<<32|uint64(j)+0x0a7b<<48)
	b[15] = 2
	state := "started"
	if j%4 == 3 {
		state = "stopped"
	}
	return &registry.Machine{
		Network: fleetNetwork, App: fmt.Sprintf("app-%d", i), ID: fmt.Sprintf("%06x%08x", i, j), State: state,
		Region: fleetRegions[(i+j)%len(fleetRegions)], Address: netip.AddrFrom16(b),
		Metadata: []registry.Pair{{Key: "fly_platform_version", Value: "v2"}, {Key: "fly_process_group", Value: "app"}, {Key: "role", Value: []string{"primary", "replica"}[min(j, 1)]}},
	}
}

// fleet returns the facts of so many apps of so many machines each.
func fleet(apps, machines int) (events []registry.Event) {
	for i := range apps {
		events = append(events, registry.Put(&registry.App{Network: fleetNetwork, Name: fmt.Sprintf("app-%d", i)}))
		for j := range machines {
			events = append(events, registry.Put(fleetMachine(i, j)))
		}
	}
	return events
}

// A clocked publisher measures its commits: the time, and the octets allocated.
type clocked struct {
	*zone.Publisher
	commits   int
	took      time.Duration
	allocated uint64
}

func (c *clocked) commit(s *registry.Snapshot, changes *registry.Changes) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	c.Commit(s, changes)
	c.commits++
	c.took += time.Since(start)
	runtime.ReadMemStats(&after)
	c.allocated += after.TotalAlloc - before.TotalAlloc
}

// publishFleet returns a store and publisher with a fleet in them.
func publishFleet(t testing.TB, apps, machines int) (*registry.Store, *clocked) {
	t.Helper()
	p := &clocked{Publisher: zone.NewPublisher(zone.Options{TTL: 5})}
	p.Ready()
	s := registry.NewStore(p.commit)
	if _, err := s.Apply(fleet(apps, machines)); err != nil {
		t.Fatal(err)
	}
	p.commits, p.took, p.allocated = 0, 0, 0
	return s, p
}

// flip stops the machine or starts it again.
func flip(t testing.TB, s *registry.Store, app, machine, n int) {
	t.Helper()
	m := fleetMachine(app, machine)
	m.State = []string{"stopped", "started"}[n%2]
	if _, err := s.Apply([]registry.Event{registry.Put(m)}); err != nil {
		t.Fatal(err)
	}
}

// The cost of a change to one machine does not depend on the number of other apps, and
// grows much less than the number of machines in its app.
func TestCommitCostsWhatItTouches(t *testing.T) {
	const commits = 50
	cost := func(apps, machines int) uint64 {
		s, p := publishFleet(t, apps, machines)
		for n := range commits {
			flip(t, s, apps/2, machines/2, n)
		}
		return p.allocated / uint64(p.commits)
	}
	small, large := cost(50, 4), cost(2500, 4)
	if large > 2*small {
		t.Errorf("a commit of one machine among 200 allocates %d octets, and among 10,000 %d", small, large)
	}
	one, big := cost(1, 4), cost(1, 4_000)
	if big > one+40_000 {
		t.Errorf("a commit of one machine in an app of 4 allocates %d octets, and in one of 4,000 %d", one, big)
	}
}

// One query, from parsed to response, by kind.
func BenchmarkAnswer(b *testing.B) {
	_, p := load(b, "../cmd/internaldns/sample/org.json", kindOptions)
	for _, k := range kinds {
		b.Run(k.name, func(b *testing.B) {
			benchmarkAnswer(b, p, k.question, k.qtype, netip.MustParseAddr(k.src))
		})
	}
}

// Last result (commit 2f3238b, go1.26, 2 cores of a Xeon shared with other work; the best of 4):
//
//	addresses of an app                               88 ns
//	addresses in mixed case                           88 ns
//	addresses of a region                             90 ns
//	asked from loopback                               84 ns
//	NODATA for A                                      87 ns
//	NODATA of a stopped app                           87 ns
//	NXDOMAIN                                          83 ns
//	NXDOMAIN below an app                            101 ns
//	vms                                               90 ns
//	all.regions                                       91 ns
//	_apps                                             79 ns
//	_instances                                        85 ns
//	all._instances                                    86 ns
//	_peer                                             78 ns
//	a peer                                            85 ns
//	_api                                              85 ns
//	one machine                                      112 ns
//	a process group                                  100 ns
//	metadata                                         108 ns
//	nearest to a machine                             251 ns
//	nearest to a peer                                276 ns
//	nearest to an unknown region                     262 ns
//	nearest with pings                               481 ns
//	nearest without pings                            474 ns
//	Flycast                                           97 ns
//	own address                                       94 ns
//	PTR of a machine                                 494 ns
//	PTR of a free address                            448 ns
//	part of a reverse name                           395 ns
//	SOA                                              106 ns
//	ANY                                              135 ns
//	out of zone                                      101 ns
//	refused                                           53 ns

// The same where 100,000 machines are in one network, 10 in each app but for one
// that has 10,000.
func BenchmarkAnswerAmongMany(b *testing.B) {
	s, p := publishFleet(b, 9_000, 10)
	big := fleet(9_001, 0)[9_000:]
	for j := range 10_000 {
		big = append(big, registry.Put(fleetMachine(9_000, j)))
	}
	if _, err := s.Apply(big); err != nil {
		b.Fatal(err)
	}
	src := fleetMachine(17, 3).Address
	for _, k := range []kind{
		{name: "addresses of an app", qtype: dns.TypeAAAA, question: "app-4711.internal"},
		{name: "NXDOMAIN", qtype: dns.TypeAAAA, question: "app-x.internal"},
		{name: "one machine", qtype: dns.TypeAAAA, question: "00126700000001.vm.app-4711.internal"},
		{name: "metadata", qtype: dns.TypeAAAA, question: "primary.role.kv._metadata.app-4711.internal"},
		{name: "nearest", qtype: dns.TypeAAAA, question: "top3.nearest.of.app-4711.internal"},
		{name: "nearest of 10,000", qtype: dns.TypeAAAA, question: "top3.nearest.of.app-9000.internal"},
		{name: "nearest of 10,000 with pings", qtype: dns.TypeTXT, question: "top3.nearest.of.app-9000.internal"},
		{name: "one of 10,000 machines", qtype: dns.TypeAAAA, question: "00232800001234.vm.app-9000.internal"},
		{name: "as many of 10,000 addresses as fit 1232 octets", qtype: dns.TypeAAAA, question: "app-9000.internal"},
	} {
		b.Run(k.name, func(b *testing.B) { benchmarkAnswer(b, p.Publisher, k.question, k.qtype, src) })
	}
}

// Last result (commit 2f3238b, go1.26, 2 cores of a Xeon shared with other work; the best of 4):
//
//	addresses of an app                              100 ns
//	NXDOMAIN                                         143 ns
//	one machine                                      256 ns
//	metadata                                         166 ns
//	nearest                                          892 ns
//	nearest of 10,000                                608 ns
//	nearest of 10,000 with pings                    1025 ns
//	one of 10,000 machines                           193 ns
//	as many of 10,000 addresses as fit 1232 octets   170 ns

// Random apps among 100,000, of two machines each, in batches as the resolver has them,
// without and with a prefetch for each batch.
func BenchmarkAnswerInBatches(b *testing.B) {
	const apps = 100_000
	_, p := publishFleet(b, apps, 2)
	r := rand.New(rand.NewPCG(1, 2))
	msgs := make([][]byte, apps)
	for i := range msgs {
		msgs[i] = packed(b, dns.TypeAAAA, fmt.Sprintf("app-%d.internal", r.IntN(apps)))
	}
	src := fleetMachine(17, 3).Address
	road := &road{out: make([]byte, 0, wire.MaxMessageLen)}
	var prefetch zone.Prefetch
	for _, name := range []string{"without prefetch", "with prefetch"} {
		b.Run(name, func(b *testing.B) {
			for n := 0; b.Loop(); n++ {
				table := p.Table()
				at := n * zone.PrefetchMax % (apps - zone.PrefetchMax)
				batch := msgs[at : at+zone.PrefetchMax]
				if name == "with prefetch" {
					view := table.For(src, serverAddr)
					for _, msg := range batch {
						prefetch.Add(&view, msg)
					}
					prefetch.Read()
				}
				for _, msg := range batch {
					road.q.Parse(msg)
					road.answer(table, src, serverAddr, 1232)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/zone.PrefetchMax, "ns/query")
		})
	}
}

// Last result (commit 902bdf2, go1.26, 2 cores of an EPYC shared with other work; the best of 4):
//
//	without prefetch   1201 ns a query
//	with prefetch       386 ns a query

func benchmarkAnswer(b *testing.B, p *zone.Publisher, question string, qtype uint16, src netip.Addr) {
	r := &road{out: make([]byte, 0, wire.MaxMessageLen)}
	r.q.Parse(packed(b, qtype, question))
	r.answer(p.Table(), src, serverAddr, 1232)
	b.ReportAllocs()
	for b.Loop() {
		r.answer(p.Table(), src, serverAddr, 1232)
	}
}

// The time and memory to compile one machine's change of state: first with all machines
// in many apps, then in one app.
func BenchmarkCommit(b *testing.B) {
	for _, size := range [][2]int{{100, 10}, {10_000, 10}, {1, 10_000}} {
		b.Run(fmt.Sprintf("%d apps of %d machines", size[0], size[1]), func(b *testing.B) {
			s, p := publishFleet(b, size[0], size[1])
			total := size[0] * size[1]
			for n := 0; b.Loop(); n++ {
				flip(b, s, n%size[0], n%total/size[0], n/total)
			}
			b.ReportMetric(0, "ns/op") // of the registry more than of the zone
			b.ReportMetric(float64(p.took.Nanoseconds())/float64(p.commits), "ns/commit")
			b.ReportMetric(float64(p.allocated)/float64(p.commits), "octets/commit")
		})
	}
}

// Last result (2026-11-21, go1.26, 2 cores of an EPYC that other work kept busy; the best of 10):
//
//	100 apps of 10 machines                          4 µs,  2.1 kB
//	10000 apps of 10 machines                        6 µs,  2.5 kB
//	1 apps of 10000 machines                         7 µs, 19.6 kB

// The memory for one machine, without the facts, which zone shares with the registry.
func BenchmarkMemory(b *testing.B) {
	for _, size := range [][2]int{{10_000, 10}, {1, 100_000}} {
		b.Run(fmt.Sprintf("%d apps of %d machines", size[0], size[1]), func(b *testing.B) {
			var kept, took float64
			for b.Loop() {
				var snap *registry.Snapshot
				var changes *registry.Changes
				s := registry.NewStore(func(s *registry.Snapshot, c *registry.Changes) { snap, changes = s, c })
				if _, err := s.Apply(fleet(size[0], size[1])); err != nil {
					b.Fatal(err)
				}
				p := zone.NewPublisher(zone.Options{TTL: 5})
				before := heapInUse()
				start := time.Now()
				p.Commit(snap, changes)
				took = time.Since(start).Seconds()
				kept = float64(heapInUse() - before)
				runtime.KeepAlive(p)
				runtime.KeepAlive(changes)
			}
			machines := float64(size[0] * size[1])
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(kept/machines, "octets/machine")
			b.ReportMetric(took*1e9/machines, "ns/machine")
		})
	}
}

// Last result (2026-11-21, go1.26):
//
//	10000 apps of 10 machines                       310 octets a machine
//	1 apps of 100000 machines                       242 octets a machine

// heapInUse returns the octets in use after a collection.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
