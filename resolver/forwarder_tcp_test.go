package resolver

import (
	"bytes"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// Responses may come in another order than queries (RFC 7766, Section 7). Local
// answers do not wait for the forwarder.
func TestResponsesOverTCPMayComeInAnotherOrder(t *testing.T) {
	d := newFakeForwarder()
	r := start(t, Config{Forward: d})
	s := dialTCP(t, r.Addrs()[0])
	var queries [][]byte
	for i := range uint16(10) {
		queries = append(queries, question(t, i, dns.TypeTXT, "www.example.com"))
		s.write(framed(queries[i]), framed(question(t, 100+i, dns.TypeAAAA, "web.internal")))
	}
	for i := range uint16(10) {
		if m := unpack(t, s.receive()); m.Id != 100+i || len(m.Answer) != 3 {
			t.Errorf("local query %d, between forwarded ones, gets %v", i, m)
		}
	}
	tasks := make([]*task, len(queries))
	for i := range tasks {
		tasks[i] = d.next(t)
	}
	for i := len(tasks) - 1; i >= 0; i-- {
		tasks[i].answer(100 * (i + 1))
		wantForwarded(t, s, queries[i], true, 100*(i+1))
	}
	if m := s.ask(question(t, 5, dns.TypeAAAA, "web.internal")); len(m.Answer) != 3 {
		t.Errorf("after that, the connection answers %v", m)
	}
	wantCounts(t, r.counts(), map[string]float64{"dns_requests_total 1 tcp TXT": 10, "dns_requests_total 1 tcp AAAA": 11})
}

// Responses of all sizes are queued at the same time.
func TestForwardedResponsesOverTCPAreWholeMessages(t *testing.T) {
	const n = maxForwarded
	d := newFakeForwarder()
	d.cached = func(q *wire.Query, c wire.Client, out []byte) []byte {
		if d.asked.Load() <= n {
			return out
		}
		return appendForwarded(out, q, c, 600*int(q.ID)) // those without room are asked for again
	}
	r := start(t, Config{Forward: d})
	s := dialTCP(t, r.Addrs()[0])
	queries := make(map[uint16][]byte)
	for i := range uint16(n) {
		queries[i] = question(t, i, dns.TypeTXT, "www.example.com")
		s.write(framed(queries[i]))
	}
	var tasks []*task
	for range n {
		tasks = append(tasks, d.next(t))
	}
	go func() {
		for _, k := range tasks {
			k.answer(600 * int(k.query[1]))
		}
	}()
	for range n {
		got := s.receive()
		id := uint16(got[0])<<8 | uint16(got[1])
		if want := forwarded(queries[id], true, 600*int(id)); !bytes.Equal(got, want) {
			t.Errorf("query %d gets %d octets, want %d: %x", id, len(got), len(want), got[:min(len(got), 50)])
		}
		delete(queries, id)
	}
	if len(queries) > 0 {
		t.Errorf("%d queries have no response", len(queries))
	}
}

// A client that closes its half gets the responses to all its queries.
func TestAHalfClosedConnectionGetsItsForwardedResponses(t *testing.T) {
	for _, tt := range []struct {
		does  string
		after []byte // what the client sends after its queries
		why   string
	}{
		{"whole queries", nil, "client"},
		{"half a frame after them", []byte{0, 40, 1}, "frame"},
	} {
		d := newFakeForwarder()
		r := start(t, Config{Forward: d})
		s := dialTCP(t, r.Addrs()[0])
		queries := [][]byte{question(t, 1, dns.TypeTXT, "one.example"), question(t, 2, dns.TypeTXT, "two.example")}
		s.write(framed(queries[0]), framed(queries[1]), tt.after)
		s.conn.CloseWrite()
		first, second := d.next(t), d.next(t)
		second.answer(40_000)
		wantForwarded(t, s, queries[1], true, 40_000)
		first.answer(0)
		wantForwarded(t, s, queries[0], true, 0)
		s.closed()
		wantCounts(t, r.counts(), map[string]float64{
			"tcp_connections_closed_total " + tt.why: 1,
			"dns_responses_total NOERROR":            2,
		})
	}
}

// A connection that waits for the forwarder is not idle.
func TestAConnectionIsNotIdleWhileTheForwarderHasItsQueries(t *testing.T) {
	const idle = 500 * time.Millisecond // the real clock; even a busy machine asks once in it
	d := newFakeForwarder()
	r := start(t, Config{Forward: d, TCPIdle: idle})
	s, half := dialTCP(t, r.Addrs()[0]), dialTCP(t, r.Addrs()[0])
	msg := question(t, 1, dns.TypeTXT, "www.example.com")
	s.query(msg)
	first := d.next(t)
	half.query(msg)
	half.conn.CloseWrite()
	second := d.next(t)
	for range 2 { // twice as long as others may be idle
		dialTCP(t, r.Addrs()[0]).closed()
	}
	first.answer(0)
	wantForwarded(t, s, msg, true, 0)
	second.answer(0)
	wantForwarded(t, half, msg, true, 0)
	half.closed()
	s.closed() // now it is idle
	wantCounts(t, r.counts(), map[string]float64{"tcp_connections_closed_total idle": 3, "tcp_connections_closed_total client": 1})
}

// A client may pipeline any number of queries. The forwarder has maxForwarded of them
// at most, the others wait in the kernel, and all are answered.
func TestTheForwarderHasABoundedNumberOfQueriesOfAConnection(t *testing.T) {
	const n = 3*maxForwarded + 50
	d := newFakeForwarder()
	r := start(t, Config{Forward: d})
	s := dialTCP(t, r.Addrs()[0])
	go func() {
		for i := range uint16(n) {
			s.conn.Write(framed(question(t, i, dns.TypeTXT, "www.example.com")))
		}
		s.conn.CloseWrite()
	}()
	other := dialTCP(t, r.Addrs()[0])
	pending, seen := []*task(nil), make(map[uint16]bool)
	for len(seen) < n {
		for len(pending) < maxForwarded && len(seen)+len(pending) < n {
			pending = append(pending, d.next(t))
		}
		// Another connection's queries are answered meanwhile.
		if m := other.ask(question(t, 1, dns.TypeAAAA, "web.internal")); len(m.Answer) != 3 {
			t.Fatalf("a local query on another connection gets %v", m)
		}
		d.none(t)
		for range min(len(pending), 1+len(seen)) {
			k := pending[0]
			pending = pending[1:]
			k.answer(0)
			got := s.receive()
			if want := forwarded(k.query, true, 0); !bytes.Equal(got, want) {
				t.Fatalf("got %x, want %x", got, want)
			}
			seen[uint16(got[0])<<8|uint16(got[1])] = true
		}
	}
	s.closed()
	wantCounts(t, r.counts(), map[string]float64{"dns_requests_total 1 tcp TXT": n, "tcp_connections_closed_total client": 1})
}

// For clients that do not read their responses, the server holds a bounded number of
// octets.
func TestForwardedResponsesThatAreNotReadAreBounded(t *testing.T) {
	const conns, size = 10, 60_000
	d := newFakeForwarder()
	var known atomic.Bool
	d.cached = func(q *wire.Query, c wire.Client, out []byte) []byte {
		if !known.Load() {
			return out
		}
		return appendForwarded(out, q, c, size)
	}
	r := start(t, Config{Forward: d, TCPWorkers: 1})
	var tasks []*task
	for range conns {
		s := dialTCP(t, r.Addrs()[0])
		s.conn.SetReadBuffer(4096) // the kernel takes little
		for i := range uint16(maxForwarded) {
			s.query(question(t, i, dns.TypeTXT, "www.example.com"))
		}
		for range maxForwarded {
			tasks = append(tasks, d.next(t))
		}
	}
	known.Store(true)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for _, k := range tasks {
		k.answer(size)
	}
	// A local query on another connection is answered after all of them.
	if m := dialTCP(t, r.Addrs()[0]).ask(question(t, 1, dns.TypeAAAA, "web.internal")); len(m.Answer) != 3 {
		t.Errorf("a local query gets %v", m)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > conns*3*maxHeld+4<<20 {
		t.Errorf("for %d responses of %d octets that are not read, the server holds %d octets", len(tasks), size, held)
	}
	d.none(t)
}

// A connection whose responses are not read is closed, even if the forwarder has a
// query of it.
func TestAConnectionWhoseForwardedResponsesAreNotReadIsClosed(t *testing.T) {
	d := newFakeForwarder()
	var known atomic.Bool
	d.cached = func(q *wire.Query, c wire.Client, out []byte) []byte {
		if !known.Load() {
			return out
		}
		return appendForwarded(out, q, c, 60_000)
	}
	r := start(t, Config{Forward: d, TCPIdle: 100 * time.Millisecond})
	s := dialTCP(t, r.Addrs()[0])
	for i := range uint16(300) { // more than the buffers of both sides hold
		s.query(question(t, i, dns.TypeTXT, "www.example.com"))
	}
	var tasks []*task
	for range maxForwarded {
		tasks = append(tasks, d.next(t))
	}
	known.Store(true)
	for _, k := range tasks[1:] {
		k.answer(60_000)
	}
	r.awaitClosed(t, "write", 1)
	tasks[0].answer(60_000)
	wantCounts(t, r.counts(), map[string]float64{"tcp_connections_open": 0})
}

// closedCounts are numbers of closed connections, by reason.
type closedCounts map[string]float64

// closed returns how many connections the server has closed.
func (r *testServer) closed() closedCounts {
	closed := make(closedCounts)
	for series, n := range counted(r.t, r.dns) {
		if why, ok := strings.CutPrefix(series, "tcp_connections_closed_total "); ok {
			closed[why] = n
		}
	}
	return closed
}

// since returns a reason for which more connections are closed than before, or "".
func (c closedCounts) since(before closedCounts) string {
	for why, n := range c {
		if n != before[why] {
			return why
		}
	}
	return ""
}

// awaitClosed returns when n connections have been closed for that reason.
func (r *testServer) awaitClosed(t testing.TB, why string, n int) {
	t.Helper()
	for end := time.Now().Add(patience); r.closed()[why] < float64(n); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("the connection stays open")
		}
	}
}

