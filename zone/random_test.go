package zone_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

var (
	draws = flag.Int("zone.draws", 10_000, "how many random questions to compare with the twin")
	seed  = flag.Uint64("zone.seed", 0, "seed of random tests; 0 takes one from the clock")
)

// newRand returns a random source. If the test fails, it logs the seed.
func newRand(t testing.TB) *rand.Rand {
	t.Helper()
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("to repeat: -zone.seed=%d", s)
		}
	})
	return rand.New(rand.NewPCG(s, 0))
}

// A version is a Table and its twin, made from the facts of the same commit.
type version struct {
	table  *zone.Table
	slow   *slow
	listed map[registry.Network][]*slowName
}

func newVersion(t *zone.Table, s *registry.Snapshot, o zone.Options, serials slowSerials) *version {
	return &version{t, newSlow(s, o, maps.Clone(serials), true), make(map[registry.Network][]*slowName)}
}

// names returns the names that exist in a network, sorted.
func (v *version) names(n registry.Network) []*slowName {
	if v.slow.networks[n] == nil {
		v.slow.networks[n] = v.slow.names(n)
	}
	if v.listed[n] == nil {
		names := v.slow.networks[n]
		for _, key := range slices.Sorted(maps.Keys(names)) {
			v.listed[n] = append(v.listed[n], names[key])
		}
	}
	return v.listed[n]
}

// A prober compares the answers of a version with those of its twin.
type prober struct {
	q        wire.Query
	prefetch zone.Prefetch
	answer   zone.Answer
	out      []byte
	seen     map[string]int // number of responses of each kind
}

// check asks one question. The test fails if the answers differ, or if miekg/dns cannot
// read ours.
func (p *prober) check(t *testing.T, v *version, src, dst netip.Addr, q slowQuery, limit int, truncate bool, flags uint16) {
	t.Helper()
	describe := func() string {
		return fmt.Sprintf("%s %q, asked by %v at %v, limit %d, truncate %v, options %+v",
			dns.Type(q.qtype), q.labels, src, dst, limit, truncate, v.slow.options)
	}
	msg := q.message()
	if verdict := p.q.Parse(msg); verdict != wire.Answer {
		t.Fatalf("%s: the form of the query has verdict %d", describe(), verdict)
	}
	view := v.table.For(src, dst)
	p.prefetch.Add(&view, msg)
	p.prefetch.Read()
	view.Lookup(&p.q, limit, &p.answer)
	want, wantCut := v.slow.lookupSlow(src, dst, q, limit, truncate, flags)
	if p.seen == nil {
		p.seen = make(map[string]int)
	}
	p.seen[p.answer.Finding.String()]++
	if p.answer.Finding == zone.OutOfZone {
		if want != nil {
			t.Fatalf("%s\n got out of zone\nwant %s", describe(), readable(want))
		}
		return
	}
	got, cut := p.answer.AppendTo(p.out[:0], &p.q, zone.Frame{Limit: limit, Truncate: truncate, Flags: flags})
	p.out = got
	if want == nil {
		t.Fatalf("%s\n got %s\nwant out of zone", describe(), readable(got))
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s\n%s\n%s", describe(), firstDifference(readable(got), readable(want)), firstDifference(octets(got), octets(want)))
	}
	if cut != wantCut {
		t.Fatalf("%s\n got cut %v, want %v", describe(), cut, wantCut)
	}
	var m dns.Msg
	if err := m.Unpack(got); err != nil {
		t.Fatalf("%s: miekg/dns cannot read the response: %v\n%.2000x", describe(), err, got)
	}
	if cut {
		p.seen["cut"]++
	}
	if len(m.Answer) > 0 {
		p.seen[dns.Type(m.Answer[0].Header().Rrtype).String()]++
	}
	if n, r := slowRegion(v, src, dst); view.Network() != n || view.Region() != r && n != 0 {
		t.Fatalf("%s: the client is placed in network %v, region %q; want %v, %q", describe(), view.Network(), view.Region(), n, r)
	}
}

func slowRegion(v *version, src, dst netip.Addr) (registry.Network, string) {
	n, region, conflict := v.slow.place(src.Unmap().WithZone(""), dst.Unmap().WithZone(""))
	if conflict {
		n = slowNetwork(src)
		_, region, _ = v.slow.place(src, src)
	}
	return n, region
}

// octets returns a message as lines of a few octets.
func octets(msg []byte) string { return hex.Dump(msg) }

func readable(msg []byte) string {
	m := new(dns.Msg)
	if err := m.Unpack(msg); err != nil {
		return err.Error()
	}
	return m.String()
}

