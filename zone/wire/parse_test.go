package wire

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// The table of doc.go, from the top: each message has the fault that decides and, where
// possible, faults that are further down in the table.
func TestParseDecidesInOrder(t *testing.T) {
	testForms(t, []form{
		{"nothing is dropped", "", Drop},
		{"less than a header is dropped", "1234 0100 0001 0000 0000 00", Drop},
		{"a response is dropped", "1234 8100 0001 0000 0000 0000" + web + aaaa, Drop},
		{"a response of another opcode is dropped", "1234 a800 0000 0000 0000 0000", Drop},
		{"a malformed response is dropped", "1234 8100 0001 0000 0000 0000 c0", Drop},

		{"IQUERY is not implemented", "1234 0800 0001 0000 0000 0000" + web + aaaa, NotImp},
		{"STATUS is not implemented", "1234 1000 0001 0000 0000 0000" + web + aaaa, NotImp},
		{"opcode 3 is not implemented", "1234 1800 0001 0000 0000 0000" + web + aaaa, NotImp},
		{"NOTIFY is not implemented", "1234 2000 0001 0001 0000 0000" + web + "0006 0001" + "c00c" + a, NotImp},
		{"UPDATE is not implemented", "1234 2800 0001 0000 0001 0000" + web + "0006 0001" + "c00c" + a, NotImp},
		{"DSO is not implemented", "1234 3000 0000 0000 0000 0000 0001 0004 00000000", NotImp},
		{"opcode 15 is not implemented", "1234 7800 0001 0000 0000 0000" + web + aaaa, NotImp},
		{"another opcode needs no question", "1234 2800 0000 0000 0000 0000", NotImp},
		{"another opcode may lie about its counts", "1234 2800 ffff ffff ffff ffff", NotImp},
		{"another opcode may be malformed", "1234 2800 0001 0000 0000 0000 c00c", NotImp},
		{"another opcode may have any EDNS version", "1234 2800 0001 0000 0000 0001" + web + aaaa + "00 0029 04d0 00 07 0000 0000", NotImp},
		{"another opcode may be signed", "1234 2800 0001 0000 0000 0001" + web + aaaa + tsig, NotImp},
		{"another opcode may have any class", "1234 2800 0001 0000 0000 0000" + web + "001c 0003", NotImp},

		{"a bare header of a query is malformed", "1234 0100 0001 0000 0000 0000", FormErr},
		{"no question is malformed", "1234 0100 0000 0000 0000 0000", FormErr},
		{"no question is malformed, though octets of one follow", "1234 0100 0000 0000 0000 0000" + web + aaaa, FormErr},
		{"two questions are malformed", "1234 0100 0002 0000 0000 0000" + web + aaaa + web + "0001 0001", FormErr},
		{"a second question announced is malformed", "1234 0100 0002 0000 0000 0000" + web + aaaa, FormErr},
		{"256 questions are malformed", "1234 0100 0100 0000 0000 0000" + web + aaaa, FormErr},
		{"a record in answer is malformed", "1234 0100 0001 0001 0000 0000" + web + aaaa + "c00c" + a, FormErr},
		{"a record in authority is malformed", "1234 0100 0001 0000 0001 0000" + web + aaaa + "c00c" + a, FormErr},
		{"an answer announced is malformed", "1234 0100 0001 0001 0000 0000" + web + aaaa, FormErr},
		{"an additional record announced is malformed", headX + web + aaaa, FormErr},
		{"65,535 additional records announced are malformed", "1234 0100 0001 0000 0000 ffff" + web + aaaa + opt, FormErr},
		{"an octet after the question is malformed", head + web + aaaa + "00", FormErr},
		{"an octet after the last record is malformed", headX + web + aaaa + opt + "00", FormErr},
		{"a record that is not counted is malformed", head + web + aaaa + opt, FormErr},
		{"malformed comes before EDNS version", headX + web + aaaa + "00 0029 04d0 00 01 0000 0000" + "00", FormErr},
		{"a broken cookie comes before EDNS version", headX + web + aaaa + "00 0029 04d0 00 01 0000 0005 000a 0001 00", FormErr},
		{"malformed comes before a signature", headX + web + aaaa + tsig + "00", FormErr},
		{"malformed comes before class", head + web + "001c 0003" + "00", FormErr},

		{"EDNS version 1 is not spoken", headX + web + aaaa + "00 0029 04d0 00 01 0000 0000", BadVers},
		{"EDNS version 255 is not spoken", headX + web + aaaa + "00 0029 04d0 00 ff 0000 0000", BadVers},
		{"EDNS version comes before a signature", "1234 0100 0001 0000 0000 0002" + web + aaaa + "00 0029 04d0 00 01 0000 0000" + tsig, BadVers},
		{"EDNS version comes before class", headX + web + "001c 0003" + "00 0029 04d0 00 01 0000 0000", BadVers},
		{"EDNS version comes before QTYPE", headX + web + "00fb 0001" + "00 0029 04d0 00 01 0000 0000", BadVers},

		{"a TSIG is not authorized", headX + web + aaaa + tsig, NotAuth},
		{"a SIG(0) is not authorized", headX + web + aaaa + sig0, NotAuth},
		{"a signature comes before class", headX + web + "001c 0003" + tsig, NotAuth},
		{"a signature comes before a zone transfer", headX + web + "00fc 0001" + tsig, NotAuth},
		{"a signature comes before a type that cannot be asked for", headX + web + "00fa 0001" + tsig, NotAuth},

		{"class 0 is refused", head + web + "001c 0000", Refused},
		{"class CH is refused", head + web + "0010 0003", Refused},
		{"class HS is refused", head + web + "001c 0004", Refused},
		{"class NONE is refused", head + web + "001c 00fe", Refused},
		{"class ANY is refused", head + web + "001c 00ff", Refused},
		{"class 256 is refused, though its last octet is not 0", head + web + "001c 0101", Refused},
		{"AXFR is refused", head + web + "00fc 0001", Refused},
		{"IXFR is refused", head + web + "00fb 0001", Refused},
		{"class comes before a type that cannot be asked for", head + web + "0029 0003", Refused},

		{"QTYPE OPT is malformed", head + web + "0029 0001", FormErr},
		{"QTYPE TKEY is malformed", head + web + "00f9 0001", FormErr},
		{"QTYPE TSIG is malformed", head + web + "00fa 0001", FormErr},
		{"QTYPE MAILB is malformed", head + web + "00fd 0001", FormErr},
		{"QTYPE MAILA is malformed", head + web + "00fe 0001", FormErr},

		{"AAAA is answered", head + web + aaaa, Answer},
		{"A is answered", head + web + "0001 0001", Answer},
		{"ANY is answered", head + web + "00ff 0001", Answer},
		{"SIG is a type like others to ask for", head + web + "0018 0001", Answer},
		{"an unknown type is answered", head + web + "ff00 0001", Answer},
		{"type 0 is answered", head + web + "0000 0001", Answer},
		{"with an OPT it is answered", headX + web + aaaa + opt, Answer},
		{"flags of responses in a query do not matter", "1234 077f 0001 0000 0000 0000" + web + aaaa, Answer},
	})
}