// A response to a client that has closed does not reach the next one, which has the
// same descriptor and the same memory.
func TestAForwardedResponseNeverReachesAnotherConnection(t *testing.T) {
	d := newFakeForwarder()
	r := start(t, Config{Forward: d, TCPWorkers: 1, TCPConns: 1, Listen: []string{"127.0.0.1:0"}})
	secret := question(t, 1, dns.TypeTXT, "secret.example")
	for i := range 20 {
		s := dialTCP(t, r.Addrs()[0])
		s.query(secret)
		k := d.next(t)
		s.conn.SetLinger(0)
		s.conn.Close() // a reset: after a half close, the server would wait for the response
		r.awaitClosed(t, "read", i+1)

		next := dialTCP(t, r.Addrs()[0])
		k.answer(1000)
		// The queue is empty before this is answered.
		for range 3 {
			if m := next.ask(question(t, 1, dns.TypeAAAA, "web.internal")); len(m.Answer) != 3 {
				t.Fatalf("the next client gets %v", m)
			}
		}
		next.conn.CloseWrite()
		next.closed()
	}
	if lost := r.counts()["dns_dropped_total tcp send"]; lost != 20 {
		t.Errorf("%v responses are counted as lost, want 20", lost)
	}
}

// A client whose queries wait for the forwarder on all connections does not keep
// others out.
func TestAConnectionThatWaitsForTheForwarderMakesRoom(t *testing.T) {
	d := newFakeForwarder()
	r := start(t, Config{Forward: d, TCPWorkers: 1, TCPConns: 2, Listen: []string{"127.0.0.1:0"}})
	var waiting []*stream
	var tasks []*task
	for range 2 {
		s := dialTCP(t, r.Addrs()[0])
		s.query(question(t, 1, dns.TypeTXT, "www.example.com"))
		tasks = append(tasks, d.next(t))
		waiting = append(waiting, s)
	}
	dialTCP(t, r.Addrs()[0]).wantOpen()
	waiting[0].closed()
	for _, k := range tasks {
		k.answer(1000)
	}
	wantCounts(t, r.counts(), map[string]float64{"tcp_connections_closed_total full": 1, "tcp_connections_closed_total stop": 2})
}
