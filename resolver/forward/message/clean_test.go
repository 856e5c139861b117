package message

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// section is how tests write a message: "an", "ns" or "ar", then the record.
func responseTo(t testing.TB, q Question, rcode int, lines ...string) *dns.Msg {
	t.Helper()
	name, _, _ := dns.UnpackDomainName([]byte(q.Name), 0)
	m := &dns.Msg{Question: []dns.Question{{Name: name, Qtype: q.Type, Qclass: dns.ClassINET}}}
	m.Response, m.Rcode = true, rcode
	for _, line := range lines {
		part, rr, _ := strings.Cut(line, " ")
		switch part {
		case "an":
			m.Answer = append(m.Answer, records(rr)...)
		case "ns":
			m.Ns = append(m.Ns, records(rr)...)
		case "ar":
			m.Extra = append(m.Extra, records(rr)...)
		default:
			t.Fatalf("%q: no section", line)
		}
	}
	return m
}

// questionOf returns the question "TYPE NAME".
func questionOf(t testing.TB, s string, do bool) Question {
	t.Helper()
	qtype, name, _ := strings.Cut(s, " ")
	n, ok := dns.StringToType[qtype]
	var buf nameBuf
	length, err := dns.PackDomainName(strings.ToLower(name), buf[:], 0, nil, false)
	if err != nil || !ok {
		t.Fatalf("%q is no question: %v", s, err)
	}
	return Question{Name: string(buf[:length]), Type: n, DO: do}
}

// isLocal is true for the local zone of these tests.
func isLocal(name []byte) bool { return wire.Within(name, []byte("\x08internal\x00")) }