func TestParseFollowsPointersOnlyBackwardsInAdditional(t *testing.T) {
	// The first additional record starts at octet 30, its RDATA at 42 if the
	// owner is a pointer.
	two := "1234 0100 0001 0000 0000 0002" + web + aaaa
	testForms(t, []form{
		{"an owner may be written out", headX + web + aaaa + web + a, Answer},
		{"an owner may point at QNAME", headX + web + aaaa + "c00c" + a, Answer},
		{"an owner may point into QNAME", headX + web + aaaa + "c010" + a, Answer},
		{"an owner may have labels before its pointer", headX + web + aaaa + "02'ns' c010" + a, Answer},
		{"an owner may point at the root label", headX + web + aaaa + "c019" + a, Answer},
		{"an owner may point at a pointer", two + "c00c" + a + "c01e" + a, Answer},
		{"an owner may point into RDATA", two + "c00c" + "0002 0001 00000000 0002 c010" + "c02a" + a, Answer},
		{"an owner must not point forwards", two + "c02e" + a + "c00c" + a, FormErr},
		{"an owner must not point behind the message", headX + web + aaaa + "ffff" + a, FormErr},
		{"an owner must not point at itself", headX + web + aaaa + "c01e" + a, FormErr},
		{"an owner must not point at its own second octet", headX + web + aaaa + "c01f" + a, FormErr},
		{"an owner must not point at a label of its own", headX + web + aaaa + "02'ns' c01e" + a, FormErr},
		{"an owner must not point at the header", headX + web + aaaa + "c000" + a, FormErr},
		{"an owner must not point at the header's last octet", headX + web + aaaa + "c00b" + a, FormErr},
		{"two owners must not point at each other", two + "c02e" + a + "c01e" + a, FormErr},
		{"a pointer behind a pointer must point further back",
			// Octet 47, the second owner, points at 45, RDATA that points at 30,
			// the first owner, which ends with a pointer at 12.
			two + "02'ns' c00c" + "0001 0001 00000000 0002 c01e" + "c02d" + a, Answer},
		{"a pointer behind a pointer must not point forwards again",
			// Octet 44, the second owner, points at 42, RDATA that points at 44.
			two + "c00c" + "0001 0001 00000000 0002 c02c" + "c02a" + a, FormErr},
		{"a pointer behind a pointer must not point forwards at all",
			// Octet 45, the second owner, points at 42, RDATA that points at 44,
			// where a root label is.
			two + "c00c" + "0001 0001 00000000 0003 c02c 00" + "c02a" + a, FormErr},
		{"a pointer needs its second octet", headX + web + aaaa + "c0", FormErr},
		{"a label of kind 01 is malformed", headX + web + aaaa + "41 00" + a, FormErr},
		{"a label of kind 10 is malformed", headX + web + aaaa + "80 0c" + a, FormErr},
		{"an owner needs an end", headX + web + aaaa + "03'web'", FormErr},
		{"an owner that is cut off is malformed", headX + web + aaaa + "03'we'", FormErr},
		{"a record of only an owner is malformed", headX + web + aaaa + "00", FormErr},
		{"a record without RDLENGTH is malformed", headX + web + aaaa + "00 0001 0001 00000000 00", FormErr},
		{"RDATA that is cut off is malformed", headX + web + aaaa + "00 0001 0001 00000000 0004 7f0000", FormErr},
		{"RDATA may be empty", headX + web + aaaa + "00 0001 0001 00000000 0000", Answer},
		{"RDATA is not looked into", headX + web + aaaa + "00 0001 0001 00000000 0001 ff", Answer},
		{"an owner may have 255 octets", headX + web + aaaa + label(63) + label(63) + label(63) + label(61) + "00" + a, Answer},
		{"an owner must not have 256 octets", headX + web + aaaa + label(63) + label(63) + label(63) + label(62) + "00" + a, FormErr},
		{"an owner may have 255 octets with those pointed at",
			headX + web + aaaa + label(63) + label(63) + label(63) + label(48) + "c00c" + a, Answer},
		{"an owner must not have 256 octets with those pointed at",
			headX + web + aaaa + label(63) + label(63) + label(63) + label(49) + "c00c" + a, FormErr},
		{"an owner may follow 127 pointers", pointerChain(127), Answer},
		{"an owner must not follow 128 pointers", pointerChain(128), FormErr},
	})
}

