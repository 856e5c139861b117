package wire

import (
	"strings"
	"testing"
)

func TestParseJudgesEDNS(t *testing.T) {
	two := "1234 0100 0001 0000 0000 0002" + web + aaaa
	testForms(t, []form{
		{"two OPT records are malformed", two + opt + opt, FormErr},
		{"an OPT between other records is found", "1234 0100 0001 0000 0000 0003" + web + aaaa + "c00c" + a + opt + "c00c" + a, Answer},
		{"an OPT needs the root as owner", headX + web + aaaa + web + "0029 04d0 00000000 0000", FormErr},
		{"a pointer to the root is not the root", headX + web + aaaa + "c019" + "0029 04d0 00000000 0000", FormErr},
		{"an OPT in answer is malformed", "1234 0100 0001 0001 0000 0000" + web + aaaa + opt, FormErr},
		{"an OPT in authority is malformed", "1234 0100 0001 0000 0001 0000" + web + aaaa + opt, FormErr},
		{"an OPT cut off is malformed", headX + web + aaaa + "00 0029 04d0 00 00 0000 00", FormErr},
		{"an OPT cut off in its options is malformed", headX + web + aaaa + optWith + "0004 000b 00", FormErr},

		{"an unknown option is skipped", withOptions(t, option(77, 3)), Answer},
		{"options may be empty", withOptions(t, option(77, 0), option(3, 0)), Answer},
		{"an option that overruns by one octet is malformed", headX + web + aaaa + optWith + "0006 004d 0003 0102", FormErr},
		{"an option that overruns into the octets behind is malformed", headX + web + aaaa + optWith + "0004 004d 0002 0102", FormErr},
		{"an option that overruns by all it can is malformed", headX + web + aaaa + optWith + "0004 004d ffff", FormErr},
		{"half an option header is malformed", headX + web + aaaa + optWith + "0003 004d 00", FormErr},
		{"one octet of options is malformed", headX + web + aaaa + optWith + "0001 00", FormErr},
		{"a broken second option is malformed", headX + web + aaaa + optWith + "0008 004d 0000 004d 0001", FormErr},

		{"a cookie of 0 octets is malformed", withOptions(t, option(optionCookie, 0)), FormErr},
		{"a cookie of 7 octets is malformed", withOptions(t, option(optionCookie, 7)), FormErr},
		{"a cookie of 8 octets is a client's", withOptions(t, option(optionCookie, 8)), Answer},
		{"a cookie of 9 octets is malformed", withOptions(t, option(optionCookie, 9)), FormErr},
		{"a cookie of 15 octets is malformed", withOptions(t, option(optionCookie, 15)), FormErr},
		{"a cookie of 16 octets is the shortest with a server's", withOptions(t, option(optionCookie, 16)), Answer},
		{"a cookie of 24 octets is the usual", withOptions(t, option(optionCookie, 24)), Answer},
		{"a cookie of 40 octets is the longest", withOptions(t, option(optionCookie, 40)), Answer},
		{"a cookie of 41 octets is malformed", withOptions(t, option(optionCookie, 41)), FormErr},
		{"a cookie is judged also behind other options", withOptions(t, option(77, 9), option(optionCookie, 9)), FormErr},
		{"a client subnet is not looked into", withOptions(t, option(8, 1)), Answer},
		{"a keepalive with a timeout is left to others to judge", withOptions(t, option(optionKeepalive, 2)), Answer},
		{"extended flags do not matter", headX + web + aaaa + "00 0029 04d0 00 00 ffff 0000", Answer},
		{"the extended RCODE of a query does not matter", headX + web + aaaa + "00 0029 04d0 ff 00 0000 0000", Answer},
	})
}

