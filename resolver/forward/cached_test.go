package forward

import (
	"testing"
	"time"

	"github.com/internaldns/internaldns/resolver/forward/cache"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/miekg/dns"
)

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
	of := message.QuestionOf(q)
	r, err := message.Clean(pack(m), of, isLocal)
	if err != nil {
		t.Fatalf("%s: %v", question, err)
	}
	f.cache.Put(cache.NewEntry(of, r, f.clock.Now()))
}

// A hit must not touch the heap, and neither must anything else that is answered
// at once.
func TestCachedAllocs(t *testing.T) {
	f := newForwarder(t, Config{Upstreams: []Upstream{upstreamA}, Forwards: []Forward{{suffix(t, "corp.example"), []Upstream{upstreamB}}}})
	store(t, f, stub, "A www.example.com.", "www.example.com. 3600 IN CNAME a.example.net.", "a.example.net. 300 IN A 192.0.2.1", "a.example.net. 300 IN A 192.0.2.2")
	store(t, f, stub, "AAAA www.example.com.", "example.com. 3600 IN SOA a. b. 1 2 3 4 60")
	failing := message.QuestionOf(wireQuery(t, stub, "A failing.example.com."))
	f.cache.Fail(failing, f.clock.Now(), 0, 0)
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
		{"a special name", "PTR 1.0.0.10.in-addr.arpa.", "NXDOMAIN", stub},
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
	failing := message.QuestionOf(wireQuery(t, stub, "A failing.example.com."))
	f.cache.Fail(failing, f.clock.Now(), 0, 0)
	f.Flush(suffix(t, "example.com"), true)
	if _, failed := f.cache.FailedQuestion(failing, f.clock.Now(), 0); failed {
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
