package resolver

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone"
	"github.com/miekg/dns"

	"github.com/internaldns/internaldns/resolver/socket"
)

func TestEveryListenAddressAnswers(t *testing.T) {
	const want = "NOERROR fdaa:0:18:a7b:7d:f066:b83b:2 fdaa:0:18:a7b:1d3:cb60:76c3:2 fdaa:0:18:a7b:1d3:ea9b:7cc0:2"
	r := start(t, Config{Listen: []string{"127.0.0.1:0", "127.0.0.5:0", "[::1]:0"}})
	for i, addr := range r.Addrs() {
		if wantAddr := []string{"127.0.0.1", "127.0.0.5", "::1"}[i]; addr.Addr().String() != wantAddr || addr.Port() == 0 {
			t.Errorf("address %d is %v, want a port at %s", i, addr, wantAddr)
		}
		msg := question(t, 99, dns.TypeAAAA, "WEB.internal")
		for transport, m := range map[string]*dns.Msg{
			"UDP": dialUDP(t, addr).ask(msg),
			"TCP": dialTCP(t, addr).ask(msg),
		} {
			if got := outcome(m); got != want || m.Id != 99 || m.Question[0].Name != "WEB.internal." {
				t.Errorf("asked at %v over %s\n got %s, ID %d, %v\nwant %s, ID 99", addr, transport, got, m.Id, m.Question, want)
			}
		}
	}
}

// A wildcard listener is one socket for all addresses of the machine, and the system
// may choose any of them to send from. Clients accept a response only from the
// address that they asked.
func TestAResponseLeavesFromTheAddressAsked(t *testing.T) {
	for _, tt := range []struct {
		listen string
		ask    []string
	}{
		{"127.0.0.5:0", []string{"127.0.0.5"}},
		{"0.0.0.0:0", []string{"127.0.0.1", "127.0.0.5", "127.1.2.3"}},
		{"[::1]:0", []string{"::1"}},
		{"[::]:0", []string{"::1", "127.0.0.1", "127.0.0.5"}},
	} {
		t.Run(tt.listen, func(t *testing.T) {
			r := start(t, Config{Listen: []string{tt.listen}})
			for _, ask := range tt.ask {
				server := netip.AddrPortFrom(netip.MustParseAddr(ask), r.Addrs()[0].Port())
				network, from := "udp4", "127.0.0.1:0"
				if server.Addr().Is6() {
					network, from = "udp6", "[::1]:0"
				}
				pc, err := net.ListenPacket(network, from) // not connected: it receives from any address
				if err != nil {
					t.Fatal(err)
				}
				defer pc.Close()
				conn := pc.(*net.UDPConn)
				conn.SetDeadline(time.Now().Add(patience))
				// More than one, so that a batch has several.
				for id := range uint16(3) {
					if _, err := conn.WriteToUDPAddrPort(question(t, id, dns.TypeAAAA, "web.internal"), server); err != nil {
						t.Fatal(err)
					}
				}
				for range 3 {
					buf := make([]byte, 512)
					n, from, err := conn.ReadFromUDPAddrPort(buf)
					if err != nil {
						t.Fatalf("asked at %v: %v", server, err)
					}
					if from != server {
						t.Errorf("asked at %v, the response comes from %v", server, from)
					}
					if m := unpack(t, buf[:n]); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 3 {
						t.Errorf("asked at %v: %v", server, m)
					}
				}
				if m := dialTCP(t, server).ask(question(t, 1, dns.TypeAAAA, "web.internal")); len(m.Answer) != 3 {
					t.Errorf("asked at %v over TCP: %v", server, m)
				}
			}
		})
	}
}

// 0.0.0.0 means all IPv4 addresses. Go's net package would listen at all IPv6
// addresses too.
func TestAnIPv4WildcardDoesNotAnswerOverIPv6(t *testing.T) {
	r := start(t, Config{Listen: []string{"0.0.0.0:0"}})
	addr := netip.AddrPortFrom(netip.IPv6Loopback(), r.Addrs()[0].Port())
	if conn, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(addr)); err == nil {
		conn.Close()
		t.Errorf("a server at 0.0.0.0 accepts TCP connections at %v", addr)
	}
	c := dialUDP(t, addr)
	c.send(question(t, 1, dns.TypeAAAA, "web.internal"))
	if _, err := c.conn.Read(make([]byte, 512)); err == nil {
		t.Errorf("a server at 0.0.0.0 answers at %v", addr)
	} else if err, ok := err.(net.Error); ok && err.Timeout() {
		t.Errorf("a server at 0.0.0.0 takes datagrams at %v", addr) // otherwise the system reports that the port is closed
	}
}

func TestMessagesThatAreNoQueriesGetNoResponse(t *testing.T) {
	r := start(t, Config{})
	web := question(t, 1, dns.TypeAAAA, "web.internal")
	response := slices.Clone(web)
	response[2] |= 0x80
	for _, addr := range r.Addrs() {
		c := dialUDP(t, addr)
		c.silent(nil, web[:1], web[:11])
		c.silent(response, append([]byte{0, 1, 0xFF, 0xFF}, make([]byte, 8)...))
		c.silent(append(slices.Clone(web), make([]byte, socket.MaxDatagram+1-len(web))...))
		c.silent(append(slices.Clone(web), make([]byte, 9000)...))
	}
	wantCounts(t, r.counts(), map[string]float64{
		"dns_dropped_total udp short":    6,
		"dns_dropped_total udp response": 4,
		"dns_dropped_total udp cut":      4,
		"dns_requests_total 1 udp AAAA":  4,
		"dns_requests_total 2 udp AAAA":  4,
	})
}

