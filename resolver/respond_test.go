package resolver

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// Every question of expect.tsv gets the response that is written there.
func TestEveryQuestionOfExpectTSV(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			// Without bigApps, and with loopback in no network.
			r, out := newTestResponder(t, publish(orgFacts(), zone.Options{TTL: 5}), tr.stream)
			f, err := os.Open("../zone/testdata/expect.tsv")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			n := 0
			for lines := bufio.NewScanner(f); lines.Scan(); {
				if strings.HasPrefix(lines.Text(), "#") {
					continue
				}
				n++
				part := strings.SplitN(lines.Text(), "\t", 5)
				src, qtype := netip.MustParseAddr(part[0]), dns.StringToType[part[1]]
				msg := question(t, uint16(n), qtype, part[2], edns(8192))
				m := unpack(t, r.respond(src, apiAddr, msg, out))
				want := strings.TrimSuffix(part[3]+" "+part[4], " ")
				if got := short(m); got != want {
					t.Errorf("%s %s, asked by %s\n got %s\nwant %s", part[1], part[2], src, got, want)
				}
				if int(m.Id) != n || m.Question[0].Name != part[2]+"." {
					t.Errorf("%s %s: the response has ID %d and question %v", part[1], part[2], m.Id, m.Question)
				}
			}
			if n != 531 {
				t.Errorf("asked %d questions, want 531", n)
			}
		})
	}
}

// short returns a response in the form of expect.tsv.
func short(m *dns.Msg) string {
	s := dns.RcodeToString[m.Rcode]
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.NS:
			s += " " + rr.Ns
		case *dns.SOA:
			s += " SOA"
		default:
			s += strings.TrimPrefix(outcome(&dns.Msg{Answer: []dns.RR{rr}}), "NOERROR")
		}
	}
	return s
}

func TestHeaderAndRCode(t *testing.T) {
	version := func(v uint8) func(*dns.Msg) {
		return func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(v) }
	}
	for _, tt := range []struct {
		does    string
		src     string
		qtype   uint16
		name    string
		options []func(*dns.Msg)
		want    string // flags and RCODE
	}{
		{"a local name is authoritative", "127.0.0.1", dns.TypeAAAA, "web.internal", nil, "qr aa rd NOERROR"},
		{"RD is copied", "127.0.0.1", dns.TypeAAAA, "web.internal", with(func(m *dns.Msg) { m.RecursionDesired = false }), "qr aa NOERROR"},
		{"CD is copied", "127.0.0.1", dns.TypeAAAA, "web.internal", with(func(m *dns.Msg) { m.CheckingDisabled = true }), "qr aa rd cd NOERROR"},
		{"AD, Z, TC, RA and AA of a query mean nothing", "127.0.0.1", dns.TypeAAAA, "web.internal", with(func(m *dns.Msg) {
			m.AuthenticatedData, m.Zero, m.Truncated, m.RecursionAvailable, m.Authoritative = true, true, true, true, true
		}), "qr aa rd NOERROR"},
		{"NODATA is authoritative", "127.0.0.1", dns.TypeA, "web.internal", nil, "qr aa rd NOERROR"},
		{"NXDOMAIN is authoritative", "127.0.0.1", dns.TypeAAAA, "nobody.internal", nil, "qr aa rd NXDOMAIN"},
		{"a forwarded name is refused", "127.0.0.1", dns.TypeAAAA, "example.com", nil, "qr rd REFUSED"},
		{"the root is refused", "127.0.0.1", dns.TypeNS, ".", nil, "qr rd REFUSED"},
		{"a client without a network is refused", "192.0.2.1", dns.TypeAAAA, "web.internal", nil, "qr rd REFUSED"},
		{"a zone transfer is refused", "127.0.0.1", dns.TypeAXFR, "internal", nil, "qr rd REFUSED"},
		{"another class is refused", "127.0.0.1", dns.TypeTXT, "version.bind", with(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), "qr rd REFUSED"},
		{"a query for OPT is malformed", "127.0.0.1", dns.TypeOPT, "web.internal", nil, "qr rd FORMERR"},
		{"an opcode other than QUERY is not implemented", "127.0.0.1", dns.TypeSOA, "internal", with(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), "qr rd NOTIMP"},
		{"CD is clear in responses to other opcodes", "127.0.0.1", dns.TypeSOA, "internal", with(func(m *dns.Msg) { m.Opcode, m.CheckingDisabled = dns.OpcodeUpdate, true }), "qr rd NOTIMP"},
		{"an unknown EDNS version is BADVERS", "127.0.0.1", dns.TypeAAAA, "web.internal", with(version(1)), "qr rd BADVERS"},
		{"a signed query is NOTAUTH", "127.0.0.1", dns.TypeAAAA, "web.internal", with(func(m *dns.Msg) { m.SetTsig("key.", dns.HmacSHA256, 300, 0) }), "qr rd NOTAUTH"},
	} {
		t.Run(tt.does, func(t *testing.T) {
			msg := question(t, 4711, tt.qtype, tt.name, tt.options...)
			for _, tr := range transports {
				r, out := newTestResponder(t, acmePublisher(), tr.stream)
				resp := r.respond(netip.MustParseAddr(tt.src), netip.MustParseAddr("127.0.0.1"), msg, out)
				m := unpack(t, resp)
				if got := flags(m); got != tt.want {
					t.Errorf("over %s: got %s, want %s", tr.name, got, tt.want)
				}
				if resp[3]&0x60 != 0 {
					t.Errorf("over %s: Z or AD is set: %x", tr.name, resp[:4])
				}
				if m.Id != 4711 || m.Opcode != int(msg[2]>>3&0xF) {
					t.Errorf("over %s: the response has ID %d and opcode %d", tr.name, m.Id, m.Opcode)
				}
			}
		})
	}
}

