package forward

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
	"go.uber.org/zap"
)

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// local is the address of the clients of most tests.
var local = netip.MustParseAddr("127.0.0.1")

// isLocal is the Local of tests: the local zones are internal. and the reverse zone.
func isLocal(name []byte) bool {
	return wire.Within(name, []byte("\x08internal\x00")) || wire.Within(name, []byte(localReverse))
}

// start returns a running Forwarder, which ends with the test.
func start(t testing.TB, c Config) *Forwarder {
	t.Helper()
	f := newForwarder(t, c)
	run(t, f)
	return f
}

func newForwarder(t testing.TB, c Config) *Forwarder {
	t.Helper()
	if c.Local == nil {
		c.Local = isLocal
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	f, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// begin calls f.Run and returns when f takes queries. end ends Run and waits for it.
func begin(t testing.TB, f *Forwarder) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	<-f.Running()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// run lets f work until the test ends.
func run(t testing.TB, f *Forwarder) { t.Cleanup(begin(t, f)) }

// A client asks a Forwarder as package resolver does.
type client struct {
	wire.Client
	rd      bool
	opt     bool
	do, cd  bool
	ad      bool
	udpSize uint16
}

// stub is a client like most: one that knows EDNS.
var stub = client{Client: wire.Client{Addr: local, Limit: 1232}, rd: true, opt: true, udpSize: 1232}

// query returns the message that asks "TYPE NAME".
func (c client) query(t testing.TB, question string) []byte {
	t.Helper()
	qtype, name, ok := strings.Cut(question, " ")
	m := new(dns.Msg)
	m.Id = dns.Id()
	m.RecursionDesired, m.CheckingDisabled, m.AuthenticatedData = c.rd, c.cd, c.ad
	m.Question = []dns.Question{{Name: name, Qtype: typeOf(qtype), Qclass: dns.ClassINET}}
	if c.opt {
		m.SetEdns0(c.udpSize, c.do)
	}
	msg, err := m.Pack()
	if err != nil || !ok {
		t.Fatalf("%q is no question: %v", question, err)
	}
	return msg
}

func typeOf(s string) uint16 {
	if n, ok := dns.StringToType[s]; ok {
		return n
	}
	var n uint16
	fmt.Sscanf(s, "TYPE%d", &n)
	return n
}

// cached returns the response that f has at once, or nil.
func (c client) cached(t testing.TB, f *Forwarder, question string) *dns.Msg {
	t.Helper()
	msg := c.query(t, question)
	var q wire.Query
	if v := q.Parse(msg); v != wire.Answer {
		t.Fatalf("%s: verdict %v", question, v)
	}
	out := f.Cached(&q, c.Client, time.Now(), make([]byte, 0, 65536))
	if len(out) == 0 {
		return nil
	}
	return c.unpack(t, msg, out)
}

// send asks f, and returns a channel with the response, which may come later. It
// returns nil if f does not take the query.
func (c client) send(t testing.TB, f *Forwarder, question string) <-chan *dns.Msg {
	t.Helper()
	msg := c.query(t, question)
	came := make(chan *dns.Msg, 1)
	var q wire.Query
	if v := q.Parse(msg); v != wire.Answer {
		t.Fatalf("%s: verdict %v", question, v)
	}
	if out := f.Cached(&q, c.Client, time.Now(), make([]byte, 0, 65536)); len(out) > 0 {
		came <- c.unpack(t, msg, out)
		return came
	}
	own := slices.Clone(msg)
	if !f.Submit(&q, c.Client, func(out []byte) { came <- c.unpack(t, own, out) }) {
		return nil
	}
	clear(msg) // Submit must not have kept it
	q = wire.Query{}
	return came
}

// ask asks f. It returns the response and how long that took.
func (c client) ask(t testing.TB, f *Forwarder, question string) (*dns.Msg, time.Duration) {
	t.Helper()
	began := time.Now()
	came := c.send(t, f, question)
	if came == nil {
		t.Fatalf("%s: not taken", question)
	}
	select {
	case m := <-came:
		return m, time.Since(began)
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: no response within 10 s", question)
	}
	return nil, 0
}

// unpack returns out, the response to msg. It checks what must be true of every
// response.
func (c client) unpack(t testing.TB, msg, out []byte) *dns.Msg {
	t.Helper()
	q, m := new(dns.Msg), new(dns.Msg)
	if err := q.Unpack(msg); err != nil {
		t.Error(err)
	}
	if err := m.Unpack(out); err != nil {
		t.Errorf("response to %v does not unpack: %v\n%x", q.Question, err, out)
		return m
	}
	switch {
	case m.Id != q.Id || !m.Response || m.Opcode != 0 || m.Authoritative || m.Zero:
		t.Errorf("response to %v has the header %+v", q.Question, m.MsgHdr)
	case m.RecursionDesired != q.RecursionDesired || m.CheckingDisabled != q.CheckingDisabled:
		t.Errorf("response to %v does not copy RD and CD: %+v", q.Question, m.MsgHdr)
	case len(m.Question) != 1 || m.Question[0] != q.Question[0]:
		t.Errorf("response to %v has the question %v", q.Question, m.Question)
	case (m.IsEdns0() != nil) != c.opt:
		t.Errorf("response to %v has OPT %v, client has EDNS %v", q.Question, m.IsEdns0(), c.opt)
	case m.IsEdns0() != nil && m.IsEdns0().Do() != c.do:
		t.Errorf("response to %v has DO %v", q.Question, m.IsEdns0().Do())
	case len(out) > c.Limit:
		t.Errorf("response to %v has %d octets, more than %d", q.Question, len(out), c.Limit)
	}
	return m
}

// show returns a response as a line: RCODE, flags, records, extended error.
func show(m *dns.Msg) string {
	if m == nil {
		return "no response"
	}
	b := new(strings.Builder)
	b.WriteString(dns.RcodeToString[m.Rcode])
	if m.Truncated {
		b.WriteString(" TC")
	}
	if m.AuthenticatedData {
		b.WriteString(" AD")
	}
	for _, rr := range m.Answer {
		fmt.Fprintf(b, " [%s]", showRR(rr))
	}
	for _, rr := range m.Ns {
		fmt.Fprintf(b, " authority [%s]", showRR(rr))
	}
	if o := m.IsEdns0(); o != nil {
		for _, o := range o.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				fmt.Fprintf(b, " EDE %d", e.InfoCode)
			}
		}
	}
	return b.String()
}