// pointerChain returns a query whose last owner takes n compression pointers
// to read. The first points at QNAME and each other at the one before; all but
// the last are RDATA of the record before, which ends where the last begins.
func pointerChain(n int) string {
	const rdata = 12 + 14 + 4 + 1 + 10 // its offset: behind header, question, root, fixed part
	var chain strings.Builder
	target := HeaderLen
	for i := range n {
		chain.WriteString(hex.EncodeToString([]byte{0xC0 | byte(target>>8), byte(target)}))
		target = rdata + 2*i
	}
	length := hex.EncodeToString([]byte{byte(2 * (n - 1) >> 8), byte(2 * (n - 1))})
	return "1234 0100 0001 0000 0000 0002" + web + aaaa +
		"00 ff00 0001 00000000" + length + chain.String() + a
}

func TestParseJudgesSignatures(t *testing.T) {
	two := "1234 0100 0001 0000 0000 0002" + web + aaaa
	testForms(t, []form{
		{"a TSIG may follow an OPT", two + opt + tsig, NotAuth},
		{"a SIG(0) may follow an OPT", two + opt + sig0, NotAuth},
		{"a TSIG before an OPT is malformed", two + tsig + opt, FormErr},
		{"a SIG(0) before an OPT is malformed", two + sig0 + opt, FormErr},
		{"two TSIG are malformed", two + tsig + tsig, FormErr},
		{"a TSIG in answer is malformed", "1234 0100 0001 0001 0000 0000" + web + aaaa + tsig, FormErr},
		{"a SIG that covers a type is not SIG(0)", headX + web + aaaa + "00 0018 0001 00000000 0002 001c", Answer},
		{"a SIG that covers type 256 is not SIG(0)", headX + web + aaaa + "00 0018 0001 00000000 0002 0100", Answer},
		{"a SIG too short to cover a type is not SIG(0)", headX + web + aaaa + "00 0018 0001 00000000 0001 00", Answer},
		{"a SIG that is not SIG(0) does not hide a TSIG", two + "00 0018 0001 00000000 0002 001c" + tsig, NotAuth},
	})
}