func pack(m *dns.Msg) []byte {
	m.Compress = true
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

func records(lines ...string) (rrs []dns.RR) {
	for _, s := range lines {
		rr, err := dns.NewRR(s)
		if err != nil {
			panic(err)
		}
		rrs = append(rrs, rr)
	}
	return rrs
}

// showRR returns rr as "OWNER TTL TYPE RDATA", but SOA records without RDATA.
func showRR(rr dns.RR) string {
	h := rr.Header()
	rdata := strings.TrimPrefix(rr.String(), h.String())
	if h.Rrtype == dns.TypeSOA {
		rdata = ""
	}
	return strings.TrimSpace(fmt.Sprintf("%s %d %s %s", strings.ToLower(h.Name), h.Ttl, dns.Type(h.Rrtype), rdata))
}

// A signature as zones have them; its octets do not matter.
func rrsig(owner, covers, zone string) string {
	return fmt.Sprintf("%s 60 IN RRSIG %s 13 2 60 20300101000000 20200101000000 1 %s AAAA", owner, covers, zone)
}

func TestClean(t *testing.T) {
	soa := "ns example.com. 600 IN SOA a. b. 1 2 3 4 300"
	for _, tt := range []struct {
		name, question string
		do             bool
		rcode          int
		message        []string
		want           string // records kept, and for how long; or what is wrong
	}{
		{"TTLs are capped at a day, and the least counts", "MX example.com.", false, 0,
			[]string{"an example.com. 999999 IN MX 1 a.example.com.", "an example.com. 100000 IN MX 2 b.example.com."},
			"86400: example.com. 86400 MX 1 a.example.com.; example.com. 86400 MX 2 b.example.com."},
		{"the lowest TTL of a chain is how long it holds", "A www.example.com.", false, 0,
			[]string{"an www.example.com. 300 IN CNAME a.example.net.", "an a.example.net. 20 IN A 192.0.2.1"},
			"20: www.example.com. 300 CNAME a.example.net.; a.example.net. 20 A 192.0.2.1"},
		{"an RRset has one TTL, the lowest", "A www.example.com.", false, 0,
			[]string{"an www.example.com. 300 IN A 192.0.2.1", "an www.example.com. 60 IN A 192.0.2.2", "an www.example.com. 90 IN A 192.0.2.3"},
			"60: www.example.com. 60 A 192.0.2.1; www.example.com. 60 A 192.0.2.2; www.example.com. 60 A 192.0.2.3"},
		{"so has its signature", "A www.example.com.", true, 0,
			[]string{"an www.example.com. 50 IN A 192.0.2.1", "an " + rrsig("www.example.com.", "A", "example.com.")},
			"50: www.example.com. 50 A 192.0.2.1; www.example.com. 50 RRSIG A 13 2 60 20300101000000 20200101000000 1 example.com. AAAA"},
		{"a TTL of 0 is not cached", "A www.example.com.", false, 0, []string{"an www.example.com. 0 IN A 192.0.2.1"},
			"0: www.example.com. 0 A 192.0.2.1"},
		{"NODATA holds as long as MINIMUM says", "A example.com.", false, 0, []string{soa}, "300: / example.com. 300 SOA"},
		{"NODATA holds no longer than the SOA", "A example.com.", false, 0, []string{"ns example.com. 60 IN SOA a. b. 1 2 3 4 300"}, "60: / example.com. 60 SOA"},
		{"NODATA holds an hour at most", "A example.com.", false, 0, []string{"ns example.com. 99999 IN SOA a. b. 1 2 3 4 99999"}, "3600: / example.com. 3600 SOA"},
		{"NODATA without SOA is not cached", "A example.com.", false, 0, nil, "0:"},
		{"NXDOMAIN without SOA is not cached", "A example.com.", false, 3, nil, "0:"},
		{"an alias to nothing holds as long as its end", "A www.example.com.", false, 3,
			[]string{"an www.example.com. 60 IN CNAME no.example.com.", soa}, "60: www.example.com. 60 CNAME no.example.com. / example.com. 300 SOA"},
		{"an alias without an end is not cached", "A www.example.com.", false, 0,
			[]string{"an www.example.com. 60 IN CNAME elsewhere.example.net."}, "0: www.example.com. 60 CNAME elsewhere.example.net."},
		{"an SOA of a zone below is none", "A example.com.", false, 3, []string{"ns www.example.com. 60 IN SOA a. b. 1 2 3 4 5"}, "0:"},
		{"an SOA of one of our zones is none", "A www.example.com.", false, 3, []string{"ns internal. 60 IN SOA a. b. 1 2 3 4 5"}, "0:"},
		{"who asks for an alias gets it alone", "CNAME www.example.com.", false, 0,
			[]string{"an www.example.com. 60 IN CNAME a.example.net.", "an a.example.net. 60 IN A 192.0.2.1"}, "60: www.example.com. 60 CNAME a.example.net."},
		{"who asks for ANY gets all of the name, and nothing else", "ANY example.com.", false, 0,
			[]string{"an example.com. 60 IN A 192.0.2.1", `an example.com. 60 IN TXT "x"`, "an a.example.com. 60 IN A 192.0.2.2"},
			`60: example.com. 60 A 192.0.2.1; example.com. 60 TXT "x"`},
		{"records of another class are none", "A example.com.", false, 0, []string{"an example.com. 60 CH A 192.0.2.1"}, ErrInvalid.Error()},
		{"a DNAME that made the alias stays", "A www.old.example.", false, 0,
			[]string{"an old.example. 60 IN DNAME new.example.", "an www.old.example. 60 IN CNAME www.new.example.", "an www.new.example. 60 IN A 192.0.2.1"},
			"60: old.example. 60 DNAME new.example.; www.old.example. 60 CNAME www.new.example.; www.new.example. 60 A 192.0.2.1"},
		{"a DNAME that did not goes", "A www.old.example.", false, 0,
			[]string{"an example. 60 IN DNAME evil.example.", "an www.old.example. 60 IN CNAME www.new.example.", "an www.new.example. 60 IN A 192.0.2.1"},
			"60: www.old.example. 60 CNAME www.new.example.; www.new.example. 60 A 192.0.2.1"},
		{"a chain of 15 aliases is followed", "A n0.example.", false, 0, chain(15),
			"60: " + strings.Join(chainWant(15), "; ")},
		{"a chain of 17 aliases is none", "A n0.example.", false, 0, chain(17), ErrInvalid.Error()},
		{"without DO, signatures go", "A www.example.com.", false, 0,
			[]string{"an www.example.com. 60 IN A 192.0.2.1", "an " + rrsig("www.example.com.", "A", "example.com.")}, "60: www.example.com. 60 A 192.0.2.1"},
		{"with DO, the signature of what is kept stays", "A www.example.com.", true, 0,
			[]string{"an www.example.com. 60 IN A 192.0.2.1", "an " + rrsig("www.example.com.", "A", "example.com."), "an " + rrsig("www.example.com.", "TXT", "example.com.")},
			"60: www.example.com. 60 A 192.0.2.1; www.example.com. 60 RRSIG A 13 2 60 20300101000000 20200101000000 1 example.com. AAAA"},
		{"with DO, the proof of a wildcard stays, if it is of the zone that signed", "A www.example.com.", true, 0,
			[]string{"an www.example.com. 60 IN A 192.0.2.1", "an " + rrsig("www.example.com.", "A", "example.com."),
				"ns a.example.com. 60 IN NSEC z.example.com. A RRSIG", "ns " + rrsig("a.example.com.", "NSEC", "example.com."), "ns a.example.net. 60 IN NSEC z.example.net. A"},
			"60: www.example.com. 60 A 192.0.2.1; www.example.com. 60 RRSIG A 13 2 60 20300101000000 20200101000000 1 example.com. AAAA / a.example.com. 60 NSEC z.example.com. A RRSIG; a.example.com. 60 RRSIG NSEC 13 2 60 20300101000000 20200101000000 1 example.com. AAAA"},
		{"with DO, NXDOMAIN keeps its proof", "A no.example.com.", true, 3,
			[]string{soa, "ns " + rrsig("example.com.", "SOA", "example.com."), "ns a.example.com. 60 IN NSEC z.example.com. A RRSIG", "ns victim.example. 60 IN NSEC z.example. A", "ns example.com. 60 IN NS victim.example."},
			"60: / example.com. 300 SOA; example.com. 60 RRSIG SOA 13 2 60 20300101000000 20200101000000 1 example.com. AAAA; a.example.com. 60 NSEC z.example.com. A RRSIG"},
		{"without DO, NXDOMAIN does not", "A no.example.com.", false, 3,
			[]string{soa, "ns " + rrsig("example.com.", "SOA", "example.com."), "ns a.example.com. 60 IN NSEC z.example.com. A RRSIG"}, "300: / example.com. 300 SOA"},
		{"SERVFAIL is lame", "A example.com.", false, 2, nil, "the response has RCODE 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := questionOf(t, tt.question, tt.do)
			msg := pack(responseTo(t, q, tt.rcode, tt.message...))
			if got := showClean(t, q, msg); got != tt.want {
				t.Errorf("%s\n got %s\nwant %s", tt.question, got, tt.want)
			}
		})
	}
}

