package wire

import (
	"bytes"
	"testing"
)

// The response to a query has what could be read of the query.
func TestAppendErrorKeepsWhatWasUnderstood(t *testing.T) {
	for _, tt := range []struct {
		does  string
		query string
		want  string
	}{
		{"the question goes back octet for octet",
			head + web + "001c 0003",
			"1234 8105 0001 0000 0000 0000" + web + "001c 0003"},
		{"the root goes back",
			head + "00 00fc 0001",
			"1234 8105 0001 0000 0000 0000 00 00fc 0001"},
		{"octets behind the question do not",
			head + web + aaaa + "dead",
			"1234 8101 0001 0000 0000 0000" + web + aaaa},
		{"a question that cannot be read does not, and is not counted",
			head + "03'WeB' c00c" + aaaa,
			"1234 8101 0000 0000 0000 0000"},
		{"a question that is cut off does not",
			head + web + "001c",
			"1234 8101 0000 0000 0000 0000"},
		{"no question gives none",
			"1234 0100 0000 0000 0000 0000",
			"1234 8101 0000 0000 0000 0000"},
		{"of two questions none goes back",
			"1234 0100 0002 0000 0000 0000" + web + aaaa + web + aaaa,
			"1234 8101 0000 0000 0000 0000"},
		{"records of answer and authority do not",
			"1234 0100 0001 0001 0001 0000" + web + aaaa + "c00c" + a + "c00c" + a,
			"1234 8101 0001 0000 0000 0000" + web + aaaa},
		{"a signature does not",
			headX + web + aaaa + tsig,
			"1234 8109 0001 0000 0000 0000" + web + aaaa},

		{"RD and CD of a QUERY go back",
			"1234 0110 0001 0000 0000 0000" + web + "001c 0003",
			"1234 8115 0001 0000 0000 0000" + web + "001c 0003"},
		{"without RD there is none",
			"1234 0010 0001 0000 0000 0000" + web + "001c 0003",
			"1234 8015 0001 0000 0000 0000" + web + "001c 0003"},
		{"AA, TC, RA, Z, AD and RCODE do not",
			"1234 06ef 0001 0000 0000 0000" + web + "001c 0003",
			"1234 8005 0001 0000 0000 0000" + web + "001c 0003"},
		{"the opcode goes back, with RD and without CD",
			"1234 2110 0001 0000 0000 0000" + web + "0006 0001",
			"1234 a104 0001 0000 0000 0000" + web + "0006 0001"},
		{"opcode 15 goes back",
			"1234 7800 0001 0000 0000 0000" + web + "0006 0001",
			"1234 f804 0001 0000 0000 0000" + web + "0006 0001"},
		{"another opcode needs nothing but a header",
			"1234 2800 0001 0002 0003 0004",
			"1234 a804 0000 0000 0000 0000"},
		{"another opcode gets its OPT behind its records",
			"1234 2800 0001 0000 0001 0001" + web + "0006 0001" + "c00c" + a + opt,
			"1234 a804 0001 0000 0000 0001" + web + "0006 0001" + opt},

		{"an OPT gets one",
			headX + web + "001c 0003" + opt,
			"1234 8105 0001 0000 0000 0001" + web + "001c 0003" + opt},
		{"an OPT gets ours: our size, and of its flags DO",
			headX + web + "001c 0003" + "00 0029 1000 00 00 ffff 0000",
			"1234 8105 0001 0000 0000 0001" + web + "001c 0003" + "00 0029 04d0 00 00 8000 0000"},
		{"options do not go back",
			"1234 0100 0001 0000 0000 0001" + web + "001c 0003" + optWith + "0010" + option(optionCookie, 8) + "004d 0000",
			"1234 8105 0001 0000 0000 0001" + web + "001c 0003" + opt},
		{"BADVERS is split between OPT and header, and says version 0",
			headX + web + aaaa + "00 0029 04d0 00 01 0000 0000",
			"1234 8100 0001 0000 0000 0001" + web + aaaa + "00 0029 04d0 01 00 0000 0000"},
		{"two OPT records get one",
			"1234 0100 0001 0000 0000 0002" + web + aaaa + opt + opt,
			"1234 8101 0001 0000 0000 0001" + web + aaaa + opt},
		{"an OPT with a broken option gets one",
			headX + web + aaaa + optWith + "0004 004d 0001",
			"1234 8101 0001 0000 0000 0001" + web + aaaa + opt},
		{"an OPT of another owner gets one",
			headX + web + aaaa + web + "0029 04d0 00000000 0000",
			"1234 8101 0001 0000 0000 0001" + web + aaaa + opt},
		{"an OPT without question gets one",
			"1234 0100 0000 0000 0000 0001" + opt,
			"1234 8101 0000 0000 0000 0001" + opt},
		{"an OPT behind a record that cannot be read gets none",
			"1234 0100 0001 0000 0000 0002" + web + aaaa + "c01e" + a + opt,
			"1234 8101 0001 0000 0000 0000" + web + aaaa},
	} {
		t.Run(tt.does, func(t *testing.T) {
			var q Query
			v := q.Parse(octets(t, tt.query))
			got := AppendError(nil, &q, v.RCode(), 0, Options{})
			if want := octets(t, tt.want); !bytes.Equal(got, want) {
				t.Errorf("response to %s\n got %x\nwant %x", verdictNames[v], got, want)
			}
		})
	}
}

