package e2e

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/internaldns/internaldns/test/internal/program"
)

// forwarding starts the program with an upstream, and returns the count of queries
// that reach the upstream.
func forwarding(t *testing.T) (server netip.AddrPort, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	pc, l := bothAt(t)
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable, m.Authoritative = true, true
		n := 1
		if strings.HasPrefix(strings.ToLower(q.Question[0].Name), "many.") {
			n = 100
		}
		for i := range n {
			m.Answer = append(m.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300},
				A:   net.IPv4(192, 0, 2, byte(i)),
			})
		}
		if opt := q.IsEdns0(); opt != nil {
			m.SetEdns0(1232, false)
			if w.LocalAddr().Network() == "udp" {
				m.Truncate(int(opt.UDPSize()))
			}
		}
		w.WriteMsg(m)
	})
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: handler}, {Listener: l, Handler: handler}} {
		serveUntilTheEnd(t, s)
	}
	return program.Serve(t, "--registry", registryFile(t), "--listen", "127.0.0.1:0", "--admin", "off",
		"--upstream", pc.LocalAddr().String(), "--network", "fdaa:0:18::/48").Addrs[0], asked
}

// serveUntilTheEnd starts the server, which is shut down when the test ends.
func serveUntilTheEnd(t *testing.T, s *dns.Server) {
	started := make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	go s.ActivateAndServe()
	<-started
	t.Cleanup(func() { s.Shutdown() })
}

// bothAt returns a UDP socket and a TCP listener at one free port.
func bothAt(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	var err error
	for range 20 { // the port may be free for one of the two only
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			break
		}
		var pc net.PacketConn
		if pc, err = net.ListenPacket("udp", l.Addr().String()); err == nil {
			return pc, l
		}
		l.Close()
	}
	t.Fatal(err)
	return nil, nil
}

func TestTheHeaderOfForwardedResponses(t *testing.T) {
	server, asked := forwarding(t)
	ask := func(network, name string, change func(*dns.Msg)) *dns.Msg {
		t.Helper()
		c := dns.Client{Net: network, Timeout: 20 * time.Second}
		q := new(dns.Msg).SetQuestion(name, dns.TypeA)
		change(q)
		m, _, err := c.Exchange(q, server.String())
		if err != nil {
			t.Fatalf("%s over %s: %v", name, network, err)
		}
		return m
	}
	plain := func(*dns.Msg) {}
	noRD := func(q *dns.Msg) { q.RecursionDesired = false }
	edns := func(size uint16) func(*dns.Msg) {
		return func(q *dns.Msg) { q.SetEdns0(size, false) }
	}
	for _, tt := range []struct {
		does, network, name string
		change              func(*dns.Msg)
		want                string
	}{
		{"a query without RD is not forwarded", "udp", "www.example.com.", noRD, "REFUSED qr ra, 0 records"},
		{"a forwarded response is not authoritative", "udp", "www.example.com.", plain, "NOERROR qr rd ra, 1 records"},
		{"the same from the cache", "udp", "www.example.com.", plain, "NOERROR qr rd ra, 1 records"},
		{"in any letter case", "udp", "WWW.Example.com.", plain, "NOERROR qr rd ra, 1 records"},
		{"over TCP too", "tcp", "www.example.com.", plain, "NOERROR qr rd ra, 1 records"},
		{"a query without RD is not answered from the cache", "udp", "www.example.com.", noRD, "REFUSED qr ra, 0 records"},
		{"also over TCP", "tcp", "www.example.com.", noRD, "REFUSED qr ra, 0 records"},
		{"a response that is too large is truncated", "udp", "many.example.com.", plain, "NOERROR qr tc rd ra, 29 records"},
		{"at the size of the client", "udp", "many.example.com.", edns(1232), "NOERROR qr tc rd ra, 74 records"},
		{"and whole if it fits", "udp", "many.example.com.", edns(4096), "NOERROR qr rd ra, 100 records"},
		{"and whole over TCP", "tcp", "many.example.com.", plain, "NOERROR qr rd ra, 100 records"},
		{"a local answer is authoritative", "udp", "web.internal.", plain, "NOERROR qr aa rd ra, 0 records"},
		{"also without RD", "udp", "absent.internal.", noRD, "NXDOMAIN qr aa ra, 0 records"},
	} {
		before := asked.Load()
		if got := header(ask(tt.network, tt.name, tt.change)); got != tt.want {
			t.Errorf("%s: %s over %s\n got %s\nwant %s", tt.does, tt.name, tt.network, got, tt.want)
		}
		if strings.HasPrefix(tt.want, "REFUSED") && asked.Load() != before {
			t.Errorf("%s: the upstream was asked", tt.does)
		}
	}
}