func TestParseReadsQNAME(t *testing.T) {
	longest := label(63) + label(63) + label(63) + label(61) + "00"
	for _, tt := range []struct {
		does   string
		qname  string
		name   string // as Name gives it
		labels int
	}{
		{"letters fold to lower case", web, "03'web' 08'internal' 00", 2},
		{"letters next to A and Z in ASCII do not fold", "0c'@AZ[\\]^_`az{' 00", "0c'@az[\\]^_`az{' 00", 1},
		{"octets above 127 do not fold", "04 c1dae1fa 00", "04 c1dae1fa 00", 1},
		{"octets of control do not fold", "04 00 01 21 3a 00", "04 00 01 21 3a 00", 1},
		{"a length octet is not a letter", label(63) + "00", strings.ToLower(label(63)) + "00", 1},
		{"a dot inside a label is no separator", "07'web.app' 08'internal' 00", "07'web.app' 08'internal' 00", 2},
		{"a backslash is an octet like others", "02'\\.' 00", "02'\\.' 00", 1},
		{"the root has no label", "00", "00", 0},
		{"a name may have 127 labels", strings.Repeat("01'A' ", 127) + "00", strings.Repeat("01'a' ", 127) + "00", 127},
		{"a name may have 255 octets", longest, strings.ToLower(longest), 4},
	} {
		t.Run(tt.does, func(t *testing.T) {
			msg := octets(t, head+tt.qname+aaaa)
			var q Query
			if v := q.Parse(msg); v != Answer {
				t.Fatalf("Parse = %s, want ANSWER", verdictNames[v])
			}
			if want := octets(t, tt.name); !bytes.Equal(q.Name(), want) {
				t.Errorf("Name() = %q, want %q", q.Name(), want)
			}
			if q.Labels() != tt.labels {
				t.Errorf("Labels() = %d, want %d", q.Labels(), tt.labels)
			}
			if q.Type != TypeAAAA || q.Class != ClassIN {
				t.Errorf("QTYPE %d, QCLASS %d, want 28, 1", q.Type, q.Class)
			}
			if !bytes.Equal(q.Question(), msg[HeaderLen:]) {
				t.Errorf("Question() = %q, want %q, as the client wrote it", q.Question(), msg[HeaderLen:])
			}
		})
	}
}