func TestAppendOPTWritesOptions(t *testing.T) {
	plain, do := headX+web+aaaa+opt, headX+web+aaaa+"00 0029 04d0 00 00 8000 0000"
	asked := withOptions(t, option(optionKeepalive, 0))
	for _, tt := range []struct {
		does  string
		query string
		o     Options
		want  string // behind header and question
	}{
		{"without OPT in the query there is none", head + web + aaaa, Options{EDE: EDENotReady, Keepalive: 100}, ""},
		{"without options it is bare", plain, Options{}, opt},
		{"DO goes back", do, Options{}, "00 0029 04d0 00 00 8000 0000"},
		{"an extended error is written", plain, Options{EDE: EDENotReady}, optWith + "0006 000f 0002 000e"},
		{"a keepalive is written if asked for", asked, Options{Keepalive: 300}, optWith + "0006 000b 0002 012c"},
		{"a keepalive is not written unasked", plain, Options{Keepalive: 300}, opt},
		{"a keepalive is not written to one who sent a timeout", withOptions(t, option(optionKeepalive, 2)), Options{Keepalive: 300}, opt},
		{"a keepalive asked for is not written without a value", asked, Options{}, opt},
		{"both are written", asked, Options{EDE: EDEProhibited, Keepalive: 1}, optWith + "000c 000f 0002 0012 000b 0002 0001"},
	} {
		t.Run(tt.does, func(t *testing.T) {
			var q Query
			if v := q.Parse(octets(t, tt.query)); v != Answer {
				t.Fatalf("Parse = %s, want ANSWER", verdictNames[v])
			}
			msg := AppendHead(nil, &q, NoError, 0)
			n := len(msg)
			msg = AppendOPT(msg, &q, NoError, tt.o)
			want := octets(t, tt.want)
			if !bytes.Equal(msg[n:], want) {
				t.Errorf("AppendOPT appends\n     %x\nwant %x", msg[n:], want)
			}
			if got := OPTLen(&q, tt.o); got != len(want) {
				t.Errorf("OPTLen = %d, but %d octets are appended", got, len(want))
			}
			if got := int(msg[10])<<8 | int(msg[11]); got != min(len(want), 1) {
				t.Errorf("ARCOUNT is %d, want %d", got, min(len(want), 1))
			}
		})
	}
}

func TestAppendHead(t *testing.T) {
	var q Query
	q.Parse(octets(t, "1234 0110 0001 0000 0000 0000"+web+aaaa))
	room := make([]byte, 0, 64)
	msg := AppendHead(room, &q, NXDomain, FlagAA|FlagRA)
	if want := octets(t, "1234 8593 0001 0000 0000 0000"+web+aaaa); !bytes.Equal(msg, want) {
		t.Errorf("with AA, RA and NXDOMAIN\n got %x\nwant %x", msg, want)
	}
	if &msg[0] != &room[:1][0] {
		t.Error("AppendHead left the room that dst had")
	}

	SetCounts(msg, 0x0102, 0x0304)
	SetTC(msg)
	if want := octets(t, "1234 8793 0001 0102 0304 0000"+web+aaaa); !bytes.Equal(msg, want) {
		t.Errorf("with counts and TC\n got %x\nwant %x", msg, want)
	}
}

func TestMaxErrorLenIsReached(t *testing.T) {
	var q Query
	q.Parse(octets(t, headX+label(63)+label(63)+label(63)+label(61)+"00"+aaaa+optWith+"0004"+option(optionKeepalive, 0)))
	got := AppendError(nil, &q, ServFail, 0, Options{EDE: EDENotReady, Keepalive: 100})
	if len(got) != MaxErrorLen {
		t.Errorf("the longest response without records has %d octets, MaxErrorLen is %d", len(got), MaxErrorLen)
	}
}

func TestVerdictRCode(t *testing.T) {
	for v, want := range map[Verdict]string{
		Answer: "NOERROR", Drop: "NOERROR", NotImp: "NOTIMP", FormErr: "FORMERR",
		BadVers: "BADVERS", NotAuth: "NOTAUTH", Refused: "REFUSED",
	} {
		if got := v.RCode().String(); got != want {
			t.Errorf("%s asks for %s, want %s", verdictNames[v], got, want)
		}
	}
	for r, want := range map[RCode]string{ServFail: "SERVFAIL", NXDomain: "NXDOMAIN", 23: "RCODE?"} {
		if got := r.String(); got != want {
			t.Errorf("RCode(%d).String() = %q, want %q", r, got, want)
		}
	}
}
