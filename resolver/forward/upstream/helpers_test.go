package upstream

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/clock"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
	"go.uber.org/zap"
)

// startAsker returns an Asker at work, which stops with the test.
func startAsker(t testing.TB, change func(c *Config)) *Asker {
	t.Helper()
	c := Config{Clock: clock.New(), MaxQueries: 1000, IsLocal: func([]byte) bool { return false }, Log: zap.NewNop()}
	c.Timers = clock.NewTimers(c.Clock)
	if change != nil {
		change(&c)
	}
	a := NewAsker(c)
	a.Start()
	t.Cleanup(func() {
		c.Timers.Stop()
		a.Stop()
	})
	return a
}

// An owner collects the events of its queries.
type owner struct {
	sync.Mutex
	events chan Event
}

func newOwner() *owner { return &owner{events: make(chan Event, 100)} }

func (o *owner) Step(_ *Query, ev Event) { o.events <- ev }

// ask asks q and returns the error of Ask.
func (o *owner) ask(a *Asker, q *Query) error {
	o.Lock()
	defer o.Unlock()
	return a.Ask(q, o)
}

// final returns the final event.
func (o *owner) final(t testing.TB) Event {
	t.Helper()
	for {
		select {
		case ev := <-o.events:
			if ev.Hint == 0 {
				return ev
			}
		case <-time.After(10 * time.Second):
			t.Fatal("no final event within 10 s")
		}
	}
}

// example is a question.
var example = message.Question{Name: "\x07example\x00", Type: wire.TypeA}

// query returns a query for example over UDP.
func query(s *Server) *Query {
	return &Query{Server: s, Question: example, Transport: metrics.OverUDP, EDNS: true, MixedCase: true}
}

// asked asks example over UDP and returns the final event.
func asked(t testing.TB, a *Asker, s *Server) Event {
	t.Helper()
	o := newOwner()
	if err := o.ask(a, query(s)); err != nil {
		t.Fatal(err)
	}
	return o.final(t)
}

// answer returns the response to msg, a query with an OPT record, with an A record
// whose last octet is n.
func answer(msg []byte, n byte) []byte {
	m := append([]byte(nil), msg[:len(msg)-wire.EmptyOPTLen]...)
	m[2], m[3], m[7], m[11] = 0x80, 0x80, 1, 0
	return append(m, 0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, n)
}

// isAnswer reports whether ev is the response with an address that ends in n.
func isAnswer(ev Event, n byte) bool {
	return ev.Err == nil && ev.Response != nil && len(ev.Response.Records) > 0 && ev.Response.Records[len(ev.Response.Records)-1] == n
}

// A responder is a server at a loopback address that calls handle for each
// datagram. from has the addresses that sent them.
type responder struct {
	conn *net.UDPConn
	mu   sync.Mutex
	from []netip.AddrPort // guarded by mu
}

func newResponder(t testing.TB, at string, handle func(msg []byte, reply func([]byte))) *responder {
	t.Helper()
	r := &responder{conn: listenAt(t, at)}
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := r.conn.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			r.mu.Lock()
			r.from = append(r.from, from)
			r.mu.Unlock()
			handle(append([]byte(nil), buf[:n]...), func(b []byte) { r.conn.WriteToUDPAddrPort(b, from) })
		}
	}()
	return r
}

// truth answers with 1.
func truth(msg []byte, reply func([]byte)) { reply(answer(msg, 1)) }

// silence does not answer.
func silence([]byte, func([]byte)) {}

func (r *responder) addr() netip.AddrPort { return addrOf(r.conn) }

// received returns how many datagrams have come.
func (r *responder) received() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.from)
}

func addrOf(conn *net.UDPConn) netip.AddrPort {
	return netip.MustParseAddrPort(conn.LocalAddr().String())
}

func listenAt(t testing.TB, at string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// frame returns msg as a frame of a stream.
func frame(msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
}
