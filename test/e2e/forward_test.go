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

// forwarding starts the program with an upstream, which it returns a count of the
// queries to.
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
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
		t.Cleanup(func() { s.Shutdown() })
	}
	return program.Serve(t, "--registry", registryFile(t), "--listen", "127.0.0.1:0", "--admin", "off",
		"--upstream", pc.LocalAddr().String(), "--network", "fdaa:0:18::/48").Addrs[0], asked
}

// bothAt returns sockets at one free port of both transports.
func bothAt(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	var err error
	for range 20 { // the port of one may be taken for the other
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

// What the header of a response says of forwarding.
func TestWhatClientsAreToldOfForwarding(t *testing.T) {
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
		{"what nobody desires is not asked for", "udp", "www.example.com.", noRD, "REFUSED qr ra, 0 records"},
		{"what was asked for elsewhere is not ours", "udp", "www.example.com.", plain, "NOERROR qr rd ra, 1 records"},
		{"the cache says the same", "udp", "www.example.com.", plain, "NOERROR qr rd ra, 1 records"},
		{"in any letter case", "udp", "WWW.Example.com.", plain, "NOERROR qr rd ra, 1 records"},
		{"over TCP too", "tcp", "www.example.com.", plain, "NOERROR qr rd ra, 1 records"},
		{"who desires no recursion is not told what is in the cache", "udp", "www.example.com.", noRD, "REFUSED qr ra, 0 records"},
		{"over TCP neither", "tcp", "www.example.com.", noRD, "REFUSED qr ra, 0 records"},
		{"of what is too large comes what fits", "udp", "many.example.com.", plain, "NOERROR qr tc rd ra, 29 records"},
		{"more for those who take more", "udp", "many.example.com.", edns(1232), "NOERROR qr tc rd ra, 74 records"},
		{"all for those who take so much", "udp", "many.example.com.", edns(4096), "NOERROR qr rd ra, 100 records"},
		{"all over TCP", "tcp", "many.example.com.", plain, "NOERROR qr rd ra, 100 records"},
		{"ours are ours", "udp", "web.internal.", plain, "NOERROR qr aa rd ra, 0 records"},
		{"also for who desires no recursion", "udp", "nobody.internal.", noRD, "NXDOMAIN qr aa ra, 0 records"},
	} {
		before := asked.Load()
		if got := header(ask(tt.network, tt.name, tt.change)); got != tt.want {
			t.Errorf("%s: %s over %s\n got %s\nwant %s", tt.does, tt.name, tt.network, got, tt.want)
		}
		if strings.HasPrefix(tt.want, "REFUSED") && asked.Load() != before {
			t.Errorf("%s: upstream was asked", tt.does)
		}
	}
}

// Resolvers ask for a name label by label from the right, and go no further below a
// name that does not exist (RFC 9156; RFC 8020). So everything above a name that
// exists does too, whoever of us answers for it.
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

// Over TLS an upstream must be who it shall be, by the authorities of the system.
func TestUpstreamsOverTLS(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate, which is good for 127.0.0.1 and example.com
	t.Cleanup(web.Close)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: web.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	s := &dns.Server{
		Listener: l, NotifyStartedFunc: func() { close(started) },
		Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300},
				A:   net.IPv4(192, 0, 2, 1),
			}}
			w.WriteMsg(m)
		}),
	}
	go s.ActivateAndServe()
	<-started
	t.Cleanup(func() { s.Shutdown() })
	roots := filepath.Join(t.TempDir(), "roots.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	if err := os.WriteFile(roots, block, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", roots)
	for name, want := range map[string]string{
		"":                 "NOERROR qr rd ra, 1 records",
		"#example.com":     "NOERROR qr rd ra, 1 records",
		"#someone.example": "SERVFAIL qr rd ra, 0 records",
	} {
		server := program.Serve(t, "--listen", "127.0.0.1:0", "--admin", "off", "--upstream", "tls://"+l.Addr().String()+name).Addrs[0]
		c := dns.Client{Timeout: 20 * time.Second}
		m, _, err := c.Exchange(new(dns.Msg).SetQuestion("www.example.net.", dns.TypeA), server.String())
		if err != nil {
			t.Fatal(err)
		}
		if got := header(m); got != want {
			t.Errorf("of an upstream that shall be %q, a client gets %s, want %s", name, got, want)
		}
	}
}

// header writes what the header of m says, as dig does.
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
