package resolver

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/socket"
	"github.com/internaldns/internaldns/zone/wire"
)

// A response is late if the forwarder has it only after the worker has continued with
// other queries. Over UDP, the forwarder's goroutine sends it: a datagram needs only
// the socket, and a lock shows whether that is open. Over TCP, it is queued for the
// connection's worker: only the worker knows whether the connection is still the same
// client's, and whether there is room to write.

// forwardGrace is how long, after the order to stop, the server waits for the
// forwarder's responses. If all upstreams are dead, the forwarder gives up within that
// time. If a response takes longer, its client asks again.
const forwardGrace = 2 * time.Second

// pending counts the queries that the forwarder has and that have no response yet.
type pending struct {
	count   atomic.Int64
	stopped atomic.Bool   // no more queries are added
	empty   chan struct{} // gets an element when stopped is set and count is 0
}

func newPending() *pending { return &pending{empty: make(chan struct{}, 1)} }

// add counts a query that is about to be submitted. It reports false if the
// server is stopping and the query must not be submitted.
func (p *pending) add() bool {
	p.count.Add(1)
	if p.stopped.Load() {
		p.done(1)
		return false
	}
	return true
}

// done notes that n queries have been answered, or never will be.
func (p *pending) done(n int) {
	if p.count.Add(int64(-n)) == 0 && p.stopped.Load() {
		select {
		case p.empty <- struct{}{}:
		default:
		}
	}
}

// wait makes add report false from now on, and waits until all queries are done,
// but not longer than forwardGrace.
func (p *pending) wait() {
	p.count.Add(1)
	p.stopped.Store(true)
	p.done(1)
	select {
	case <-p.empty:
	case <-time.After(forwardGrace):
	}
}

// A lateDatagram is a query over UDP that the forwarder has.
type lateDatagram struct {
	worker   *udpWorker
	replyTo  socket.ReplyTo
	src      netip.Addr
	qtype    uint16
	qlen     int // octets
	received time.Time
}

// later returns the callback that sends the response to the i-th datagram, d. It
// may be called at any time, from any goroutine. It keeps nothing of the batch.
func (w *udpWorker) later(i int, d socket.Datagram) func(msg []byte) {
	l := &lateDatagram{worker: w, src: d.Src.Addr(), qtype: w.q.Type, qlen: len(d.Msg), received: w.now}
	w.batch.ReplyTo(i, &l.replyTo)
	return l.send
}

// send sends msg, unless the socket is closed. It does not wait: if the socket's
// buffer is full, the response is lost.
func (l *lateDatagram) send(msg []byte) {
	w := l.worker
	defer w.pending.done(1)
	w.lateMu.Lock()
	defer w.lateMu.Unlock()
	if w.closed {
		return
	}
	noteForwarded(w.lateShard, l.qtype, l.src, l.qlen, msg)
	if !w.batch.SendTo(&l.replyTo, msg) {
		w.lateShard.Drop(metrics.DropSend)
	}
	w.lateShard.Flush(time.Since(l.received))
}

const (
	// lateRoom is how many octets of responses a worker's queue takes: thousands
	// of usual ones. The worker empties it each time it wakes.
	lateRoom = 1 << 20

	// lateKeep is how many responses an empty queue keeps room for.
	lateKeep = 1024
)

// A lateQueue holds the forwarder's responses to queries over TCP until the worker
// takes them.
type lateQueue struct {
	pending *pending
	room    int    // most octets of all responses together; one is always taken
	wake    func() // wakes the worker; it is called with mu locked, and must not wait

	mu     sync.Mutex
	closed bool           // guarded by mu; the worker has ended
	shard  *metrics.Shard // the worker's; guarded by mu when closed
	batch  lateBatch      // guarded by mu

	taken lateBatch // the worker's
}

// A lateBatch is a sequence of responses.
type lateBatch struct {
	responses []lateResponse
	octets    []byte // of all responses
}

// A lateQuery is a query over TCP that the forwarder has.
type lateQuery struct {
	conn     *tcpConn // only the worker may look into it
	number   uint64   // conn's when it sent the query
	query    []byte   // a copy that gets the same response, with memory of its own
	qtype    uint16
	qlen     int // of the query itself, in octets
	received time.Time
}

// A lateResponse is the response to a lateQuery: octets from to to of its batch.
// It is empty if the queue had no room for it.
type lateResponse struct {
	lateQuery
	from, to int
}

// later returns the callback that queues the response to r.q, which c has sent as
// msg.
func (q *lateQueue) later(c *tcpConn, r *responder, msg []byte) func(resp []byte) {
	l := lateQuery{c, c.number, wire.AppendQuery(nil, &r.q), r.q.Type, len(msg), r.now}
	return func(resp []byte) { q.put(l, resp) }
}

// put queues resp, the response to l. If there is no room, it queues an empty
// response.
func (q *lateQueue) put(l lateQuery, resp []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		q.lose(1)
		return
	}
	b := &q.batch
	r := lateResponse{lateQuery: l, from: len(b.octets)}
	if r.from == 0 || r.from+len(resp) <= q.room {
		b.octets = append(b.octets, resp...)
	}
	r.to = len(b.octets)
	b.responses = append(b.responses, r)
	if len(b.responses) == 1 {
		q.wake()
	}
}

// take returns what is queued and empties the queue. The batch is good until the
// next call. Only the worker may call take. It must call pending.done for each
// response.
func (q *lateQueue) take() *lateBatch {
	b := &q.taken
	clear(b.responses) // so that the copies of queries can be freed
	b.responses, b.octets = b.responses[:0], b.octets[:0]
	if cap(b.responses) > lateKeep {
		b.responses = nil
	}
	if cap(b.octets) > tcpKeep {
		b.octets = nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.batch, q.taken = q.taken, q.batch
	return b
}

// close drops what is queued and all responses that come later, and calls wake no
// more. The worker must have ended.
func (q *lateQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.lose(len(q.batch.responses))
	q.batch = lateBatch{}
}

// lose counts n responses whose connections are closed. q.mu must be locked, and
// the queue closed.
func (q *lateQueue) lose(n int) {
	for range n {
		q.shard.Drop(metrics.DropSend)
	}
	q.shard.Flush(0)
	if n > 0 {
		q.pending.done(n)
	}
}