func with(options ...func(*dns.Msg)) []func(*dns.Msg) { return options }

// flags returns the flags that are set in a response, and its RCODE.
func flags(m *dns.Msg) string {
	s := ""
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"qr", m.Response}, {"aa", m.Authoritative}, {"tc", m.Truncated}, {"rd", m.RecursionDesired},
		{"ra", m.RecursionAvailable}, {"ad", m.AuthenticatedData}, {"cd", m.CheckingDisabled},
	} {
		if f.set {
			s += f.name + " "
		}
	}
	if opt := m.IsEdns0(); opt != nil {
		m.Rcode = m.Rcode&0xF | opt.ExtendedRcode()
	}
	if m.Rcode == dns.RcodeBadVers {
		return s + "BADVERS"
	}
	return s + dns.RcodeToString[m.Rcode]
}

// Before the first facts, no response denies that a local name exists.
func TestBeforeTheFirstFactsResponsesAreSERVFAIL(t *testing.T) {
	for _, tr := range transports {
		r, out := newTestResponder(t, zone.NewPublisher(loopbackInAcme()), tr.stream)
		src := netip.MustParseAddr("127.0.0.1")
		for _, name := range []string{"web.internal", "nobody.internal", "internal", "web.flycast", "_api.internal"} {
			m := unpack(t, r.respond(src, src, question(t, 1, dns.TypeAAAA, name), out))
			if m.Rcode != dns.RcodeServerFailure || len(m.Answer)+len(m.Ns)+len(m.Extra) != 0 {
				t.Errorf("%s over %s: want SERVFAIL alone, got %v", name, tr.name, m)
			}
			m = unpack(t, r.respond(src, src, question(t, 1, dns.TypeAAAA, name, edns(1232)), out))
			opt := m.IsEdns0()
			if m.Rcode != dns.RcodeServerFailure || opt == nil || len(opt.Option) != 1 {
				t.Errorf("%s with EDNS over %s: want SERVFAIL with one option, got %v", name, tr.name, m)
				continue
			}
			if ede, ok := opt.Option[0].(*dns.EDNS0_EDE); !ok || ede.InfoCode != dns.ExtendedErrorCodeNotReady {
				t.Errorf("%s with EDNS over %s: want the extended error Not Ready, got %v", name, tr.name, opt)
			}
		}
		m := unpack(t, r.respond(src, src, question(t, 1, dns.TypeAAAA, "example.com"), out))
		if m.Rcode != dns.RcodeRefused {
			t.Errorf("example.com over %s: want REFUSED, got %v", tr.name, m)
		}
	}
}

