package resolver

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// A fakeForwarder is a Forwarder whose queries wait until the test answers them.
type fakeForwarder struct {
	cached func(q *wire.Query, c wire.Client, out []byte) []byte // nil: nothing is cached
	submit func(k *task) bool                                    // nil: all are taken
	tasks  chan *task                                            // what was taken, unless submit is set
	asked  atomic.Int64                                          // calls of Cached
}

// A task is a query that a fakeForwarder has taken.
type task struct {
	query  []byte
	client wire.Client
	reply  func(msg []byte)
}

func newFakeForwarder() *fakeForwarder { return &fakeForwarder{tasks: make(chan *task, 20_000)} }

func (d *fakeForwarder) Cached(q *wire.Query, c wire.Client, now time.Time, out []byte) []byte {
	d.asked.Add(1)
	if now.IsZero() || time.Since(now) > patience {
		panic(fmt.Sprintf("Cached is called with the time %v", now))
	}
	if d.cached == nil {
		return out
	}
	return d.cached(q, c, out)
}

func (d *fakeForwarder) Submit(q *wire.Query, c wire.Client, reply func(msg []byte)) bool {
	k := &task{wire.AppendQuery(nil, q), c, reply}
	if d.submit != nil {
		return d.submit(k)
	}
	d.tasks <- k
	return true
}

// next returns the task that was taken next.
func (d *fakeForwarder) next(t testing.TB) *task {
	t.Helper()
	select {
	case k := <-d.tasks:
		return k
	case <-time.After(patience):
		t.Fatal("no query reaches the forwarder")
		return nil
	}
}

// none fails if a query was taken.
func (d *fakeForwarder) none(t testing.TB) {
	t.Helper()
	select {
	case k := <-d.tasks:
		t.Errorf("a query reaches the forwarder: %v", unpack(t, k.query))
	default:
	}
}

// answer replies with about size octets. Then it overwrites the message, which must
// not be kept.
func (k *task) answer(size int) {
	var q wire.Query
	q.Parse(k.query)
	msg := appendForwarded(nil, &q, k.client, size)
	k.reply(msg)
	for i := range msg {
		msg[i] = 0xEE
	}
}

// appendForwarded appends the response of fakeForwarders to q: a TXT record of about
// size octets that no other query gets. If it does not fit, TC is set instead.
func appendForwarded(out []byte, q *wire.Query, c wire.Client, size int) []byte {
	out = wire.AppendHead(out, q, wire.NoError, wire.FlagRA)
	head := len(out)
	out = append(out, 0xC0, wire.HeaderLen, 0, wire.TypeTXT, 0, wire.ClassIN, 0, 0, 0, 60, 0, 0)
	out = append(out, byte(min(len(q.Name())+2, 255)), byte(q.ID>>8), byte(q.ID))
	out = append(out, q.Name()[:min(len(q.Name()), 253)]...)
	for len(out) < size {
		n := min(255, size-len(out))
		out = append(append(out, byte(n)), bytes.Repeat([]byte{byte(q.ID)}, n)...)
	}
	binary.BigEndian.PutUint16(out[head+10:], uint16(len(out)-head-rrHead))
	if len(out)+wire.OPTLen(q, c.Options) > c.Limit {
		out = out[:head]
		wire.SetTC(out)
	} else {
		wire.SetCounts(out, 1, 0)
	}
	return wire.AppendOPT(out, q, wire.NoError, c.Options)
}

// rrHead is the length of a record without its RDATA and with a compressed owner, in
// octets.
const rrHead = 12

// forwarded returns the response to query from a fakeForwarder that answers with about
// size octets.
func forwarded(query []byte, stream bool, size int) []byte {
	var q wire.Query
	q.Parse(query)
	c := wire.Client{Limit: min(int(q.UDPSize), DefaultMaxUDPSize)}
	if stream {
		c.Limit = wire.MaxMessageLen
	}
	return appendForwarded(nil, &q, c, size)
}

// An asker is a client over either transport.
type asker interface {
	query(msg []byte)
	receive() []byte
}

func (c *client) query(msg []byte) { c.send(msg) }
func (s *stream) query(msg []byte) { s.write(framed(msg)) }

