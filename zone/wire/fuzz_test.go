package wire

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// disagreements are the faults for which we refuse a message that miekg/dns unpacks. Both
// must accept a message without these faults, or both must refuse it, with two exceptions,
// which we accept and miekg/dns refuses:
//
//   - RDATA of records other than OPT, and data of options other than cookies.
//     We skip it, since it changes no answer; miekg/dns looks inside. The fuzz
//     test makes both blind to it (see blinded) before it compares.
//   - A name of exactly 127 compression pointers. We take as many as a name can
//     have labels; miekg/dns takes 126.
var disagreements = []struct {
	fault   fault
	why     string
	example string // in the notation of octets
}{
	{faultQDCOUNT, "miekg/dns reads messages of any kind, and as many questions as there are; a query has one (RFC 9619)",
		"1234 0100 0002 0000 0000 0000" + web + aaaa + web + aaaa},
	{faultSections, "miekg/dns reads responses too, which have these sections",
		"1234 0100 0001 0001 0000 0000" + web + aaaa + "c00c" + a},
	{faultMissing, "miekg/dns takes the end of a message for the end of its records, whatever the counts say, and fills a question with zeros",
		"1234 0100 0001 0000 0000 0007" + web + aaaa},
	{faultQNAME, "miekg/dns reads the octets of the header as a name, and a name that is further on",
		"1234 0100 0001 0000 0000 0000 c004" + aaaa},
	{faultPointer, "miekg/dns bounds how many pointers it follows, not where they lead (RFC 1035, Section 4.1.4: to a prior occurrence)",
		"1234 0100 0001 0000 0000 0002" + web + aaaa + "c02e" + a + "c00c" + a},
	{faultTwoOPT, "miekg/dns has no rule how often a type may occur (RFC 6891, Section 6.1.1: FORMERR)",
		"1234 0100 0001 0000 0000 0002" + web + aaaa + opt + opt},
	{faultOwner, "miekg/dns has no rule what OPT may own (RFC 6891, Section 6.1.2: MUST be 0)",
		headX + web + aaaa + "c00c 0029 04d0 00000000 0000"},
	{faultCookie, "miekg/dns has no rule how long a cookie is (RFC 7873, Section 4)",
		headX + web + aaaa + optWith + "0005" + "000a 0001 00"},
	{faultSignature, "miekg/dns has no rule in which order records stand (RFC 8945, Section 5.2; RFC 2931, Section 3)",
		"1234 0100 0001 0000 0000 0002" + web + aaaa + sig0 + opt},
	{faultTrailing, "miekg/dns ignores what follows the last record",
		head + web + aaaa + "00"},
}