// showRR returns rr as "OWNER TTL TYPE RDATA", but SOA records without RDATA.
func showRR(rr dns.RR) string {
	h := rr.Header()
	rdata := strings.TrimPrefix(rr.String(), h.String())
	if h.Rrtype == dns.TypeSOA {
		rdata = ""
	}
	if unknown, ok := rr.(*dns.RFC3597); ok {
		rdata = fmt.Sprintf(`\# %d %s`, len(unknown.Rdata)/2, unknown.Rdata)
	}
	return strings.TrimSpace(fmt.Sprintf("%s %d %s %s", strings.ToLower(h.Name), h.Ttl, dns.Type(h.Rrtype), rdata))
}

// A request is one query that a fake received.
type request struct {
	raw  []byte
	msg  *dns.Msg
	from netip.AddrPort
	tcp  bool
	n    int            // how many came before
	send func(b []byte) // from the address and port that was asked
	fake *fake
}

// reply returns a response with these records as its answer section.
func (r *request) reply(answer ...string) *dns.Msg {
	m := new(dns.Msg).SetReply(r.msg)
	m.RecursionAvailable = true
	if o := r.msg.IsEdns0(); o != nil {
		m.SetEdns0(1232, o.Do())
	}
	m.Answer = records(answer...)
	return m
}

// sendMsg sends m.
func (r *request) sendMsg(m *dns.Msg) { r.send(pack(m)) }

func pack(m *dns.Msg) []byte {
	m.Compress = true
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

func records(lines ...string) (rrs []dns.RR) {
	for _, s := range lines {
		rr, err := dns.NewRR(s)
		if err != nil {
			panic(err)
		}
		rrs = append(rrs, rr)
	}
	return rrs
}

// A fake is an upstream at a loopback address. It calls handle for each request,
// over UDP and TCP.
type fake struct {
	t      testing.TB
	addr   netip.AddrPort
	udp    *net.UDPConn
	handle func(*request)
	wg     sync.WaitGroup

	mu       sync.Mutex
	requests []*request // guarded by mu
}

// newFake starts a fake, which ends with the test. handle is called for one
// request at a time of each transport; it must not wait.
func newFake(t testing.TB, handle func(*request)) *fake {
	t.Helper()
	return newFakeAt(t, "127.0.0.1:0", handle)
}

func newFakeAt(t testing.TB, at string, handle func(*request)) *fake {
	t.Helper()
	for range 20 {
		ln, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		addr := ln.Addr().(*net.TCPAddr).AddrPort()
		udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
		if err != nil {
			ln.Close()
			continue // another process has the port for UDP
		}
		f := &fake{t: t, addr: addr, udp: udp, handle: handle}
		f.wg.Go(f.serveUDP)
		f.wg.Go(func() { f.serveTCP(ln) })
		t.Cleanup(func() {
			udp.Close()
			ln.Close()
			f.wg.Wait()
		})
		return f
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil
}

func (f *fake) upstream() Upstream { return Upstream{Addr: f.addr} }

func (f *fake) serveUDP() {
	buf := make([]byte, 65536)
	for {
		n, from, err := f.udp.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			f.serve(slices.Clone(buf[:n]), from, false, func(b []byte) { f.udp.WriteToUDPAddrPort(b, from) })
		}
	}
}

func (f *fake) serveTCP(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		f.wg.Go(func() { f.serveConn(conn) })
	}
}

func (f *fake) serveConn(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		msg := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, msg); err != nil {
			return
		}
		from := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
		f.serve(msg, from, true, func(b []byte) {
			conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
		})
	}
}

func (f *fake) serve(raw []byte, from netip.AddrPort, tcp bool, send func([]byte)) {
	r := &request{raw: raw, msg: new(dns.Msg), from: from, tcp: tcp, send: send, fake: f}
	if err := r.msg.Unpack(raw); err != nil {
		f.t.Errorf("the query does not unpack: %v\n%x", err, raw)
		return
	}
	f.mu.Lock()
	r.n = len(f.requests)
	f.requests = append(f.requests, r)
	f.mu.Unlock()
	f.handle(r)
}

// received returns the requests for a name so far; all if name is "".
func (f *fake) received(name string) (list []*request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.requests {
		if name == "" || strings.EqualFold(r.msg.Question[0].Name, name) {
			list = append(list, r)
		}
	}
	return list
}

// truth answers every question with one A record, and probes.
func truth(r *request) { r.sendMsg(r.truth()) }

func (r *request) truth() *dns.Msg {
	q := r.msg.Question[0]
	if q.Name == "." {
		return r.reply(". 60 IN NS a.root-servers.net.")
	}
	return r.reply(q.Name + " 60 IN A 192.0.2.1")
}

// isTruth is what show returns for truth.
func isTruth(name string) string { return "NOERROR [" + name + " 60 A 192.0.2.1]" }