func TestParseRefusesQNAME(t *testing.T) {
	for _, tt := range []struct{ does, question string }{
		{"a pointer to the header", "c000" + aaaa},
		{"a pointer to itself", "c00c" + aaaa},
		{"a pointer to its second octet", "c00d" + aaaa},
		{"a pointer forwards", "c012" + aaaa + web},
		{"a pointer behind the message", "ffff" + aaaa},
		{"a pointer after a label", "03'web' c00c" + aaaa},
		{"a pointer after a label, into the header", "03'web' c004" + aaaa},
		{"a label of 64 octets", "40" + strings.Repeat("61", 64) + "00" + aaaa},
		{"an extended label type", "41 00" + aaaa},
		{"a label of kind 10", "80 00" + aaaa},
		{"256 octets", label(63) + label(63) + label(63) + label(62) + "00" + aaaa},
		{"257 octets", label(63) + label(63) + label(63) + label(63) + "00" + aaaa},
		{"128 labels", strings.Repeat("01'a' ", 128) + "00" + aaaa},
		{"labels without end", strings.Repeat("01'a' ", 300)},
		{"no octet", ""},
		{"no root label", "03'web' 08'internal'"},
		{"a label cut off", "03'we'"},
		{"a label without octets", "03"},
		{"no QTYPE", web},
		{"half a QTYPE", web + "00"},
		{"no QCLASS", web + "001c"},
		{"half a QCLASS", web + "001c 00"},
	} {
		t.Run(tt.does, func(t *testing.T) {
			var q Query
			if v := q.Parse(octets(t, head+tt.question)); v != FormErr {
				t.Errorf("Parse = %s, want FORMERR", verdictNames[v])
			}
			if q.Question() != nil || len(q.Name()) != 0 || q.Labels() != 0 || q.Type != 0 || q.Class != 0 {
				t.Errorf("of a question that cannot be read, %q, %q, %d labels, QTYPE %d and QCLASS %d were kept",
					q.Question(), q.Name(), q.Labels(), q.Type, q.Class)
			}
		})
	}
}

func TestQuerySplitsQNAME(t *testing.T) {
	var q Query
	if v := q.Parse(octets(t, head+"01'A' 01'b' "+web+aaaa)); v != Answer {
		t.Fatalf("Parse = %s, want ANSWER", verdictNames[v])
	}
	for i, want := range []string{"internal", "web", "b", "a"} {
		if got := string(q.Label(i)); got != want {
			t.Errorf("Label(%d) = %q, want %q", i, got, want)
		}
	}
	for n, want := range []string{"\x01a\x01b\x03web\x08internal", "\x01a\x01b\x03web", "\x01a\x01b", "\x01a", ""} {
		if got := string(q.Above(n)); got != want {
			t.Errorf("Above(%d) = %q, want %q", n, got, want)
		}
		if got, want := q.Offset(n), HeaderLen+len(want); got != want {
			t.Errorf("Offset(%d) = %d, want %d", n, got, want)
		}
	}
	for _, tt := range []struct {
		does string
		call func()
	}{
		{"Label(4) of four labels", func() { q.Label(4) }},
		{"Above(5) of four labels", func() { q.Above(5) }},
		{"Offset(5) of four labels", func() { q.Offset(5) }},
	} {
		if !panics(tt.call) {
			t.Errorf("%s did not panic", tt.does)
		}
	}
}

// panics reports whether f panics.
func panics(f func()) (yes bool) {
	defer func() { yes = recover() != nil }()
	f()
	return false
}

func TestParseReadsHeader(t *testing.T) {
	var q Query
	q.Parse(octets(t, "beef 2910 0001 0000 0000 0000"+web+aaaa))
	if q.ID != 0xbeef || q.Flags != 0x2910 || q.Opcode() != 5 || !q.RD() {
		t.Errorf("ID %#x, flags %#x, opcode %d, RD %t; want 0xbeef, 0x2910, 5, true", q.ID, q.Flags, q.Opcode(), q.RD())
	}
	q.Parse(octets(t, "beef 0000 0001 0000 0000 0000"+web+aaaa))
	if q.RD() {
		t.Error("RD is set, though the client did not")
	}
}

// A worker parses every message into the same Query. The fuzz test checks the same for any
// two messages.
func TestParseForgetsTheQueryBefore(t *testing.T) {
	full := octets(t, "1234 0110 0001 0000 0000 0001"+web+aaaa+"00 0029 1000 00 01 8000 0004 000b 0000")
	for _, tt := range []struct{ does, msg string }{
		{"a message too short", "1234"},
		{"a response", "4321 8000 0001 0000 0000 0000" + web + aaaa},
		{"a bare header", "4321 2800 0000 0000 0000 0000"},
		{"a malformed question", head + "c00c"},
		{"a query without OPT", head + "00" + "0002 0001"},
	} {
		t.Run(tt.does, func(t *testing.T) {
			msg := octets(t, tt.msg)
			var fresh, used Query
			used.Parse(full)
			v := fresh.Parse(msg)
			want, got := stateOf(t, v, &fresh), stateOf(t, used.Parse(msg), &used)
			if got != want {
				t.Errorf("after another query\n got %+v\nwant %+v", got, want)
			}
		})
	}
}
