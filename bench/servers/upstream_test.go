//go:build unix

package servers

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/internaldns/internaldns/bench/dataset"
)

// ask returns the response to the query.
func ask(query []byte) (msg []byte, other bool) {
	buf := make([]byte, upstreamSize)
	n, other := new(Upstream).respond(buf, copy(buf, query))
	return buf[:n], other
}

// unpacked decodes the message with another library.
func unpacked(t testing.TB, msg []byte) *dns.Msg {
	t.Helper()
	var m dns.Msg
	if err := m.Unpack(msg); err != nil {
		t.Fatalf("%x does not unpack: %v", msg, err)
	}
	return &m
}

func TestResponsesAreWhatTheirQuestionsWant(t *testing.T) {
	var q dataset.Query
	sizes := map[int]int{}
	for n := range uint32(2000) {
		ForwardedQuery(n, 1232, &q)
		query := bytes.Clone(q.Message)
		if n%3 == 0 { // letter case must not matter, and comes back
			copy(query[headerLen:], bytes.ToUpper(query[headerLen:][:q.Question-5]))
		}
		msg, other := ask(query)
		if other || !bytes.Equal(msg[headerLen:][:q.Question], query[headerLen:][:q.Question]) {
			t.Fatalf("%x is answered with %x", query, msg)
		}
		m := unpacked(t, msg)
		if !m.Response || m.Rcode != dns.RcodeSuccess || !m.RecursionAvailable || !m.RecursionDesired || m.Truncated || m.IsEdns0() == nil || len(m.Ns) > 0 {
			t.Fatalf("%v", m)
		}
		var digest uint64
		seen := map[string]bool{}
		for _, rr := range m.Answer {
			if rr.Header().Name != m.Question[0].Name || rr.Header().Rrtype != m.Question[0].Qtype {
				t.Fatalf("%v does not answer %v", rr, m.Question)
			}
			switch rr := rr.(type) {
			case *dns.A:
				digest += dataset.RecordDigest(dataset.TypeA, rr.A.To4())
			case *dns.AAAA:
				digest += dataset.RecordDigest(dataset.TypeAAAA, rr.AAAA.To16())
			}
			seen[rr.String()] = true
		}
		if int(q.Want.Answers) != len(m.Answer) || len(seen) != len(m.Answer) || q.Want.Digest != digest {
			t.Fatalf("%v is not what is wanted: %+v", m, q.Want)
		}
		sizes[len(m.Answer)]++
	}
	if len(sizes) != maxAddrs {
		t.Errorf("numbers of addresses: %v", sizes)
	}
}

func TestNumbersHaveNamesOfTheirOwn(t *testing.T) {
	var q dataset.Query
	seen := map[string]uint32{}
	for n := range uint32(100_000) {
		ForwardedQuery(n, 1232, &q)
		name := string(q.Message[headerLen:][:q.Question-4])
		if other, ok := seen[name]; ok {
			t.Fatalf("%d and %d are both %q", n, other, name)
		}
		seen[name] = n
	}
	allocs := testing.AllocsPerRun(100, func() { ForwardedQuery(7, 1232, &q) })
	if allocs != 0 {
		t.Errorf("a question allocates %v times", allocs)
	}
}

func TestOtherQuestionsAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name  string
		qtype uint16
	}{
		{".", dns.TypeNS}, {ForwardedZone, dns.TypeA}, {"n00000000." + ForwardedZone, dns.TypeTXT}, {"n00000000.x." + ForwardedZone, dns.TypeA}, {"example", dns.TypeA},
	} {
		m := new(dns.Msg).SetQuestion(dns.Fqdn(tt.name), tt.qtype)
		query, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		msg, other := ask(query)
		if got := unpacked(t, msg); !other || got.Rcode != dns.RcodeRefused || got.IsEdns0() != nil || len(got.Answer) > 0 {
			t.Errorf("%s %d: %v", tt.name, tt.qtype, got)
		}
	}
}

func TestQueriesAreAnsweredInTheBackgroundUnlessTheUpstreamIsHeld(t *testing.T) {
	u, err := NewUpstream(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	u.Drop = func(name []byte) bool { return string(name) == "\x04hang\x00" }
	stop := u.Background()
	conn, err := net.Dial("udp", u.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	var q dataset.Query
	ForwardedQuery(1, 1232, &q)
	dropped, err := dataset.NewQuery("hang", dataset.TypeA, 0)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, upstreamSize)
	read := func() {
		t.Helper()
		n, err := conn.Read(buf)
		if err != nil || !strings.Contains(string(buf[:n]), "forwarded") {
			t.Fatalf("%x, %v", buf[:n], err)
		}
	}
	conn.Write(dropped.Message)
	conn.Write(q.Message)
	read()

	release := u.Hold()
	conn.Write(q.Message)
	for busy := false; !busy; { // run does not answer it: the Upstream is held
		if busy, err = u.Turn(); err != nil {
			t.Fatal(err)
		}
	}
	read()
	if got, want := u.Counts(), (Counts{Queries: 3}); got != want {
		t.Errorf("counts are %+v, want %+v", got, want)
	}
	release()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// Every response fits its buffer and decodes, or there is none.
func FuzzRespond(f *testing.F) {
	var q dataset.Query
	for n := range uint32(4) {
		ForwardedQuery(n, 1232, &q)
		f.Add(bytes.Clone(q.Message))
	}
	f.Add([]byte("short"))
	f.Add(make([]byte, upstreamSize))
	f.Fuzz(func(t *testing.T, query []byte) {
		if len(query) > 512 {
			return // no query is longer: a name and its type have 259 octets
		}
		msg, _ := ask(query)
		if len(msg) > upstreamSize {
			t.Fatalf("%d octets", len(msg))
		}
		var m dns.Msg
		if len(msg) > 0 && m.Unpack(msg) != nil && new(dns.Msg).Unpack(query) == nil {
			t.Fatalf("%x is answered with %x", query, msg)
		}
	})
}