func TestDisagreementsWithMiekgAreStillTrue(t *testing.T) {
	for _, d := range disagreements {
		t.Run(string(d.fault), func(t *testing.T) {
			msg := octets(t, d.example)
			var q Query
			if v := q.Parse(msg); v != FormErr {
				t.Errorf("Parse = %s, want FORMERR", verdictNames[v])
			}
			if got := parseSlow(msg).faults; !slices.Equal(got, []fault{d.fault}) {
				t.Errorf("the example shows %q", got)
			}
			if err := new(dns.Msg).Unpack(msg); err != nil {
				t.Errorf("miekg/dns no longer unpacks it: %v", err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for i, p := range packets {
		before := packets[(i+len(packets)/2)%len(packets)]
		f.Add(octets(f, p.msg), octets(f, before.msg))
	}
	for _, d := range disagreements {
		f.Add(octets(f, d.example), octets(f, headX+web+aaaa+opt))
	}
	f.Fuzz(func(t *testing.T, msg, before []byte) {
		if len(msg) > MaxMessageLen {
			t.Skip("longer than any message")
		}
		testParse(t, msg, before)
	})
}

// testParse compares Parse of msg with its twin and with miekg/dns, and checks what is true
// of any message. A Query that parsed before must keep nothing of it.
func testParse(t *testing.T, msg, before []byte) {
	t.Helper()
	var q Query
	v := q.Parse(msg)
	want := stateOf(t, v, &q)

	testAgainstSlow(t, msg, v, &q)
	testAgainstMiekg(t, msg, v, &q)
	testResponse(t, v, &q)
	testCopy(t, v, &q)
	testTail(t, msg, &q)
	testReadsOnlyMsg(t, msg, want)

	var used Query
	used.Parse(before)
	if got := stateOf(t, used.Parse(msg), &used); got != want {
		t.Errorf("after another query\n got %+v\nwant %+v", got, want)
	}
	if got := stateOf(t, q.Parse(msg), &q); got != want {
		t.Errorf("the second time\n got %+v\nwant %+v", got, want)
	}
}

// testTail checks that Tail finds the labels that Parse finds, but for letter case.
func testTail(t *testing.T, msg []byte, q *Query) {
	t.Helper()
	above, tail := Tail(msg)
	if len(q.Name()) == 0 {
		return // only that it returns
	}
	for i := range tail {
		var want []byte
		if i < q.Labels() {
			want = q.Label(i)
		}
		if !bytes.Equal(lowered(tail[i]), want) || (tail[i] == nil) != (want == nil) {
			t.Errorf("Tail of %q has label %d %q, want %q", q.Name(), i, tail[i], want)
		}
	}
	if q.Labels() >= 2 && !bytes.Equal(lowered(above), q.Above(2)) {
		t.Errorf("Tail of %q has above %q, want %q", q.Name(), above, q.Above(2))
	}
}

// testAgainstSlow compares q with the result of parseSlow.
func testAgainstSlow(t *testing.T, msg []byte, v Verdict, q *Query) {
	t.Helper()
	r := parseSlow(msg)
	if v != r.verdict {
		t.Fatalf("Parse = %s, want %s for %q", verdictNames[v], verdictNames[r.verdict], r.faults)
	}
	if v == Drop {
		return
	}
	if !bytes.Equal(q.Question(), r.question) || (q.Question() == nil) != (r.question == nil) {
		t.Errorf("Question() = %x, want %x", q.Question(), r.question)
	}
	if q.Type != r.qtype || q.Class != r.qclass {
		t.Errorf("QTYPE %d, QCLASS %d, want %d, %d", q.Type, q.Class, r.qtype, r.qclass)
	}
	testSplit(t, q, r)

	if q.OPT != (r.opt != nil) {
		t.Fatalf("OPT is %t, want %t", q.OPT, r.opt != nil)
	}
	udpSize, version, do := uint16(512), byte(0), false
	if r.opt != nil {
		udpSize, version, do = max(512, binary.BigEndian.Uint16(r.opt[2:])), r.opt[5], r.opt[6]>>7 == 1
	}
	if q.UDPSize != udpSize || q.Version != version || q.DO != do || q.Keepalive != r.keepalive {
		t.Errorf("UDP size %d, version %d, DO %t, keepalive %d; want %d, %d, %t, %d",
			q.UDPSize, q.Version, q.DO, q.Keepalive, udpSize, version, do, r.keepalive)
	}
}

// testSplit compares Name, Labels, Label, Above and Offset with the labels of r.
func testSplit(t *testing.T, q *Query, r *reading) {
	t.Helper()
	labels := make([][]byte, len(r.labels))
	for i, l := range r.labels {
		labels[i] = lowerSlow(l)
	}
	name := wireName(labels)
	if r.question != nil {
		name = append(name, 0)
	}
	if !bytes.Equal(q.Name(), name) {
		t.Fatalf("Name() = %q, want %q", q.Name(), name)
	}
	if q.Labels() != len(labels) {
		t.Fatalf("Labels() = %d, want %d", q.Labels(), len(labels))
	}
	for n := range len(labels) + 1 {
		left := wireName(labels[:len(labels)-n])
		if got := q.Above(n); !bytes.Equal(got, left) {
			t.Errorf("Above(%d) = %q, want %q", n, got, left)
		}
		if got, want := q.Offset(n), HeaderLen+len(left); got != want {
			t.Errorf("Offset(%d) = %d, want %d", n, got, want)
		}
		if n < len(labels) {
			if got, want := q.Label(n), labels[len(labels)-1-n]; !bytes.Equal(got, want) {
				t.Errorf("Label(%d) = %q, want %q", n, got, want)
			}
		}
	}
	if !panics(func() { q.Label(len(labels)) }) {
		t.Errorf("Label(%d) of %d labels did not panic", len(labels), len(labels))
	}
}

func lowerSlow(label []byte) []byte {
	l := slices.Clone(label)
	for i, c := range l {
		if 'A' <= c && c <= 'Z' {
			l[i] = c - 'A' + 'a'
		}
	}
	return l
}

// testAgainstMiekg checks that miekg/dns accepts or refuses msg as Parse does, and reads the
// same.
func testAgainstMiekg(t *testing.T, msg []byte, v Verdict, q *Query) {
	t.Helper()
	if v == Drop {
		return // miekg/dns reads responses
	}
	r := parseSlow(msg)
	msg = blinded(msg, r)
	if again := parseSlow(msg); !slices.Equal(again.types, r.types) || !slices.Equal(again.faults, r.faults) {
		return // a pointer leads to what was changed, and makes it part of a name
	}
	var m dns.Msg
	err := m.Unpack(msg)
	switch {
	case err != nil && len(r.faults) == 0 && r.mostPointers < 127:
		t.Errorf("Parse finds well formed (%s) what miekg/dns does not unpack: %v", verdictNames[v], err)
	case err == nil && len(r.faults) > 0:
		for _, d := range disagreements {
			if slices.Contains(r.faults, d.fault) {
				return
			}
		}
		t.Errorf("miekg/dns unpacks what has the faults %q", r.faults)
	}
	if err != nil || len(r.faults) > 0 {
		return
	}

	question := m.Question[0]
	var name [MaxNameLen]byte
	n, err := dns.PackDomainName(question.Name, name[:], 0, nil, false)
	if err != nil {
		t.Fatalf("miekg/dns reads a QNAME that it cannot pack, %q: %v", question.Name, err)
	}
	if want := lowerSlow(name[:n]); !bytes.Equal(q.Name(), want) {
		t.Errorf("Name() = %q, miekg/dns reads %q", q.Name(), want)
	}
	if q.ID != m.Id || int(q.Opcode()) != m.Opcode || q.RD() != m.RecursionDesired {
		t.Errorf("ID %d, opcode %d, RD %t; miekg/dns reads %d, %d, %t", q.ID, q.Opcode(), q.RD(), m.Id, m.Opcode, m.RecursionDesired)
	}
	if q.Type != question.Qtype || q.Class != question.Qclass {
		t.Errorf("QTYPE %d, QCLASS %d; miekg/dns reads %d, %d", q.Type, q.Class, question.Qtype, question.Qclass)
	}
	o := m.IsEdns0()
	if q.OPT != (o != nil) {
		t.Fatalf("OPT is %t, miekg/dns finds %v", q.OPT, o)
	}
	if o != nil && (q.UDPSize != max(512, o.UDPSize()) || q.Version != o.Version() || q.DO != o.Do()) {
		t.Errorf("UDP size %d, version %d, DO %t; miekg/dns reads %d, %d, %t", q.UDPSize, q.Version, q.DO, o.UDPSize(), o.Version(), o.Do())
	}
}

// blinded returns msg with records and options whose content no parser knows: each record
// but OPT gets a type for private use, each option a code for private use (RFC 6895,
// Section 3.1; RFC 6891, Section 9).
func blinded(msg []byte, r *reading) []byte {
	msg = bytes.Clone(msg)
	for _, off := range r.types {
		binary.BigEndian.PutUint16(msg[off:], 65280)
	}
	for _, off := range r.options {
		binary.BigEndian.PutUint16(msg[off:], 65001)
	}
	return msg
}

// testResponse checks the longest error that can be sent to q.
func testResponse(t *testing.T, v Verdict, q *Query) {
	t.Helper()
	if v == Drop {
		return
	}
	o := Options{EDE: EDEProhibited, Keepalive: 100}
	resp := AppendError(nil, q, v.RCode(), FlagRA, o)
	if len(resp) > MaxErrorLen {
		t.Errorf("the error has %d octets, MaxErrorLen is %d", len(resp), MaxErrorLen)
	}
	var again Query
	if got := again.Parse(resp); got != Drop {
		t.Errorf("our own response is %s, want DROP", verdictNames[got])
	}
	var m dns.Msg
	if err := m.Unpack(resp); err != nil {
		t.Fatalf("miekg/dns does not unpack the error %x: %v", resp, err)
	}
	if m.Id != q.ID || !m.Response || m.Opcode != int(q.Opcode()) || m.RecursionDesired != q.RD() || m.Truncated {
		t.Errorf("query %#x with flags %#x gets the header %+v", q.ID, q.Flags, m.MsgHdr)
	}
	if m.Rcode != int(v.RCode()) {
		t.Errorf("RCODE is %d, want %s", m.Rcode, v.RCode())
	}
	if o := m.IsEdns0(); (o != nil) != q.OPT || o != nil && (o.Version() != 0 || o.Do() != q.DO) {
		t.Errorf("query with OPT %t, DO %t gets %v", q.OPT, q.DO, o)
	}
	if end := HeaderLen + len(q.Question()); !bytes.Equal(resp[HeaderLen:end], q.Question()) {
		t.Errorf("the question comes back as %x, want %x", resp[HeaderLen:end], q.Question())
	}
	if len(m.Question) > 1 || len(m.Answer) > 0 || len(m.Ns) > 0 || len(m.Extra) > 1 {
		t.Errorf("the error has more than a question and an OPT: %v", &m)
	}
}

// testCopy checks that a copy of a query gets the response that the query gets.
func testCopy(t *testing.T, v Verdict, q *Query) {
	t.Helper()
	if v != Answer {
		return
	}
	msg := AppendQuery(nil, q)
	if len(msg) > MaxCopyLen {
		t.Errorf("the copy has %d octets, MaxCopyLen is %d", len(msg), MaxCopyLen)
	}
	var again Query
	if got := again.Parse(msg); got != Answer {
		t.Fatalf("the copy is %s, want ANSWER: %x", verdictNames[got], msg)
	}
	if again.Type != q.Type || again.UDPSize != q.UDPSize || !bytes.Equal(again.Name(), q.Name()) {
		t.Errorf("the copy asks %q %d for %d octets; the query %q %d for %d",
			again.Name(), again.Type, again.UDPSize, q.Name(), q.Type, q.UDPSize)
	}
	o := Options{EDE: EDEProhibited, Keepalive: 100}
	if got, want := AppendError(nil, &again, ServFail, FlagRA, o), AppendError(nil, q, ServFail, FlagRA, o); !bytes.Equal(got, want) {
		t.Errorf("the copy gets\n%x, the query\n%x", got, want)
	}
}

// testReadsOnlyMsg parses msg once with no memory behind it, and twice between other
// octets. Parse must not panic, must change no octet, and must return the same.
func testReadsOnlyMsg(t *testing.T, msg []byte, want state) {
	t.Helper()
	for _, canary := range []byte{0x00, 0xC0, 0xFF} {
		const room = 300 // more than a name, more than an OPT
		amid := bytes.Repeat([]byte{canary}, room+len(msg)+room)
		copy(amid[room:], msg)
		before := bytes.Clone(amid)
		var q Query
		if got := stateOf(t, q.Parse(amid[room:room+len(msg)]), &q); got != want {
			t.Errorf("between octets %#x\n got %+v\nwant %+v", canary, got, want)
		}
		if !bytes.Equal(amid, before) {
			t.Errorf("between octets %#x, Parse changed some", canary)
		}
	}
	var q Query
	if got := stateOf(t, q.Parse(slices.Clip(msg)), &q); got != want {
		t.Errorf("with no memory behind\n got %+v\nwant %+v", got, want)
	}
}

// lowered returns b with the letters A to Z in lower case.
func lowered(b []byte) []byte {
	low := make([]byte, len(b))
	Lower(low, b)
	return low
}