// The longest datagram that is read whole gets FORMERR, if octets follow its query.
func TestTheLongestDatagramIsAnswered(t *testing.T) {
	r := start(t, Config{})
	web := question(t, 1, dns.TypeAAAA, "web.internal")
	c := dialUDP(t, r.Addrs()[0])
	if m := c.ask(append(web, make([]byte, socket.MaxDatagram-len(web))...)); m.Rcode != dns.RcodeFormatError {
		t.Errorf("octets after the last record are answered with %v", m)
	}
}

// Hundreds of queries are in flight, from several sockets, over both families. So
// batches are full, and each response must reach its client.
func TestEveryQueryInABatchGetsItsOwnResponse(t *testing.T) {
	testBatches(t, acmePublisher())
}

// The same with a registry so large that batches are prefetched.
func TestEveryQueryInAPrefetchedBatchGetsItsOwnResponse(t *testing.T) {
	facts := orgFacts()
	for i := range 6000 {
		facts.Apps = append(facts.Apps, registry.App{Network: acme, Name: fmt.Sprintf("other-%d", i)})
	}
	p := publish(facts, loopbackInAcme())
	if !p.Table().Large() {
		t.Fatal("the registry is too small for this test")
	}
	testBatches(t, p)
}

func testBatches(t *testing.T, p *zone.Publisher) {
	t.Helper()
	const clients, flights, flight = 6, 20, 100
	r := start(t, Config{Listen: []string{"127.0.0.1:0", "[::1]:0", "[::]:0"}, Zone: p})
	questions := []struct {
		qtype uint16
		name  string
	}{
		{dns.TypeAAAA, "web.internal"}, {dns.TypeTXT, "_apps.internal"}, {dns.TypeAAAA, "nobody.internal"},
		{dns.TypeA, "web.internal"}, {dns.TypeAAAA, "ams.web.internal"}, {dns.TypeTXT, "vms.web.internal"},
		{dns.TypeAAAA, "148e21dad76789.vm.web.internal"}, {dns.TypeAAAA, "worker.process.web.internal"},
		{dns.TypeAAAA, "example.com"}, {dns.TypeAAAA, "top2.nearest.of.web.internal"},
	}
	oracle, out := newTestResponder(t, p, false)
	want := make(map[string]string)
	for _, q := range questions {
		src := netip.MustParseAddr("127.0.0.1")
		m := unpack(t, oracle.respond(src, src, question(t, 1, q.qtype, q.name, edns(4096)), out))
		want[m.Question[0].String()] = outcome(m)
	}
	var wg sync.WaitGroup
	for i := range clients {
		c := dialUDP(t, r.Addrs()[i%len(r.Addrs())])
		c.conn.SetReadBuffer(1 << 20)
		wg.Go(func() {
			for f := range flights {
				pending := make(map[uint16]string)
				for j := range flight {
					id, q := uint16(i<<12|f<<7|j), questions[(i+j)%len(questions)]
					msg := question(t, id, q.qtype, q.name, edns(4096))
					pending[id] = unpack(t, msg).Question[0].String()
					if _, err := c.conn.Write(msg); err != nil {
						t.Error(err)
						return
					}
				}
				for len(pending) > 0 {
					buf := make([]byte, 4096)
					n, err := c.conn.Read(buf)
					if err != nil {
						t.Errorf("%d queries are unanswered: %v", len(pending), err)
						return
					}
					var m dns.Msg
					if err := m.Unpack(buf[:n]); err != nil {
						t.Errorf("%v: %x", err, buf[:n])
						continue
					}
					q, ok := pending[m.Id]
					if !ok || m.Question[0].String() != q {
						t.Errorf("ID %d was for %q, got a response for %v", m.Id, q, m.Question)
					}
					if got := outcome(&m); got != want[q] {
						t.Errorf("%s\n got %s\nwant %s", q, got, want[q])
					}
					delete(pending, m.Id)
				}
			}
		})
	}
	wg.Wait()
	total := 0.0
	for series, n := range r.counts() {
		var what string
		if fmt.Sscanf(series, "dns_responses_total %s", &what); what != "" {
			total += n
		}
	}
	if total != clients*flights*flight {
		t.Errorf("%v responses are counted, want %d", total, clients*flights*flight)
	}
}

// A worker's buffers are used for all clients. Octets of one client's query must not
// complete the next one's.
func TestADatagramIsNotReadBeyondItsEnd(t *testing.T) {
	r := start(t, Config{UDPWorkers: 1})
	secret := question(t, 1, dns.TypeAAAA, "web.internal", edns(1232))
	for _, addr := range r.Addrs() {
		for n := 12; n < len(secret); n++ {
			a, b := dialUDP(t, addr), dialUDP(t, addr)
			if m := a.ask(secret); m.Rcode != dns.RcodeSuccess {
				t.Fatal(m)
			}
			head := slices.Clone(secret[:n]) // the buffer still holds the rest of the other query
			head[0] = 0xAB
			b.send(head)
			resp := b.receive()
			if m := unpack(t, resp); m.Rcode != dns.RcodeFormatError || len(m.Extra) > 0 {
				t.Errorf("the first %d octets of a query are answered with %v", n, m)
			}
			if n < 12+len("\x03web\x08internal\x00")+4 && len(resp) != 12 {
				t.Errorf("the response to %d octets has %d: %x", n, len(resp), resp)
			}
			a.conn.Close()
			b.conn.Close()
		}
	}
}
