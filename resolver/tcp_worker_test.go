package resolver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// fakeSockets are the sockets of a tcpWorker whose client takes room octets.
type fakeSockets struct {
	worker *tcpWorker
	room   int
	err    error  // of the next write
	taken  []byte // what the client has taken
	closed int    // connections
}

func (f *fakeSockets) write(_ *tcpConn, b []byte) (int, error) {
	n := min(len(b), f.room)
	f.room -= n
	f.taken = append(f.taken, b[:n]...)
	return n, f.err
}

func (f *fakeSockets) await(*tcpConn) {}

func (f *fakeSockets) closeSocket(c *tcpConn) {
	f.closed++
	f.worker.recycle(c)
}

// frames returns the messages that the client has taken.
func (f *fakeSockets) frames() (msgs [][]byte) {
	for hasFrame(f.taken) {
		n := frameLen(f.taken)
		msgs, f.taken = append(msgs, f.taken[frameHeader:n]), f.taken[n:]
	}
	return msgs
}

// newFakeWorker returns a worker with fake sockets and one connection. Its time is
// 0 until the test sets another.
func newFakeWorker(t testing.TB, c Config) (*tcpWorker, *fakeSockets, *tcpConn) {
	t.Helper()
	if c.Zone == nil {
		c.Zone = acmePublisher()
	}
	c.Metrics = new(metrics.DNS)
	c.setDefaults()
	f, w := new(fakeSockets), new(tcpWorker)
	f.worker = w
	w.init(&Server{config: c, pending: newPending()}, f, func() {})
	w.now = time.Now()
	loopback := netip.MustParseAddr("127.0.0.1")
	return w, f, w.begin(loopback, loopback)
}

// A late response that has no room is dropped, and its query is answered again when
// there is room: no query remains without a response.
func TestALateResponseWithoutRoomIsAnsweredAgain(t *testing.T) {
	const n, size = maxForwarded, 60_000
	d := newFakeForwarder()
	known := false
	d.cached = func(q *wire.Query, c wire.Client, out []byte) []byte {
		if !known {
			return out
		}
		return appendForwarded(out, q, c, size)
	}
	w, f, c := newFakeWorker(t, Config{Forward: d})
	queries := make(map[uint16][]byte)
	for i := range uint16(n) {
		queries[i] = question(t, i, dns.TypeTXT, "www.example.com", edns(1232, keepalive()))
		w.received(c, framed(queries[i]))
	}
	if c.forwarded != n || c.reads() {
		t.Fatalf("the forwarder has %d queries of the connection, want %d; more are read: %v", c.forwarded, n, c.reads())
	}
	for range n {
		d.next(t).answer(size)
	}
	known = true
	for c.forwarded > 0 {
		w.deliver()
	}
	if len(c.out) > maxHeld+size || len(c.in) < n/2*len(queries[0]) {
		t.Errorf("the connection holds %d octets of responses and %d of queries", len(c.out), len(c.in))
	}
	w.clientClosed(c)
	for f.closed == 0 {
		f.room = 10_000 // the client takes part of a response at a time
		w.retry(c)
	}
	for _, got := range f.frames() {
		id := binary.BigEndian.Uint16(got)
		var q wire.Query
		q.Parse(queries[id])
		c := wire.Client{Limit: wire.MaxMessageLen, Stream: true, Options: wire.Options{Keepalive: 100}}
		if want := appendForwarded(nil, &q, c, size); !bytes.Equal(got, want) {
			t.Errorf("query %d gets %d octets, want %d", id, len(got), len(want))
		}
		delete(queries, id)
	}
	if len(queries) > 0 || len(f.taken) > 0 {
		t.Errorf("%d queries have no response, and %d octets are no response", len(queries), len(f.taken))
	}
	d.none(t)
}

// Closed connections leave small buffers to others, and no large ones.
func TestLargeBuffersAreNotKept(t *testing.T) {
	for _, tt := range []struct {
		first, second string
		kept          bool
	}{
		{"web.internal", "web.internal", true},
		{"some.internal", "many.internal", true},
		{"many.internal", "most.internal", false}, // together more than tcpKeep
	} {
		w, f, c := newFakeWorker(t, Config{})
		w.received(c, append(framed(question(t, 1, dns.TypeAAAA, tt.first)), framed(question(t, 2, dns.TypeAAAA, tt.second))...))
		f.room = 1 << 20
		w.retry(c)
		w.clientClosed(c)
		if n := len(f.frames()); n != 2 || f.closed != 1 {
			t.Errorf("%d responses are written, and %d connections are closed, want 2 and 1", n, f.closed)
		}
		if kept := len(w.spare) == 1; kept != tt.kept {
			t.Errorf("after responses for %s and %s, the buffer is kept: %v, want %v", tt.first, tt.second, kept, tt.kept)
		}
	}
}

// Queries that arrive while responses wait for the client are answered after them.
func TestQueriesAreAnsweredOnceResponsesAreTaken(t *testing.T) {
	w, f, c := newFakeWorker(t, Config{})
	f.room = 10
	for id := range uint16(3) {
		w.received(c, framed(question(t, id, dns.TypeAAAA, "web.internal")))
	}
	if c.out == nil || c.reads() {
		t.Errorf("%d octets wait for the client, and more queries are read: %v", len(c.out), c.reads())
	}
	f.room = 1 << 20
	w.retry(c)
	for id, msg := range f.frames() {
		if m := unpack(t, msg); int(m.Id) != id || len(m.Answer) != 3 {
			t.Errorf("response %d is %v", id, m)
		}
	}
	if c.out != nil || c.in != nil || !c.reads() {
		t.Errorf("the connection holds %d and %d octets", len(c.in), len(c.out))
	}
}

