package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// patience is how long a test waits for an event. Only a fault of the server makes a
// test wait so long, on a busy machine too.
const patience = time.Minute

// TestAllWithoutEpoll sets goroutines.
var goroutines = flag.Bool("resolver.goroutines", false, "serve TCP as on systems without epoll")

var (
	acme    = mustNetwork("fdaa:0:18::/48") // the network that loopback is placed in
	apiAddr = netip.MustParseAddr("fdaa::3")
)

func mustNetwork(s string) registry.Network {
	n, err := registry.ParseNetwork(s)
	if err != nil {
		panic(err)
	}
	return n
}

// bigApps are apps of network acme, and their numbers of started machines: some has
// too many for a datagram of 512 octets, many for 8,192, and most for any message.
var bigApps = map[string]int{"some": 40, "many": 1000, "most": 4000}

// acmePublisher returns a ready publisher of org.json and bigApps. Loopback is
// placed in acme, region ams. Tests must not change its facts.
var acmePublisher = sync.OnceValue(func() *zone.Publisher {
	facts := orgFacts()
	for app, n := range bigApps {
		facts.Apps = append(facts.Apps, registry.App{Network: acme, Name: app})
		for i := range n {
			addr := acme.Prefix().Addr().As16()
			copy(addr[6:], app)
			binary.BigEndian.PutUint32(addr[10:], uint32(i)<<8)
			addr[15] = 2
			facts.Machines = append(facts.Machines, &registry.Machine{
				Network: acme, App: app, ID: fmt.Sprintf("%s%010x", app, i), State: registry.StateStarted,
				Region: "ams", Address: netip.AddrFrom16(addr),
			})
		}
	}
	for i := range 5000 { // so that the table is large, and workers prefetch
		facts.Apps = append(facts.Apps, registry.App{Network: acme + 1000, Name: fmt.Sprint("empty-", i)})
	}
	return publish(facts, loopbackInAcme())
})

// orgFacts reads org.json.
func orgFacts() *registry.Facts {
	const path = "../cmd/internaldns/sample/org.json"
	r, err := os.Open(path)
	if err != nil {
		panic(err)
	}
	defer r.Close()
	facts, err := format.Parse(path, r, nil)
	if err != nil {
		panic(err)
	}
	return facts
}

// publish returns a ready publisher of facts.
func publish(facts *registry.Facts, o zone.Options) *zone.Publisher {
	p := zone.NewPublisher(o)
	s := registry.NewStore(p.Commit)
	if _, err := s.Apply(s.Snapshot().Diff(facts)); err != nil {
		panic(err)
	}
	p.Ready()
	return p
}

func loopbackInAcme() zone.Options {
	return zone.Options{TTL: 5, Clients: []zone.Client{
		{Prefix: netip.MustParsePrefix("127.0.0.0/8"), Network: acme, Region: "ams"},
		{Prefix: netip.MustParsePrefix("::1/128"), Network: acme, Region: "ams"},
	}}
}

// A testServer is a Server that serves until the test ends, or until stop.
type testServer struct {
	*Server
	t      testing.TB
	dns    *metrics.DNS
	cancel context.CancelFunc
	ended  chan error
}

// start serves at 127.0.0.1 and ::1, unless c says otherwise.
func start(t testing.TB, c Config) *testServer {
	t.Helper()
	r := listen(t, c)
	r.run()
	return r
}

// listen binds like start, but does not serve: queries wait in the sockets until run.
func listen(t testing.TB, c Config) *testServer {
	t.Helper()
	if c.Listen == nil {
		c.Listen = []string{"127.0.0.1:0", "[::1]:0"}
	}
	if c.Zone == nil {
		c.Zone = acmePublisher()
	}
	c.Metrics, c.Log = new(metrics.DNS), zap.NewNop()
	c.goroutines = *goroutines
	s, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &testServer{Server: s, t: t, dns: c.Metrics}
}

func (r *testServer) run() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.ended = cancel, make(chan error, 1)
	go func() { r.ended <- r.Run(ctx) }()
	r.t.Cleanup(func() { r.stop() })
}

// stop stops the server, if it runs, and waits until it has ended. Then all is
// counted.
func (r *testServer) stop() {
	r.t.Helper()
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.cancel = nil
	select {
	case err := <-r.ended:
		if err != nil {
			r.t.Errorf("Run returned %v, want nil", err)
		}
	case <-time.After(patience):
		r.t.Fatal("Run does not return")
	}
}

// counts stops the server and returns its metrics by series, without zeros and
// without the common prefix.
func (r *testServer) counts() map[string]float64 {
	r.t.Helper()
	r.stop()
	return counted(r.t, r.dns)
}

func counted(t testing.TB, d *metrics.DNS) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(d)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			series := strings.TrimPrefix(f.GetName(), "internaldns_")
			for _, l := range m.GetLabel() {
				series += " " + l.GetValue()
			}
			if n := m.GetCounter().GetValue() + m.GetGauge().GetValue(); n != 0 {
				got[series] = n
			}
		}
	}
	return got
}