// transports are UDP and TCP.
var transports = []struct {
	name   string
	stream bool
	dial   func(t testing.TB, server netip.AddrPort) asker
}{
	{"UDP", false, func(t testing.TB, server netip.AddrPort) asker { return dialUDP(t, server) }},
	{"TCP", true, func(t testing.TB, server netip.AddrPort) asker { return dialTCP(t, server) }},
}

// wantForwarded fails unless the next response is the one to msg.
func wantForwarded(t testing.TB, a asker, msg []byte, stream bool, size int) {
	t.Helper()
	if got, want := a.receive(), forwarded(msg, stream, size); !bytes.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", unpack(t, got), unpack(t, want))
	}
}

// A response from the forwarder's cache reaches the client unchanged.
func TestCachedForwardedNamesAreAnsweredAtOnce(t *testing.T) {
	var client atomic.Pointer[wire.Client]
	d := newFakeForwarder()
	d.cached = func(q *wire.Query, c wire.Client, out []byte) []byte {
		client.Store(&c)
		return appendForwarded(out, q, c, 200)
	}
	r := start(t, Config{Forward: d, MaxUDPSize: 4000})
	for _, tr := range transports {
		for _, tt := range []struct {
			options   []func(*dns.Msg)
			limit     int // over UDP
			keepalive bool
		}{
			{nil, 512, false},
			{[]func(*dns.Msg){edns(1232)}, 1232, false},
			{[]func(*dns.Msg){edns(65535)}, 4000, false},
		} {
			a := tr.dial(t, r.Addrs()[0])
			msg := question(t, 7, dns.TypeTXT, "WWW.example.com", tt.options...)
			a.query(msg)
			wantForwarded(t, a, msg, tr.stream, 200)
			want := wire.Client{Addr: netip.MustParseAddr("127.0.0.1"), Limit: tt.limit}
			if tr.stream {
				want.Limit, want.Stream, want.Options.Keepalive = wire.MaxMessageLen, true, 100
			}
			if got := client.Load(); *got != want {
				t.Errorf("over %s, the forwarder gets the client %+v, want %+v", tr.name, *got, want)
			}
		}
	}
	d.none(t)
	wantCounts(t, r.counts(), map[string]float64{"dns_requests_total 1 udp TXT": 3, "dns_requests_total 1 tcp TXT": 3, "dns_responses_total NOERROR": 6})
}

// No query for a name in the zones is forwarded, from any client, of any type.
func TestLocalNamesNeverReachTheForwarder(t *testing.T) {
	d := newFakeForwarder()
	r := listen(t, Config{Forward: d})
	unready := listen(t, Config{Forward: d, Zone: zone.NewPublisher(loopbackInAcme())})
	w, out := r.responderOf(false), make([]byte, 0, wire.MaxMessageLen)
	u := unready.responderOf(false)
	for _, src := range []string{"127.0.0.1", "192.0.2.1", "fdaa:0:18:a7b:7d:f066:b83b:2", "fdaa:0:19::2", "::1", "fd00::1"} {
		for _, dst := range []string{"127.0.0.1", "fdaa::3", "fdaa:0:18::3"} {
			for _, name := range []string{
				"internal", "flycast", "fly-local-6pn", "a.a.d.f.ip6.arpa",
				"web.internal", "WEB.Internal", "nobody.internal", "a.b.c.d.internal", "_apps.internal", `web\.internal.internal`,
				"web.flycast", "nobody.FLYCAST", "x.fly-local-6pn", "8.1.0.0.0.0.0.0.a.a.d.f.ip6.arpa", "x.a.a.d.f.ip6.arpa",
			} {
				for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeDS, dns.TypeNS, dns.TypeSOA, dns.TypeANY, dns.TypeDNSKEY, dns.TypeHTTPS, 65280} {
					from, to := netip.MustParseAddr(src), netip.MustParseAddr(dst)
					msg := question(t, 1, qtype, name)
					for _, r := range []*responder{w, u} {
						m := unpack(t, r.respond(from, to, msg, out))
						if r.missed || !m.RecursionAvailable {
							t.Errorf("%s %s from %s at %s: missed %v, response %v", dns.Type(qtype), name, src, dst, r.missed, m)
						}
					}
				}
			}
		}
	}
	if n := d.asked.Load(); n != 0 {
		t.Errorf("the forwarder was asked %d times", n)
	}
}