// Resolvers ask for a name label by label from the right, and not for names below one
// that does not exist (RFC 9156; RFC 8020). So every name above an existing one
// exists too, forwarded or local.
func TestNamesAreFoundLabelByLabel(t *testing.T) {
	server, _ := forwarding(t)
	c := dns.Client{Timeout: 20 * time.Second}
	reverse, err := dns.ReverseAddr(webAMS)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		reverse, "www.example.com.", "web.flycast.", "my-peer._peer.internal.", "all._instances.internal.", "all.vms.web.internal.", "app.process.web.internal.",
		"top3.nearest.of.web.internal.", "148e21dad76789.vm.web.internal.", "primary.role.kv._metadata.web.internal.", "1.2.3.version.kv._metadata.web.internal.",
	} {
		for _, at := range dns.Split(name) {
			m, _, err := c.Exchange(new(dns.Msg).SetQuestion(name[at:], dns.TypeA), server.String())
			if err != nil {
				t.Fatalf("%s: %v", name[at:], err)
			}
			if m.Rcode != dns.RcodeSuccess {
				t.Errorf("%s is %s, and %s is below it", name[at:], dns.RcodeToString[m.Rcode], name)
			}
		}
	}
}

// Over TLS, the certificate of an upstream must have its name, and be signed by an
// authority of the system.
func TestUpstreamsOverTLS(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate, which is valid for 127.0.0.1 and example.com
	t.Cleanup(web.Close)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: web.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	serveUntilTheEnd(t, &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{&dns.A{
			Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300},
			A:   net.IPv4(192, 0, 2, 1),
		}}
		w.WriteMsg(m)
	})})
	roots := filepath.Join(t.TempDir(), "roots.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	if err := os.WriteFile(roots, block, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", roots)
	for name, want := range map[string]string{
		"":               "NOERROR qr rd ra, 1 records",
		"#example.com":   "NOERROR qr rd ra, 1 records",
		"#other.example": "SERVFAIL qr rd ra, 0 records",
	} {
		server := program.Serve(t, "--listen", "127.0.0.1:0", "--admin", "off", "--upstream", "tls://"+l.Addr().String()+name).Addrs[0]
		c := dns.Client{Timeout: 20 * time.Second}
		got := ""
		// On a busy machine, a handshake can take longer than the server waits for an
		// upstream: then the next name is answered.
		for i := range 20 {
			m, _, err := c.Exchange(new(dns.Msg).SetQuestion(fmt.Sprintf("n%d.example.net.", i), dns.TypeA), server.String())
			if err != nil {
				t.Fatal(err)
			}
			if got = header(m); got == want {
				break
			}
		}
		if got != want {
			t.Errorf("with an upstream of name %q, a client gets %s, want %s", name, got, want)
		}
	}
}

// header writes the header of m, as dig does.
func header(m *dns.Msg) string {
	flags := ""
	for _, f := range []struct {
		set  bool
		name string
	}{
		{m.Response, "qr"}, {m.Authoritative, "aa"}, {m.Truncated, "tc"}, {m.RecursionDesired, "rd"},
		{m.RecursionAvailable, "ra"}, {m.AuthenticatedData, "ad"}, {m.CheckingDisabled, "cd"},
	} {
		if f.set {
			flags += " " + f.name
		}
	}
	return fmt.Sprintf("%s%s, %d records", dns.RcodeToString[m.Rcode], flags, len(m.Answer))
}