// ask returns a random question for v, and the addresses it comes from and goes to.
func (w *world) ask(v *version) (src, dst netip.Addr, q slowQuery) {
	src, dst = w.asker()
	n, _, _ := v.slow.place(src.Unmap().WithZone(""), dst.Unmap().WithZone(""))
	if n == 0 || w.one(8) {
		n = pick(w.Rand, worldNetworks)
	}
	return src, dst, w.query(v.names(n))
}

// frame returns a random limit, and what to do with data that does not fit.
func (w *world) frame() (limit int, truncate bool, flags uint16) {
	if w.one(2) {
		return 512 + w.IntN(1024), true, uint16(w.IntN(2) << 7)
	}
	return 65535, false, uint16(w.IntN(2) << 7)
}

// newWorldOfCommits returns a random world after a few commits, and its publisher.
func newWorldOfCommits(r *rand.Rand) (*world, *zone.Publisher) {
	o := randomOptions(r)
	p := zone.NewPublisher(o)
	p.Ready()
	w := newWorld(r, p.Commit)
	w.options = o
	for range w.IntN(4) * 25 {
		w.step()
	}
	return w, p
}

// In random registries after random commits, every question from every client is answered
// octet for octet as by the twin. The Table of each commit is asked, also after later
// commits.
//
// Last long run: -zone.draws=1000000 in 195 s, without a difference (commit
// 3c4f46b): 288,571 with data, 279,935 NODATA, 218,141 NXDOMAIN, 153,801 REFUSED.
func TestAnswersEqualTheTwins(t *testing.T) {
	const (
		commits   = 12 // of each world
		questions = 20 // about each commit
	)
	r := newRand(t)
	var p prober
	asked := 0
	for asked < *draws {
		w, pub := newWorldOfCommits(r)
		var versions []*version
		for range commits {
			w.step()
			now := newVersion(pub.Table(), w.store.Snapshot(), w.options, w.serials)
			versions = append(versions, now)
			if got, want := now.table.Unnamed(), now.slow.unnamed(); got != want {
				t.Fatalf("%d groups and metadata entries give no name, want %d", got, want)
			}
			for range questions {
				v := now
				if w.one(5) {
					v = pick(r, versions)
				}
				src, dst, q := w.ask(v)
				limit, truncate, flags := w.frame()
				p.check(t, v, src, dst, q, limit, truncate, flags)
				asked++
			}
		}
	}
	t.Log(p.seen)
	for _, kind := range []string{"out of zone", "REFUSED", "NXDOMAIN", "NODATA", "NOERROR", "AAAA", "TXT", "PTR", "SOA", "NS"} {
		if p.seen[kind]*300 < asked {
			t.Errorf("of %d responses, only %d were of kind %s: the random questions test too little", asked, p.seen[kind], kind)
		}
	}
}

// A commit that changes any name of a network changes the network's SERIAL. If this
// fails for a new name form, shownOf in registry/event.go does not count the fact it depends on.
func TestSerialChangesWithTheNames(t *testing.T) {
	r := newRand(t)
	for range 4 {
		w, _ := newWorldOfCommits(r)
		type state struct {
			names  string
			serial uint64
		}
		before := make(map[registry.Network]state)
		for range 50 {
			w.step()
			snap := w.store.Snapshot()
			v := newVersion(nil, snap, w.options, nil)
			for _, n := range worldNetworks {
				now := state{serial: snap.NetworkIndex(n)}
				for _, name := range v.names(n) {
					now.names += fmt.Sprintln(slowKey(name.labels), name.addrs, name.text, name.ptr)
				}
				if b, ok := before[n]; ok && now.names != b.names && now.serial == b.serial {
					t.Fatalf("a commit changed names of %v, and its SERIAL is still %d\n%s", n, now.serial, firstDifference(now.names, b.names))
				}
				before[n] = now
			}
		}
	}
}