func chain(n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprintf("an n%d.example. 60 IN CNAME n%d.example.", i, i+1))
	}
	return append(lines, fmt.Sprintf("an n%d.example. 60 IN A 192.0.2.1", n))
}

func chainWant(n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprintf("n%d.example. 60 CNAME n%d.example.", i, i+1))
	}
	return append(lines, fmt.Sprintf("n%d.example. 60 A 192.0.2.1", n))
}

// showClean returns what is kept of msg as miekg/dns reads it.
func showClean(t testing.TB, q Question, msg []byte) string {
	t.Helper()
	r, err := Clean(msg, q, isLocal)
	if err != nil {
		return err.Error()
	}
	out := unpackResponse(t, q, r)
	show := func(rrs []dns.RR) string {
		var list []string
		for _, rr := range rrs {
			list = append(list, showRR(rr))
		}
		return strings.Join(list, "; ")
	}
	s := fmt.Sprintf("%d: %s", r.TTL, show(out.Answer))
	if len(out.Ns) > 0 {
		s = strings.TrimSpace(s) + " / " + show(out.Ns)
	}
	return strings.TrimSpace(s)
}

// unpackResponse has miekg/dns read what was kept, behind the question.
func unpackResponse(t testing.TB, q Question, r *Response) *dns.Msg {
	t.Helper()
	b := make([]byte, 12, 12+len(q.Name)+4+len(r.Records))
	b[2], b[5] = 0x80, 1
	binary.BigEndian.PutUint16(b[6:], r.Answers)
	binary.BigEndian.PutUint16(b[8:], r.Authority)
	b = append(b, q.Name...)
	b = binary.BigEndian.AppendUint16(b, q.Type)
	b = binary.BigEndian.AppendUint16(b, wire.ClassIN)
	b = append(b, r.Records...)
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		t.Fatalf("what is kept does not unpack: %v\n%x", err, b)
	}
	if len(m.Answer) != int(r.Answers) || len(m.Ns) != int(r.Authority) || len(r.TTLs) != len(m.Answer)+len(m.Ns) {
		t.Fatalf("%d and %d records, counted as %d and %d, with %d TTLs", len(m.Answer), len(m.Ns), r.Answers, r.Authority, len(r.TTLs))
	}
	for i, rr := range append(slices.Clone(m.Answer), m.Ns...) {
		if ttl := binary.BigEndian.Uint32(r.Records[r.TTLs[i]:]); ttl != rr.Header().Ttl {
			t.Fatalf("record %d has TTL %d, and %d at its offset", i, rr.Header().Ttl, ttl)
		}
	}
	return m
}