// responderOf returns the responder of r's first UDP worker or, if stream, one like
// those of its TCP workers.
func (r *testServer) responderOf(stream bool) *responder {
	if !stream {
		w := &r.workers[0].responder
		w.now = time.Now()
		return w
	}
	w := r.newTCPResponder()
	w.now = time.Now()
	return &w
}

// The forwarder has its own access list. The resolver forwards queries of clients
// without a network too.
func TestForwardedNamesAreAnsweredForAllClients(t *testing.T) {
	d := newFakeForwarder()
	d.cached = func(q *wire.Query, c wire.Client, out []byte) []byte { return appendForwarded(out, q, c, 0) }
	r := listen(t, Config{Forward: d})
	unready := listen(t, Config{Forward: d, Zone: zone.NewPublisher(loopbackInAcme())})
	out := make([]byte, 0, wire.MaxMessageLen)
	for _, src := range []string{"127.0.0.1", "192.0.2.1", "fdaa:0:18:a7b:7d:f066:b83b:2", "fd00::1", "::ffff:192.0.2.1"} {
		for _, name := range []string{"example.com", ".", "com", "internal.example.com", "internal2", "arpa", "ip6.arpa", "a.d.f.ip6.arpa", "b.a.d.f.ip6.arpa", "in-addr.arpa", `x.web\.internal`} {
			for _, stream := range []bool{false, true} {
				for _, r := range []*testServer{r, unready} {
					msg := question(t, 1, dns.TypeTXT, name)
					got := r.responderOf(stream).respond(netip.MustParseAddr(src), apiAddr, msg, out)
					if want := forwarded(msg, stream, 0); !bytes.Equal(got, want) {
						t.Errorf("%s from %s: got %x, want %x", name, src, got, want)
					}
				}
			}
		}
	}
}

// A client whose source is in one network, and whose destination in another, gets no
// names at all.
func TestAClientInTwoNetworksIsRefusedForwardedNames(t *testing.T) {
	d := newFakeForwarder()
	r := listen(t, Config{Forward: d})
	msg := question(t, 1, dns.TypeTXT, "www.example.com")
	w := r.responderOf(false)
	m := unpack(t, w.respond(netip.MustParseAddr("fdaa:0:19::2"), netip.MustParseAddr("fdaa:0:18::3"), msg, make([]byte, 0, wire.MaxMessageLen)))
	if m.Rcode != dns.RcodeRefused || w.missed || d.asked.Load() != 0 {
		t.Errorf("the response is %v, and the forwarder was asked %d times", m, d.asked.Load())
	}
}

// RA is set in every response if the server forwards, and otherwise in none.
func TestRAIsSetIfAndOnlyIfForwardingIsOn(t *testing.T) {
	d := newFakeForwarder()
	d.submit = func(*task) bool { return false }
	for _, on := range []bool{true, false} {
		c := Config{}
		if on {
			c.Forward = d
		}
		r := listen(t, c)
		for _, stream := range []bool{false, true} {
			w, out := r.responderOf(stream), make([]byte, 0, wire.MaxMessageLen)
			for _, k := range kinds {
				msg := k.query(t, 1)
				from, to := netip.MustParseAddr(k.src), netip.MustParseAddr("fdaa::3")
				resp := w.respond(from, to, msg, out)
				if w.missed {
					resp = w.submit(from, msg, out, nil)
				}
				if m := unpack(t, resp); m.RecursionAvailable != on || m.Rcode != int(k.rcode) {
					t.Errorf("%s with forwarding on: %v: %v, want %v", k.name, on, m, k.rcode)
				}
			}
		}
	}
}