func TestParseReadsEDNS(t *testing.T) {
	type edns struct {
		opt, do   bool
		version   uint8
		udpSize   uint16
		keepalive Keepalive
	}
	question := headX + web + aaaa
	for _, tt := range []struct {
		does string
		msg  string
		want edns
	}{
		{"without OPT the client takes 512 octets", head + web + aaaa, edns{udpSize: 512}},
		{"the client's size is its OPT's class", question + opt, edns{opt: true, udpSize: 1232}},
		{"the client's size may be 65,535", question + "00 0029 ffff 00000000 0000", edns{opt: true, udpSize: 65535}},
		{"a size of 513 stays", question + "00 0029 0201 00000000 0000", edns{opt: true, udpSize: 513}},
		{"a size of 511 counts as 512", question + "00 0029 01ff 00000000 0000", edns{opt: true, udpSize: 512}},
		{"a size of 0 counts as 512", question + "00 0029 0000 00000000 0000", edns{opt: true, udpSize: 512}},
		{"DO is the first flag", question + "00 0029 04d0 00 00 8000 0000", edns{opt: true, do: true, udpSize: 1232}},
		{"other flags are not DO", question + "00 0029 04d0 00 00 7fff 0000", edns{opt: true, udpSize: 1232}},
		{"the version is read", question + "00 0029 04d0 00 03 0000 0000", edns{opt: true, version: 3, udpSize: 1232}},
		{"an empty keepalive asks", withOptions(t, option(optionKeepalive, 0)), edns{opt: true, udpSize: 1232, keepalive: KeepaliveAsked}},
		{"a keepalive with a timeout is broken", withOptions(t, option(optionKeepalive, 2)), edns{opt: true, udpSize: 1232, keepalive: KeepaliveBroken}},
		{"a broken keepalive stays so", withOptions(t, option(optionKeepalive, 2), option(optionKeepalive, 0)), edns{opt: true, udpSize: 1232, keepalive: KeepaliveBroken}},
		{"a keepalive breaks also later", withOptions(t, option(optionKeepalive, 0), option(optionKeepalive, 1)), edns{opt: true, udpSize: 1232, keepalive: KeepaliveBroken}},

		{"an OPT with a broken option is an OPT", question + "00 0029 1000 00 00 8000 0004 004d 0001", edns{opt: true, do: true, udpSize: 4096}},
		{"an OPT with a broken cookie is an OPT", withOptions(t, option(optionCookie, 9)), edns{opt: true, udpSize: 1232}},
		{"an OPT of another owner is an OPT", question + web + "0029 1000 00000000 0000", edns{opt: true, udpSize: 4096}},
		{"the first of two OPT records counts", "1234 0100 0001 0000 0000 0002" + web + aaaa + opt + "00 0029 1000 00 01 8000 0000", edns{opt: true, udpSize: 1232}},
		{"an OPT is found behind records that no query has", "1234 0100 0001 0001 0001 0001" + web + aaaa + "c00c" + a + "c00c" + a + opt, edns{opt: true, udpSize: 1232}},
		{"an OPT is found without a question", "1234 0100 0000 0000 0000 0001" + opt, edns{opt: true, udpSize: 1232}},
		{"an OPT is found before octets that belong to nothing", question + opt + "00", edns{opt: true, udpSize: 1232}},
		{"an OPT is found in another opcode", "1234 2800 0001 0001 0001 0001" + web + aaaa + "c00c" + a + "c00c" + a + opt, edns{opt: true, udpSize: 1232}},
		{"an OPT behind two questions is not looked for", "1234 0100 0002 0000 0000 0001" + web + aaaa + web + aaaa + opt, edns{udpSize: 512}},
		{"an OPT that is cut off is none", question + optWith + "0004 000b 00", edns{udpSize: 512}},
		{"an OPT behind a malformed record is not found", "1234 0100 0001 0000 0000 0002" + web + aaaa + "c01e" + a + opt, edns{udpSize: 512}},
		{"an OPT behind a malformed question is not found", headX + strings.Repeat("01'a' ", 128) + "00" + aaaa + opt, edns{udpSize: 512}},
	} {
		t.Run(tt.does, func(t *testing.T) {
			var q Query
			v := q.Parse(octets(t, tt.msg))
			if got := (edns{q.OPT, q.DO, q.Version, q.UDPSize, q.Keepalive}); got != tt.want {
				t.Errorf("Parse(%s) = %s\n got %+v\nwant %+v", tt.msg, verdictNames[v], got, tt.want)
			}
		})
	}
}