// Records of every type that miekg/dns knows pass unchanged, whatever was
// compressed on the way.
func TestEveryTypePasses(t *testing.T) {
	for _, rr := range []string{
		"A 192.0.2.1", "AAAA 2001:db8::1", "NS ns.example.com.", "CNAME www.example.com.", "PTR a.example.com.", "MX 10 mail.example.com.",
		"SOA ns.example.com. mbox.example.com. 1 2 3 4 5", `TXT "one" "two"`, "SRV 1 2 53 a.example.com.", `NAPTR 1 2 "u" "s" "!x!y!" a.example.com.`,
		"DNAME www.example.com.", "RP a.example.com. b.example.com.", "AFSDB 1 a.example.com.", "KX 1 a.example.com.", "PX 1 a.example.com. b.example.com.",
		"RT 1 a.example.com.", "MINFO a.example.com. b.example.com.", `CAA 0 issue "ca.example"`, "HTTPS 1 a.example.com. alpn=h2 ipv4hint=192.0.2.1",
		"SVCB 1 a.example.com. port=53", "DS 1 13 2 AAAA", "DNSKEY 257 3 13 AAAA", "NSEC z.example.com. A MX RRSIG", "NSEC3 1 0 10 AB 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A",
		"RRSIG A 13 2 60 20300101000000 20200101000000 1 example.com. AAAA", "LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m", "SSHFP 1 1 AA", "TLSA 3 1 1 AA",
		`HINFO "a" "b"`, `URI 1 2 "https://example.com"`, "EUI48 00-00-5e-00-53-2a", "OPENPGPKEY AAAA", "ZONEMD 1 1 1 " + strings.Repeat("AB", 48),
	} {
		name, _, _ := strings.Cut(rr, " ")
		t.Run(name, func(t *testing.T) {
			owner := "example.com."
			sent := records(owner + " 60 IN " + rr)[0]
			q := questionOf(t, name+" "+owner, true)
			msg := pack(responseTo(t, q, 0, "an "+sent.String()))
			r, err := Clean(msg, q, isLocal)
			if err != nil {
				t.Fatal(err)
			}
			if got := unpackResponse(t, q, r).Answer[0]; !bytes.Equal(packRR(t, got), packRR(t, sent)) {
				t.Errorf("got %v, want %v", got, sent)
			}
		})
	}
}