// Apps of many chunks, with more addresses and items than fit in a message, are answered
// as by the twin.
func TestBigAppsEqualTheTwins(t *testing.T) {
	r := newRand(t)
	var p prober
	for _, size := range []int{130, 700, 2600} {
		w, pub := newWorldOfCommits(r)
		n, app := w.grow(size)
		for range 3 {
			for range 1 + w.IntN(20) {
				w.step()
			}
			v := newVersion(pub.Table(), w.store.Snapshot(), w.options, w.serials)
			src := w.address(n)
			names := [][]string{{app, "internal"}, {"global", app, "internal"}, {"vms", app, "internal"}, {"all", "vms", app, "internal"},
				{"app", "process", app, "internal"}, {"ams", app, "internal"}, {"regions", app, "internal"},
				{"_instances", "internal"}, {"all", "_instances", "internal"}}
			for _, top := range []int{1, 5, 130, 1200, 99999} {
				names = append(names, []string{fmt.Sprint("top", top), "nearest", "of", app, "internal"})
			}
			for _, labels := range names {
				for _, qtype := range []uint16{dns.TypeAAAA, dns.TypeTXT} {
					q := slowQuery{labels: labels, qtype: qtype, opt: w.one(2)}
					p.check(t, v, src, serverAddr, q, 65535, false, 0)
					limit, _, _ := w.frame()
					p.check(t, v, src, serverAddr, q, limit, true, 0)
					p.check(t, v, src, serverAddr, q, 1232+w.IntN(60000), w.one(2), 0)
				}
			}
			for range 20 {
				src, dst, q := w.ask(v)
				limit, truncate, flags := w.frame()
				p.check(t, v, src, dst, q, limit, truncate, flags)
			}
			for range 150 {
				w.shrink(n, app)
			}
		}
	}
	if p.seen["cut"] < 20 {
		t.Errorf("only %d responses left data out", p.seen["cut"])
	}
}

// Tables, old and new, are read while commits make new ones from them. The race detector
// fails this test if a commit writes to memory that readers use.
func TestReadersRunBesideCommits(t *testing.T) {
	r := newRand(t)
	w, pub := newWorldOfCommits(r)
	n, app := w.grow(400)
	v := newVersion(pub.Table(), w.store.Snapshot(), w.options, w.serials)
	var questions []slowQuery
	for range 300 {
		_, _, q := w.ask(v)
		questions = append(questions, q)
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for i := range 3 {
		readers.Go(func() {
			var road road
			var prefetch zone.Prefetch
			for turn := i; ; turn++ {
				select {
				case <-done:
					return
				default:
				}
				table := pub.Table()
				if i == 0 {
					table = v.table
				}
				msg := questions[turn%len(questions)].message()
				view := table.For(n.Server(), serverAddr)
				prefetch.Add(&view, msg)
				prefetch.Read()
				road.q.Parse(msg)
				road.answer(table, n.Server(), serverAddr, wire.MaxMessageLen)
			}
		})
	}
	for range 100 {
		w.step()
		w.shrink(n, app)
	}
	close(done)
	readers.Wait()
	var p prober
	for _, q := range questions {
		p.check(t, v, n.Server(), serverAddr, q, wire.MaxMessageLen, false, 0)
	}
}

// Until the facts are there, every query for a name in our zones gets SERVFAIL, with an
// extended error if it has an OPT record, and never NXDOMAIN.
func TestNoNameIsDeniedBeforeTheFactsAreThere(t *testing.T) {
	r := newRand(t)
	var p prober
	w, _ := newWorldOfCommits(r)
	pub := zone.NewPublisher(w.options)
	v := newVersion(pub.Table(), registry.NewStore(nil).Snapshot(), w.options, nil)
	v.slow.ready = false
	names := newVersion(pub.Table(), w.store.Snapshot(), w.options, w.serials)
	for range 500 {
		src, dst, q := w.ask(names)
		limit, truncate, flags := w.frame()
		p.check(t, v, src, dst, q, limit, truncate, flags)
	}
	if p.seen["not ready"] < 300 || p.seen["NXDOMAIN"] > 0 {
		t.Errorf("of 500 responses %d say that the server is not ready and %d deny a name", p.seen["not ready"], p.seen["NXDOMAIN"])
	}
	if pub.Table().Ready() {
		t.Error("a new publisher is ready")
	}
}

// FuzzLookup compares the answers to any query with the twin's. The facts never change.
func FuzzLookup(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	w, pub := newWorldOfCommits(r)
	for range 200 {
		w.step()
	}
	v := newVersion(pub.Table(), w.store.Snapshot(), w.options, w.serials)
	sources := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")}
	for _, n := range worldNetworks {
		sources = append(sources, w.address(n), n.Server())
		for _, name := range v.names(n) {
			q := slowQuery{labels: name.labels, qtype: pick(r, worldTypes), opt: w.one(2)}
			f.Add(q.message(), uint8(len(sources)-1), w.one(2))
		}
	}
	f.Fuzz(func(t *testing.T, msg []byte, from uint8, truncate bool) {
		var q wire.Query
		if len(msg) > 600 || q.Parse(msg) != wire.Answer {
			return
		}
		twin := slowQuery{id: q.ID, flags: q.Flags, qtype: q.Type, opt: q.OPT, do: q.DO, udpSize: q.UDPSize}
		for i := range q.Labels() {
			twin.labels = append([]string{string(q.Label(i))}, twin.labels...)
		}
		var p prober
		p.check(t, v, sources[int(from)%len(sources)], serverAddr, twin, 512, truncate, 0)
	})
}
