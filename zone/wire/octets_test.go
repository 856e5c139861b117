package wire

import (
	"encoding/hex"
	"strings"
	"testing"
)

// Parts of messages, in the notation of octets. Sections go together by being
// added: head+web+aaaa is a whole query.
const (
	// ID 0x1234, RD; one question, and zero or one additional record.
	head  = "1234 0100 0001 0000 0000 0000 "
	headX = "1234 0100 0001 0000 0000 0001 "

	web  = "03'WeB' 08'iNtErNaL' 00 "
	aaaa = "001c 0001 " // QTYPE, QCLASS

	// An OPT record without options; 1232 octets, version 0, no flags.
	opt = "00 0029 04d0 00 00 0000 0000 "

	// An OPT record up to and without its RDLENGTH, for options to follow.
	optWith = "00 0029 04d0 00 00 0000 "

	// An A record without owner, and a TSIG that says too little to be checked.
	a    = "0001 0001 00000000 0004 7f000001 "
	tsig = "03'key' 00 00fa 00ff 00000000 0000 "

	// A SIG(0): root owner, class ANY, type covered 0, signer the root.
	sig0 = "00 0018 00ff 00000000 0013 0000 05 00 00000000 00000000 00000000 0001 00 "
)

// octets returns the message that s writes down: pairs of hexadecimal digits,
// and text between apostrophes that stands for itself. Spaces are for the
// reader.
func octets(t testing.TB, s string) []byte {
	t.Helper()
	var msg []byte
	for i, part := range strings.Split(s, "'") {
		if i%2 == 1 {
			msg = append(msg, part...)
			continue
		}
		b, err := hex.DecodeString(strings.ReplaceAll(part, " ", ""))
		if err != nil {
			t.Fatalf("%q: %v", part, err)
		}
		msg = append(msg, b...)
	}
	return msg
}

// label writes down a label of n octets.
func label(n int) string {
	return hex.EncodeToString([]byte{byte(n)}) + "'" + strings.Repeat("L", n) + "' "
}

// option writes down an EDNS option with n octets of data.
func option(code, n byte) string {
	return "00" + hex.EncodeToString([]byte{code, 0, n}) + strings.Repeat("5a", int(n)) + " "
}

// withOptions writes down a query with an OPT record that has these options.
func withOptions(t testing.TB, options ...string) string {
	t.Helper()
	rdata := strings.Join(options, "")
	n := len(octets(t, rdata))
	return headX + web + aaaa + optWith + hex.EncodeToString([]byte{byte(n >> 8), byte(n)}) + rdata
}

// verdictNames are what tests and testdata call the verdicts.
var verdictNames = map[Verdict]string{
	Answer:  "ANSWER",
	Drop:    "DROP",
	NotImp:  "NOTIMP",
	FormErr: "FORMERR",
	BadVers: "BADVERS",
	NotAuth: "NOTAUTH",
	Refused: "REFUSED",
}

// A form is a message, what it shows, and what its form decides.
type form struct {
	does string
	msg  string // in the notation of octets
	want Verdict
}

// testForms parses each message and compares the verdict.
func testForms(t *testing.T, forms []form) {
	t.Helper()
	for _, tt := range forms {
		t.Run(tt.does, func(t *testing.T) {
			var q Query
			if got := q.Parse(octets(t, tt.msg)); got != tt.want {
				t.Errorf("Parse(%s) = %s, want %s", tt.msg, verdictNames[got], verdictNames[tt.want])
			}
		})
	}
}