func packRR(t testing.TB, rr dns.RR) []byte {
	b := make([]byte, 1000)
	n, err := dns.PackRR(rr, b, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// A full message of compressed names stays a full message.
func TestLongAnswersFit(t *testing.T) {
	q := questionOf(t, "MX example.com.", false)
	var lines []string
	for i := range 2500 {
		lines = append(lines, fmt.Sprintf("an example.com. 60 IN MX 10 mail-%04d.example.com.", i))
	}
	msg := pack(responseTo(t, q, 0, lines...))
	if len(msg) < 60_000 {
		t.Fatalf("the test's message is %d octets", len(msg))
	}
	r, err := Clean(msg, q, isLocal)
	if err != nil || r.Answers != 2500 {
		t.Fatalf("%d octets with 2500 records were not kept: %v", len(msg), err)
	}
	if got := len(r.Records) + 12 + len(q.Name) + 4; got > len(msg)+100 {
		t.Errorf("%d octets became %d", len(msg), got)
	}
	unpackResponse(t, q, r)
}

// Whatever an upstream sends, what is kept unpacks, speaks of the chain from QNAME
// only, and not of our names, and gives each RRset one TTL.
func FuzzClean(f *testing.F) {
	q := questionOf(f, "A www.example.com.", false)
	for _, lines := range [][]string{
		{"an www.example.com. 60 IN A 192.0.2.1"},
		{"an www.example.com. 60 IN A 192.0.2.1", "an www.example.com. 50 IN A 192.0.2.2"},
		{"an www.example.com. 60 IN CNAME a.example.net.", "an a.example.net. 60 IN A 192.0.2.1", "an web.internal. 60 IN A 192.0.2.1"},
		{"ns example.com. 60 IN SOA a. b. 1 2 3 4 5", "ns a.example.com. 60 IN NSEC z.example.com. A"},
		{"an example.com. 60 IN DNAME example.net.", "an www.example.com. 60 IN CNAME www.example.net.", "an " + rrsig("www.example.net.", "A", "example.net.")},
	} {
		msg := pack(responseTo(f, q, 0, lines...))
		f.Add(msg[12+len(q.Name)+4:], msg[:12], false)
		f.Add(msg[12+len(q.Name)+4:], msg[:12], true)
	}
	used := new(cleaner) // earlier messages must not show in the next response
	f.Fuzz(func(t *testing.T, rest, header []byte, do bool) {
		if len(header) < 12 || len(rest) > 40_000 {
			return
		}
		q := q
		if do {
			q.DO = true
		}
		msg := slices.Clone(header[:12])
		msg = append(msg, q.Name...)
		msg = append(append(msg, 0, 1, 0, 1), rest...)
		before := bytes.Clone(msg)
		r, err := new(cleaner).clean(msg, q, isLocal)
		if again, err2 := used.clean(msg, q, isLocal); !reflect.DeepEqual(err2, err) || !reflect.DeepEqual(again, r) {
			t.Errorf("a cleaner that was used before gives %v %+v, a new one %v %+v", err2, again, err, r)
		}
		if !bytes.Equal(msg, before) {
			t.Fatal("the message was changed")
		}
		if err != nil {
			return
		}
		if new(dns.Msg).Unpack(msg) != nil {
			return // RDATA that we pass unseen, and miekg/dns does not
		}
		got := unpackResponse(t, q, r)
		on, ttls := map[string]bool{"www.example.com.": true}, map[string]uint32{}
		for _, rr := range got.Answer {
			owner := strings.ToLower(rr.Header().Name)
			_, dname := rr.(*dns.DNAME)
			sig, signature := rr.(*dns.RRSIG)
			if dname || signature && sig.TypeCovered == dns.TypeDNAME {
				continue
			}
			if !on[owner] {
				t.Errorf("%v is not on the chain", rr)
			}
			if dns.IsSubDomain("internal.", owner) {
				t.Errorf("%v has one of our names", rr)
			}
			if first, ok := ttls[owner+dns.Type(rr.Header().Rrtype).String()]; ok && !signature && rr.Header().Ttl != first {
				t.Errorf("%v is of an RRset with TTL %d", rr, first)
			}
			ttls[owner+dns.Type(rr.Header().Rrtype).String()] = rr.Header().Ttl
			if c, ok := rr.(*dns.CNAME); ok {
				on[strings.ToLower(c.Target)] = true
			}
		}
		for _, rr := range got.Ns {
			switch rr.(type) {
			case *dns.SOA:
			case *dns.NSEC, *dns.NSEC3, *dns.RRSIG:
				if !do {
					t.Errorf("%v without DO", rr)
				}
			default:
				t.Errorf("%v in authority", rr)
			}
			if dns.IsSubDomain("internal.", strings.ToLower(rr.Header().Name)) {
				t.Errorf("%v has one of our names", rr)
			}
		}
		if r.TTL > maxTTL || len(got.Answer) == 0 && r.TTL > maxNegativeTTL {
			t.Errorf("it would be cached for %d s", r.TTL)
		}
	})
}