// wantCounts fails unless each series of want has that value.
func wantCounts(t testing.TB, got, want map[string]float64) {
	t.Helper()
	for series, n := range want {
		if got[series] != n {
			t.Errorf("%s is %v, want %v; of all: %v", series, got[series], n, got)
		}
	}
}

// question returns a query as octets. Options change it before.
func question(t testing.TB, id uint16, qtype uint16, name string, options ...func(*dns.Msg)) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	m.Id = id
	for _, o := range options {
		o(m)
	}
	msg, err := m.Pack()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return msg
}

// edns adds an OPT record that announces size, with options.
func edns(size uint16, options ...dns.EDNS0) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.SetEdns0(size, false)
		m.IsEdns0().Option = options
	}
}

// keepalive is the edns-tcp-keepalive option as clients send it.
func keepalive() dns.EDNS0 { return &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE} }

func unpack(t testing.TB, msg []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(msg); err != nil {
		t.Fatalf("the response does not unpack: %v\n%x", err, msg)
	}
	return m
}

// outcome returns the RCODE and the answer section of a response as text.
func outcome(m *dns.Msg) string {
	s := dns.RcodeToString[m.Rcode]
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.AAAA:
			s += " " + rr.AAAA.String()
		case *dns.TXT:
			s += ` "` + strings.Join(rr.Txt, "") + `"`
		case *dns.PTR:
			s += " " + rr.Ptr
		default:
			s += " " + rr.String()
		}
	}
	return s
}

// A client is one UDP socket, connected or not.
type client struct {
	t    testing.TB
	conn *net.UDPConn
}

// dialUDP returns a client connected to the server: it receives only from the address
// that it asks.
func dialUDP(t testing.TB, server netip.AddrPort) *client {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &client{t, conn}
}

func (c *client) send(msgs ...[]byte) {
	c.t.Helper()
	for _, msg := range msgs {
		if _, err := c.conn.Write(msg); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *client) receive() []byte {
	c.t.Helper()
	buf := make([]byte, 1<<16)
	n, err := c.conn.Read(buf)
	if err != nil {
		c.t.Fatalf("no response: %v", err)
	}
	return buf[:n]
}

func (c *client) ask(msg []byte) *dns.Msg {
	c.t.Helper()
	c.send(msg)
	return unpack(c.t, c.receive())
}

// silent fails if any of msgs gets a response. It sends a query after them, whose
// response must arrive first.
func (c *client) silent(msgs ...[]byte) {
	c.t.Helper()
	c.send(msgs...)
	c.send(question(c.t, 0xFFFE, dns.TypeAAAA, "web.internal"))
	if m := unpack(c.t, c.receive()); m.Id != 0xFFFE {
		c.t.Errorf("a message that must be dropped was answered: %v", m)
	}
}

// A stream is one TCP connection.
type stream struct {
	t    testing.TB
	conn *net.TCPConn
}

func dialTCP(t testing.TB, server netip.AddrPort) *stream {
	t.Helper()
	conn, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &stream{t, conn}
}

// framed returns msg with its length before it.
func framed(msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
}

// write writes all octets at once.
func (s *stream) write(octets ...[]byte) {
	s.t.Helper()
	var all []byte
	for _, o := range octets {
		all = append(all, o...)
	}
	if _, err := s.conn.Write(all); err != nil {
		s.t.Fatal(err)
	}
}

// receive returns the next message.
func (s *stream) receive() []byte {
	s.t.Helper()
	msg, err := readFrame(s.conn)
	if err != nil {
		s.t.Fatalf("no response: %v", err)
	}
	return msg
}

func readFrame(r io.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(head[:]))
	_, err := io.ReadFull(r, msg)
	return msg, err
}

func (s *stream) ask(msg []byte) *dns.Msg {
	s.t.Helper()
	s.write(framed(msg))
	return unpack(s.t, s.receive())
}

// closed fails unless the server closes the connection without sending more.
func (s *stream) closed() {
	s.t.Helper()
	rest, err := io.ReadAll(s.conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.t.Fatal("the server does not close the connection")
	}
	if len(rest) > 0 {
		s.t.Errorf("before closing, the server writes %x", rest)
	}
}

// newTestResponder returns a responder for UDP or, if stream, for TCP, and a buffer for
// its responses.
func newTestResponder(t testing.TB, p *zone.Publisher, stream bool) (*responder, []byte) {
	t.Helper()
	s := &Server{config: Config{Zone: p, Metrics: new(metrics.DNS)}}
	s.config.setDefaults()
	r := s.newUDPResponder()
	if stream {
		r = s.newTCPResponder()
	}
	return &r, make([]byte, 0, wire.MaxMessageLen)
}
