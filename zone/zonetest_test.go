package zone_test

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// serverAddr is the address that questions go to, unless a test uses another.
var serverAddr = netip.MustParseAddr("fdaa::3")

// load returns a ready publisher with the facts of a registry file.
func load(t testing.TB, path string, o zone.Options) (*registry.Store, *zone.Publisher) {
	t.Helper()
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	facts, err := format.Parse(path, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if o.TTL == 0 {
		o.TTL = 5
	}
	p := zone.NewPublisher(o)
	s := registry.NewStore(p.Commit)
	if _, err := s.Apply(s.Snapshot().Diff(facts)); err != nil {
		t.Fatal(err)
	}
	p.Ready()
	return s, p
}

// packed returns a query in wire form.
func packed(t testing.TB, qtype uint16, name string) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	msg, err := m.Pack()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return msg
}

// ask asks one question and returns the response, or nil if the name is in none of our
// zones.
func ask(t testing.TB, p *zone.Publisher, src, dst netip.Addr, qtype uint16, name string) *dns.Msg {
	t.Helper()
	var q wire.Query
	if v := q.Parse(packed(t, qtype, name)); v != wire.Answer {
		t.Fatalf("%s: verdict %v", name, v)
	}
	view := p.Table().For(src, dst)
	var a zone.Answer
	view.Lookup(&q, wire.MaxMessageLen, &a)
	if a.Finding == zone.OutOfZone {
		return nil
	}
	msg, _ := a.AppendTo(nil, &q, zone.Frame{Limit: wire.MaxMessageLen})
	m := new(dns.Msg)
	if err := m.Unpack(msg); err != nil {
		t.Fatalf("%s %s: the response does not unpack: %v\n%x", dns.TypeToString[qtype], name, err, msg)
	}
	return m
}

// text returns a response in the form of expect.tsv: the code, a tab, the answers.
func text(m *dns.Msg) string {
	if m == nil {
		return "out of zone"
	}
	var items []string
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.AAAA:
			addr, _ := netip.AddrFromSlice(rr.AAAA)
			items = append(items, addr.String())
		case *dns.TXT:
			items = append(items, `"`+strings.Join(rr.Txt, "")+`"`)
		case *dns.PTR:
			items = append(items, rr.Ptr)
		case *dns.NS:
			items = append(items, rr.Ns)
		case *dns.SOA:
			items = append(items, "SOA")
		default:
			items = append(items, fmt.Sprintf("a record of another type: %v", rr))
		}
	}
	return dns.RcodeToString[m.Rcode] + "\t" + strings.Join(items, " ")
}

// Every question of expect.tsv has the answer of expect.tsv. That file was made from the
// rules by a program that shares no code with this one.
func TestExpected(t *testing.T) {
	_, p := load(t, "../cmd/internaldns/sample/org.json", zone.Options{})
	f, err := os.Open("testdata/expect.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		n++
		part := strings.SplitN(line, "\t", 4)
		m := ask(t, p, netip.MustParseAddr(part[0]), serverAddr, dns.StringToType[part[1]], part[2])
		if got := text(m); got != part[3] {
			t.Errorf("%s %s, asked by %s\n got %s\nwant %s", part[1], part[2], part[0], got, part[3])
		}
	}
	if n != 531 {
		t.Errorf("asked %d questions, want 531", n)
	}
}
