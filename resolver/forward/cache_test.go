package forward

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// underRace tells that the race detector is watching, and all takes ten times as
// long.
var underRace bool

// store puts what upstream would answer to a question into f's cache.
func store(t testing.TB, f *Forwarder, c client, question string, answer ...string) {
	t.Helper()
	q := wireQuery(t, c, question)
	m := new(dns.Msg)
	if err := m.Unpack(c.query(t, question)); err != nil {
		t.Fatal(err)
	}
	m.Response, m.Extra = true, nil
	for _, rr := range records(answer...) {
		if rr.Header().Rrtype == dns.TypeSOA {
			m.Ns = append(m.Ns, rr)
		} else {
			m.Answer = append(m.Answer, rr)
		}
	}
	of := asked(q)
	r, wellFormed, err := f.read(pack(m), &query{qlen: len(of.name) + 4}, of)
	if !wellFormed || err != nil {
		t.Fatalf("%s: %v", question, err)
	}
	f.cache.put(newEntry(of, r, f.now()))
}

func asked(q *wire.Query) question { return question{string(q.Name()), q.Type, bitsOf(q)} }

// A hit must not touch the heap, and neither must anything else that is answered
// at once.
func TestCachedAllocs(t *testing.T) {
	f := newForwarder(t, Config{Upstreams: []Upstream{upstreamA}, Forwards: []Forward{{suffix(t, "corp.example"), []Upstream{upstreamB}}}})
	store(t, f, stub, "A www.example.com.", "www.example.com. 3600 IN CNAME a.example.net.", "a.example.net. 300 IN A 192.0.2.1", "a.example.net. 300 IN A 192.0.2.2")
	store(t, f, stub, "AAAA www.example.com.", "example.com. 3600 IN SOA a. b. 1 2 3 4 60")
	failing := asked(wireQuery(t, stub, "A failing.example.com."))
	f.cache.fail(failing, f.now(), 0, 0)
	plain := stub
	plain.opt = false
	noRD, stranger, small := stub, stub, plain
	noRD.rd = false
	stranger.Addr = addrPort("203.0.113.1:1").Addr()
	small.Limit = 60
	for _, tt := range []struct {
		name, question, want string
		c                    client
	}{
		{"a hit", "A www.example.com.", "NOERROR", stub},
		{"a hit in mixed case", "A wWw.eXaMpLe.CoM.", "NOERROR", stub},
		{"a hit without EDNS", "A www.example.com.", "NOERROR", plain},
		{"a hit that must be cut", "A www.example.com.", "NOERROR TC", small},
		{"a negative hit", "AAAA www.example.com.", "NOERROR", stub},
		{"a failure", "A failing.example.com.", "SERVFAIL", stub},
		{"a name kept at home", "PTR 1.0.0.10.in-addr.arpa.", "NXDOMAIN", stub},
		{"localhost", "A localhost.", "NOERROR", stub},
		{"a query without RD", "A www.example.com.", "REFUSED", noRD},
		{"a client who is not allowed", "A www.example.com.", "REFUSED", stranger},
		{"a miss", "A other.example.com.", "no response", stub},
	} {
		q := wireQuery(t, tt.c, tt.question)
		out, now := make([]byte, 0, 1232), time.Now()
		got := testing.AllocsPerRun(100, func() { f.Cached(q, tt.c.Client, now, out) })
		if got != 0 {
			t.Errorf("%s: %v allocs, want 0", tt.name, got)
		}
		m := tt.c.cached(t, f, tt.question)
		if m != nil {
			m.Answer, m.Ns, m.Extra = nil, nil, nil
		}
		if got := show(m); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// A million random names of one client must not push out what all others ask for.
func TestScanLeavesHotNames(t *testing.T) {
	hot, random, octets := 10_000, 1_000_000, 16<<20 // a quarter of the default, so that nearly everything must go
	if underRace {
		hot, random, octets = hot/50, random/50, octets/50 // a race would show as well
	}
	c, err := newCache(octets)
	if err != nil {
		t.Fatal(err)
	}
	body, ttls := make([]byte, 64), make([]uint16, 4)
	name := []byte("\x08\x00\x00\x00\x00\x00\x00\x00\x00\x07example\x03com\x00")
	at := func(n uint64) question {
		binary.BigEndian.PutUint64(name[1:], n)
		return question{name: string(name), qtype: wire.TypeA}
	}
	use := func(q question) bool {
		e, ok := c.entries.GetIfPresent(c.keyOf(q))
		if ok && e.question == q {
			return true
		}
		c.put(&entry{question: q, body: body, ttls: ttls, expires: never})
		return false
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	hits, asked := 0, 0
	for i := range uint64(hot) {
		use(at(i))
	}
	for i := range uint64(random) {
		use(at(1<<32 + i))
		if asked++; use(at(rnd.Uint64N(uint64(hot)))) {
			hits++
		}
	}
	t.Logf("%.2f %% hits, %d entries, %d octets", 100*float64(hits)/float64(asked), c.len(), c.octets())
	if 100*hits < 99*asked {
		t.Errorf("%d of %d were hits, want 99 of 100", hits, asked)
	}
	if c.octets() > uint64(octets) {
		t.Errorf("the cache holds %d octets, more than %d", c.octets(), octets)
	}
}

// An entry answers its own question only, even if hashes collide.
func TestCollisionsAreNoAnswers(t *testing.T) {
	f := newForwarder(t, Config{Upstreams: []Upstream{upstreamA}})
	a, b := wireQuery(t, stub, "A a.example."), wireQuery(t, stub, "A b.example.")
	store(t, f, stub, "A a.example.", "a.example. 60 IN A 192.0.2.1")
	e, _ := f.cache.get(a)
	f.cache.entries.Set(f.cache.key(b.Name(), b.Type, bitsOf(b)), e)
	if got, _ := f.cache.get(b); got != nil {
		t.Error("the entry of a.example. answers b.example.")
	}
	if f.cache.peek(asked(b)) != nil {
		t.Error("the entry of a.example. is shown for b.example.")
	}
}

func TestFlush(t *testing.T) {
	f := newForwarder(t, Config{Upstreams: []Upstream{upstreamA}})
	names := []string{"example.com.", "www.example.com.", "a.b.example.com.", "notexample.com.", "example.net."}
	fill := func() {
		for _, n := range names {
			store(t, f, stub, "A "+n, n+" 60 IN A 192.0.2.1")
			store(t, f, stub, "TXT "+n, n+` 60 IN TXT "x"`)
		}
	}
	left := func() (list string) {
		for _, n := range names {
			if stub.cached(t, f, "A "+n) != nil {
				list += " " + n
			}
		}
		return list
	}
	for _, tt := range []struct {
		name  string
		below bool
		n     int
		left  string
	}{
		{"example.com", false, 2, " www.example.com. a.b.example.com. notexample.com. example.net."},
		{"example.com", true, 6, " notexample.com. example.net."},
		{"EXAMPLE.net.", true, 2, " example.com. www.example.com. a.b.example.com. notexample.com."},
		{".", true, 10, ""},
		{"absent.example", true, 0, " example.com. www.example.com. a.b.example.com. notexample.com. example.net."},
	} {
		fill()
		if n := f.Flush(suffix(t, tt.name), tt.below); n != tt.n {
			t.Errorf("flush %s, below %v: %d entries, want %d", tt.name, tt.below, n, tt.n)
		}
		if got := left(); got != tt.left {
			t.Errorf("flush %s, below %v: left%s, want%s", tt.name, tt.below, got, tt.left)
		}
	}
	failing := asked(wireQuery(t, stub, "A failing.example.com."))
	f.cache.fail(failing, f.now(), 0, 0)
	f.Flush(suffix(t, "example.com"), true)
	if f.failedQuestion(failing, f.now()) != nil {
		t.Error("a failure outlived the flush")
	}
}

// Readers and writers of one entry at once: for the race detector.
func TestCacheIsReadWhileWritten(t *testing.T) {
	f := newForwarder(t, Config{Upstreams: []Upstream{upstreamA}})
	store(t, f, stub, "A www.example.com.", "www.example.com. 60 IN A 192.0.2.1")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			store(t, f, stub, "A www.example.com.", "www.example.com. 60 IN A 192.0.2.1")
		}
	}()
	for range 200 {
		if m := stub.cached(t, f, "A www.example.com."); show(m) != isTruth("www.example.com.") {
			t.Fatal(show(m))
		}
	}
	<-done
}