func TestAWriteThatFailsClosesTheConnection(t *testing.T) {
	w, f, c := newFakeWorker(t, Config{})
	f.err = errors.New("broken pipe")
	two := framed(question(t, 1, dns.TypeAAAA, "most.internal"))
	w.received(c, append(two, two...))
	if f.closed != 1 || w.server.conns.Load() != 0 || len(w.stock) != 1 || len(w.out) != 0 {
		t.Errorf("%d connections are closed, %d open, %d in stock; %d octets remain", f.closed, w.server.conns.Load(), len(w.stock), len(w.out))
	}
}

// Each connection is closed exactly at its deadline, for the right reason. The clock is
// not real.
func TestDeadlinesOfConnections(t *testing.T) {
	const idle, total = 10 * time.Second, 25 * time.Second
	query := framed(question(t, 1, dns.TypeAAAA, "web.internal"))
	other := framed(question(t, 1, dns.TypeTXT, "www.example.com"))
	for _, tt := range []struct {
		does  string
		sends map[time.Duration][]byte
		room  int
		stop  time.Duration // 0: never
		end   time.Duration
		why   metrics.Closing
	}{
		{"sends nothing", nil, 1 << 20, 0, idle, metrics.ClosedIdle},
		{"sends half a query", map[time.Duration][]byte{1 * time.Second: query[:20]}, 1 << 20, 0, idle, metrics.ClosedIdle},
		{"sends a query", map[time.Duration][]byte{4 * time.Second: query}, 1 << 20, 0, 14 * time.Second, metrics.ClosedIdle},
		{"sends queries until it is old", map[time.Duration][]byte{8 * time.Second: query, 16 * time.Second: query, 24 * time.Second: query}, 1 << 20, 0, total, metrics.ClosedOld},
		{"does not read", map[time.Duration][]byte{4 * time.Second: query}, 0, 0, 14 * time.Second, metrics.ClosedWrite},
		{"waits for the forwarder", map[time.Duration][]byte{4 * time.Second: other}, 1 << 20, 0, total, metrics.ClosedOld},
		{"is open when the server stops", map[time.Duration][]byte{4 * time.Second: query}, 1 << 20, 5 * time.Second, 5*time.Second + tcpGrace, metrics.ClosedStop},
		{"does not read when the server stops", map[time.Duration][]byte{4 * time.Second: query}, 0, 5 * time.Second, 5*time.Second + tcpGrace, metrics.ClosedWrite},
	} {
		t.Run(tt.does, func(t *testing.T) {
			w, f, c := newFakeWorker(t, Config{TCPIdle: idle, TCPTotal: total, Forward: newFakeForwarder()})
			f.room = tt.room
			began := w.now
			for f.closed == 0 {
				// The next event is the deadline, the order to stop, or a query.
				next := w.deadline()
				for at := range tt.sends {
					if at := began.Add(at); at.After(w.now) && at.Before(next) {
						next = at
					}
				}
				if at := began.Add(tt.stop); tt.stop > 0 && w.end.IsZero() && at.Before(next) {
					w.now = at
					w.end = w.now.Add(tcpGrace)
					continue
				}
				if !next.After(w.now) {
					t.Fatalf("the deadline is %v, and it is %v", next.Sub(began), w.now.Sub(began))
				}
				w.now = next
				if msg := tt.sends[w.now.Sub(began)]; msg != nil {
					w.received(c, msg)
				}
				w.expire()
			}
			closed := (&testServer{t: t, dns: w.server.config.Metrics}).closed()
			if got := w.now.Sub(began); got != tt.end || closed[tt.why.String()] != 1 {
				t.Errorf("the connection is closed after %v, want %v; reasons %v, want %v", got, tt.end, closed, tt.why)
			}
			if next := w.deadline(); tt.stop == 0 && !next.IsZero() || tt.stop > 0 && !w.finished() {
				t.Errorf("without connections, the deadline is %v, and finished is %v", next, w.finished())
			}
		})
	}
}

// A queue keeps responses while it has room. For others it queues empty ones.
func TestALateQueueIsBounded(t *testing.T) {
	wakes, c := 0, new(tcpConn)
	q := &lateQueue{room: 1000, wake: func() { wakes++ }}
	for range 5 {
		q.put(lateQuery{conn: c}, make([]byte, 400))
	}
	b := q.take()
	if wakes != 1 || len(b.responses) != 5 || len(b.octets) != 800 {
		t.Errorf("the worker is woken %d times and gets %d responses of %d octets, want 1, 5 and 800", wakes, len(b.responses), len(b.octets))
	}
	for i, r := range b.responses {
		if n := r.to - r.from; (n == 400) != (i < 2) || (n == 0) != (i >= 2) || r.conn != c {
			t.Errorf("response %d has %d octets", i, n)
		}
	}
	q.put(lateQuery{}, make([]byte, 60_000)) // larger than all the room: one is always taken
	if b = q.take(); wakes != 2 || len(b.responses) != 1 || len(b.octets) != 60_000 {
		t.Errorf("the worker is woken %d times and gets %d responses of %d octets, want 2, 1 and 60,000", wakes, len(b.responses), len(b.octets))
	}
}