func TestForwardedNamesAreRefusedWithoutAForwarder(t *testing.T) {
	refuses := newFakeForwarder()
	refuses.submit = func(*task) bool { return false }
	for _, tt := range []struct {
		does    string
		forward Forwarder
		ede     string
	}{
		{"forwarding is off", nil, "[20]"},
		{"the forwarder does not take the query", refuses, "[]"},
	} {
		r := start(t, Config{Forward: tt.forward})
		for _, tr := range transports {
			a := tr.dial(t, r.Addrs()[0])
			a.query(question(t, 9, dns.TypeA, "example.com", edns(1232)))
			m := unpack(t, a.receive())
			codes := []uint16{}
			for _, o := range m.IsEdns0().Option {
				codes = append(codes, o.(*dns.EDNS0_EDE).InfoCode)
			}
			if m.Rcode != dns.RcodeRefused || m.Id != 9 || m.Authoritative || fmt.Sprint(codes) != tt.ede {
				t.Errorf("%s: over %s: %v, want REFUSED with the extended errors %s", tt.does, tr.name, m, tt.ede)
			}
			a.query(question(t, 9, dns.TypeA, "example.com"))
			if m := unpack(t, a.receive()); m.Rcode != dns.RcodeRefused || m.IsEdns0() != nil {
				t.Errorf("%s: without EDNS over %s: %v, want REFUSED alone", tt.does, tr.name, m)
			}
		}
		wantCounts(t, r.counts(), map[string]float64{"dns_responses_total REFUSED": 4})
	}
}

// A late response leaves from the address that was asked, like any other, and reaches
// the client that asked.
func TestALateResponseLeavesFromTheAddressAsked(t *testing.T) {
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
			d := newFakeForwarder()
			r := start(t, Config{Listen: []string{tt.listen}, Forward: d})
			type asked struct {
				conn   *net.UDPConn
				server netip.AddrPort
				msg    []byte
			}
			var all []asked
			for i, ask := range tt.ask {
				for j := range 3 {
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
					a := asked{pc.(*net.UDPConn), server, question(t, uint16(i<<8|j), dns.TypeTXT, "www.example.com")}
					a.conn.SetDeadline(time.Now().Add(patience))
					if _, err := a.conn.WriteToUDPAddrPort(a.msg, server); err != nil {
						t.Fatal(err)
					}
					all = append(all, a)
				}
			}
			var tasks []*task
			for range all {
				tasks = append(tasks, d.next(t))
			}
			// Local queries in between use the batch's buffers.
			c := dialUDP(t, netip.AddrPortFrom(all[0].server.Addr(), all[0].server.Port()))
			for range 100 {
				c.ask(question(t, 1, dns.TypeAAAA, "web.internal"))
			}
			for i := range tasks {
				tasks[len(tasks)-1-i].answer(100)
			}
			for _, a := range all {
				buf := make([]byte, 512)
				n, from, err := a.conn.ReadFromUDPAddrPort(buf)
				if err != nil {
					t.Fatalf("asked at %v: %v", a.server, err)
				}
				if from != a.server {
					t.Errorf("asked at %v, the response comes from %v", a.server, from)
				}
				if want := forwarded(a.msg, false, 100); !bytes.Equal(buf[:n], want) {
					t.Errorf("asked at %v\n got %x\nwant %x", a.server, buf[:n], want)
				}
			}
			wantCounts(t, r.counts(), map[string]float64{"dns_responses_total NOERROR": float64(len(all) + 100)})
		})
	}
}

// Late responses are counted like others, with the time that the client has waited.
func TestLateResponsesAreCounted(t *testing.T) {
	for _, tr := range transports {
		d := newFakeForwarder()
		r := start(t, Config{Forward: d})
		a := tr.dial(t, r.Addrs()[1])
		msg := question(t, 1, dns.TypeTXT, "www.example.com")
		a.query(msg)
		k := d.next(t)
		const wait = 20 * time.Millisecond
		time.AfterFunc(wait, func() { k.answer(5000) })
		a.receive()
		counts := r.counts()
		proto := strings.ToLower(tr.name)
		wantCounts(t, counts, map[string]float64{
			"dns_requests_total 2 " + proto + " TXT": 1,
			"dns_responses_total NOERROR":            1,
			"dns_responses_truncated_total udp":      map[bool]float64{false: 1}[tr.stream],
			"dns_dropped_total " + proto + " send":   0,
		})
		if took := durations(t, r.dns, proto); took < wait.Seconds() {
			t.Errorf("over %s, a response after %v is counted with %v s", tr.name, wait, took)
		}
	}
}

// durations returns the sum of all durations that were counted for a transport,
// in seconds.
func durations(t testing.TB, d *metrics.DNS, proto string) float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(d)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "internaldns_dns_request_duration_seconds" && m.GetLabel()[0].GetValue() == proto {
				return m.GetHistogram().GetSampleSum()
			}
		}
	}
	t.Fatal("no durations are counted")
	return 0
}