// A response over UDP is limited by the client's size and by the configured size. TC is
// set if not all records fit.
func TestSizeOfUDPResponses(t *testing.T) {
	const head, opt, aaaa = 12 + len("\x04many\x08internal\x00") + 4, 11, 28
	fit := func(size int) int { return (size - head) / aaaa }
	for _, tt := range []struct {
		does string
		max  int // configured
		size int // announced; 0: without EDNS
		want int // records
	}{
		{"without EDNS it is 512", 8192, 0, fit(512)},
		{"an announced size below 512 counts as 512", 8192, 100, fit(512 - opt)},
		{"the announced size counts", 8192, 1232, fit(1232 - opt)},
		{"to the octet", 8192, head + opt + 20*aaaa, 20},
		{"and not one octet more", 8192, head + opt + 20*aaaa - 1, 19},
		{"up to the configured size", 8192, 65535, fit(8192 - opt)},
		{"a smaller configured size counts", 1400, 65535, fit(1400 - opt)},
		{"a configured size below 512 counts as 512", 1, 65535, fit(512 - opt)},
		{"a datagram holds 65,507", 65535, 65535, fit(65507 - opt)},
		{"if all records fit, TC is clear", 65507, 65535, 1000},
	} {
		t.Run(tt.does, func(t *testing.T) {
			r := start(t, Config{MaxUDPSize: tt.max})
			var options []func(*dns.Msg)
			if tt.size > 0 {
				options = with(edns(uint16(tt.size)))
			}
			for _, addr := range r.Addrs() {
				c := dialUDP(t, addr)
				c.conn.SetReadBuffer(1 << 20)
				app := "many"
				if tt.want > bigApps[app] {
					app = "most"
				}
				c.send(question(t, 1, dns.TypeAAAA, app+".internal", options...))
				resp := c.receive()
				m := unpack(t, resp)
				whole := tt.want == bigApps["many"]
				if len(m.Answer) != tt.want || m.Truncated == whole {
					t.Errorf("asked at %v: %d records, TC %v; want %d, %v (%d octets)",
						addr, len(m.Answer), m.Truncated, tt.want, !whole, len(resp))
				}
				if m.Rcode != dns.RcodeSuccess || (m.IsEdns0() != nil) != (tt.size > 0) {
					t.Errorf("asked at %v: %v", addr, m.MsgHdr)
				}
			}
		})
	}
}

// A TXT record that does not fit is left out. The client gets it over TCP, and likewise
// all addresses.
func TestTruncatedAnswersAreWholeOverTCP(t *testing.T) {
	r := start(t, Config{})
	udp, tcp := dialUDP(t, r.Addrs()[0]), dialTCP(t, r.Addrs()[0])

	vms := question(t, 7, dns.TypeTXT, "vms.some.internal")
	if m := udp.ask(vms); !m.Truncated || len(m.Answer) != 0 || m.Rcode != dns.RcodeSuccess || !m.Authoritative {
		t.Errorf("a text too large for 512 octets is answered with %v", m)
	}
	m := tcp.ask(vms)
	if m.Truncated || len(m.Answer) != 1 {
		t.Fatalf("over TCP, a text too large for UDP is answered with %v", m)
	}
	list := strings.Split(strings.Join(m.Answer[0].(*dns.TXT).Txt, ""), ",")
	if len(list) != bigApps["some"] || list[0] != fmt.Sprintf("some%010x ams", 0) {
		t.Errorf("vms.some.internal has %d items, the first %q", len(list), list[0])
	}

	addrs := question(t, 8, dns.TypeAAAA, "some.internal")
	if m := udp.ask(addrs); !m.Truncated || len(m.Answer) == 0 {
		t.Errorf("addresses too many for 512 octets are answered with %v", m)
	}
	if m := tcp.ask(addrs); m.Truncated || len(m.Answer) != bigApps["some"] {
		t.Errorf("over TCP there are %d addresses, want %d", len(m.Answer), bigApps["some"])
	}
	wantCounts(t, r.counts(), map[string]float64{"dns_responses_truncated_total udp": 2, "dns_responses_truncated_total tcp": 0})
}

// A message holds 65,535 octets, and a client cannot get more. It gets the records that
// fit, and TC is clear.
func TestAnAnswerTooLargeForAMessageIsCut(t *testing.T) {
	r := start(t, Config{})
	s := dialTCP(t, r.Addrs()[0])

	const room = wire.MaxMessageLen - 12 - len("\x04most\x08internal\x00") - 4
	s.write(framed(question(t, 1, dns.TypeAAAA, "most.internal")))
	resp := s.receive()
	if m := unpack(t, resp); m.Truncated || len(m.Answer) != room/28 {
		t.Errorf("%d addresses, TC %v; want %d, false", len(m.Answer), m.Truncated, room/28)
	}
	if len(resp) > wire.MaxMessageLen || len(resp) <= wire.MaxMessageLen-28 {
		t.Errorf("the response has %d octets", len(resp))
	}

	m := s.ask(question(t, 2, dns.TypeTXT, "vms.most.internal", edns(1232)))
	if m.Truncated || len(m.Answer) != 1 || m.IsEdns0() == nil {
		t.Fatalf("the list of %d machines is answered with %v", bigApps["most"], m.MsgHdr)
	}
	items := strings.Split(strings.Join(m.Answer[0].(*dns.TXT).Txt, ""), ",")
	for i, item := range items {
		if want := fmt.Sprintf("most%010x ams", i); item != want {
			t.Fatalf("item %d of %d is %q, want %q", i, len(items), item, want)
		}
	}
	const item = len("most0000000000 ams,")
	if most := (wire.MaxMessageLen - 100) / item; len(items) < most*99/100 || len(items) == bigApps["most"] {
		t.Errorf("%d items are in the message, which has room for some %d", len(items), most)
	}
	wantCounts(t, r.counts(), map[string]float64{"dns_responses_truncated_total tcp": 2})
}
