package resolver

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/zone/wire"
)

const (
	// frameHeader is the size of the length field before each message over TCP,
	// in octets (RFC 1035, Section 4.2.2).
	frameHeader = 2

	// tcpWrite is how many octets of responses are collected before they are
	// written, even if more queries have been read.
	tcpWrite = 32 << 10

	// tcpGrace is how long, after the order to stop, a connection may go on
	// with queries that are on their way.
	tcpGrace = 200 * time.Millisecond

	// acceptPause is how long accepting pauses when the system is out of
	// descriptors or memory. Connections wait in the kernel meanwhile.
	acceptPause = 50 * time.Millisecond

	// maxForwarded is how many queries of one connection the forwarder may have
	// at one time. At that many, no more of its queries are read, local ones
	// included. Only resolvers pipeline so many, and they use several
	// connections. A larger number costs 500 octets for each query, and lets
	// one connection fill the queue of late responses.
	maxForwarded = 100

	// maxHeld is how many octets of late responses a connection holds for a
	// client that does not read them.
	maxHeld = 64 << 10
)

// A tcpServer accepts and serves the connections of all TCP listeners. There are
// two: tcpEpoll on Linux, and tcpGoroutines on other systems. Both serve
// connections with a tcpWorker. They differ in how they wait.
type tcpServer interface {
	// add takes over ln, which is bound to addr. It must be called before serve.
	add(ln *net.TCPListener, addr netip.AddrPort) error
	// serve accepts and answers until stop is called, and returns when all
	// connections are closed. It reports errors to fail and continues with
	// what still works; stop must follow.
	serve(fail func(error))
	// stop ends accepting and gives open connections tcpGrace.
	stop()
	// close closes what serve used. serve must have returned, or never be called.
	close()
	// waiting is the part of Server.Waiting that is about TCP.
	waiting() int
}

// A tcpSockets reads, writes and closes the sockets of a worker's connections. It
// calls the worker's methods for what happens to them, one at a time.
type tcpSockets interface {
	// write writes b without waiting for the client, and returns how many octets
	// the system took.
	write(c *tcpConn, b []byte) (n int, err error)
	// await is called after each change of c. If c.out has octets, write must be
	// tried again once there is room. Otherwise, if c.reads(), what arrives must
	// be read. Otherwise c waits for nothing from its client.
	await(c *tcpConn)
	// closeSocket closes c's socket. It must call the worker's recycle as soon as
	// nothing uses c or its buffers.
	closeSocket(c *tcpConn)
}

// A tcpWorker turns what happens to connections into responses:
//
//	begin          a client has connected
//	received       it has sent octets
//	clientClosed   it has closed its half of the connection
//	written        it has taken responses that had to wait
//	deliver        the forwarder has responses
//	expire         it is the time that deadline returned
//
// It never waits and starts no goroutine. One goroutine at a time may call these
// methods. It must set now before, and call forget and shard.Flush after. All
// connections share the worker's buffers.
type tcpWorker struct {
	server  *Server
	sockets tcpSockets

	last  uint64     // number of the latest connection
	idle  connList   // all open connections, ordered by due
	aging connList   // all open connections, ordered by old
	stock []*tcpConn // closed connections, to be used again
	spare [][]byte   // empty buffers for in and out of connections

	out        []byte // responses to the current connection
	late       lateQueue
	delivering []*tcpConn // those that deliver must write to

	end time.Time // when open connections are closed; zero until the order to stop
	responder
}

// init prepares w, which must not be moved after. wake is called when late gets its
// first response; it must not wait.
func (w *tcpWorker) init(s *Server, sockets tcpSockets, wake func()) {
	w.server, w.sockets = s, sockets
	w.responder = s.newTCPResponder()
	w.out = make([]byte, 0, tcpWrite+frameHeader+wire.MaxMessageLen)
	w.late = lateQueue{pending: s.pending, shard: w.shard, room: lateRoom, wake: wake}
	w.idle.links, w.aging.links = linkIdle, linkAging
}

// received answers the queries in b, which the client has sent. It does not keep
// b.
func (w *tcpWorker) received(c *tcpConn, b []byte) {
	if c.in != nil {
		c.in = append(c.in, b...)
		b = c.in
	}
	w.answerAll(c, b)
}

// clientClosed notes that the client sends no more queries. It may still read:
// what it sent before is answered first, also what the forwarder has.
func (w *tcpWorker) clientClosed(c *tcpConn) {
	c.ended = true
	w.next(c)
}

// written notes that the client has taken the first n octets of c.out. Once it
// has taken all, its queries are answered again.
func (w *tcpWorker) written(c *tcpConn, n int) {
	if n > 0 {
		w.keep(&c.out, c.out[n:])
	}
	if c.out != nil {
		w.sockets.await(c)
		return
	}
	w.renew(c)
	w.answerAll(c, c.in)
}

// reads reports whether queries are read from c.
func (c *tcpConn) reads() bool { return c.out == nil && !c.ended && c.forwarded < maxForwarded }

// next waits for the next event of c, or closes c if its client has closed its half
// and everything is answered.
func (w *tcpWorker) next(c *tcpConn) {
	switch {
	case !c.ended || c.out != nil || c.forwarded > 0:
		w.sockets.await(c)
	case c.in == nil:
		w.close(c, metrics.ClosedByClient)
	default:
		w.close(c, metrics.ClosedFrame)
	}
}

// answerAll answers the whole queries in in, which is all that the client has
// sent, and keeps the rest. It stops when the client does not take its responses.
// It closes the connection if in continues with what cannot be a message, or if
// responses cannot be written.
func (w *tcpWorker) answerAll(c *tcpConn, in []byte) {
	answered, decodable := false, true
	for c.out == nil && c.forwarded < maxForwarded && hasFrame(in) {
		msg := in[frameHeader:frameLen(in)]
		if decodable = len(msg) >= wire.HeaderLen; !decodable {
			break
		}
		w.answer(c, msg)
		answered, in = true, in[frameLen(in):]
		if len(w.out) > tcpWrite && !w.flush(c) {
			return
		}
	}
	switch {
	case !w.flush(c):
	case !decodable && c.out == nil:
		w.shard.Drop(metrics.DropShort)
		w.close(c, metrics.ClosedFrame)
	default:
		if answered {
			w.renew(c)
		}
		w.keep(&c.in, in)
		w.next(c)
	}
}

// answer appends the response to msg to w.out, with its length before it.
func (w *tcpWorker) answer(c *tcpConn, msg []byte) {
	at := len(w.out)
	w.out = append(w.out, 0, 0)
	room := w.out[at+frameHeader : at+frameHeader : at+frameHeader+wire.MaxMessageLen]
	out := w.respond(c.src, c.dst, msg, room)
	if w.missed {
		out = w.submit(c.src, msg, room, w.late.later(c, &w.responder, msg))
		if len(out) == 0 {
			c.forwarded++
		}
	}
	if len(out) == 0 {
		w.out = w.out[:at]
		return
	}
	binary.BigEndian.PutUint16(w.out[at:], uint16(len(out)))
	w.out = w.out[:at+frameHeader+len(out)] // out is there: the room was enough
}

// flush writes w.out, and leaves in c.out what the client does not take at once.
// If that fails, it closes c and reports false.
func (w *tcpWorker) flush(c *tcpConn) bool {
	if len(w.out) == 0 {
		return true
	}
	n, err := w.sockets.write(c, w.out)
	if err != nil {
		w.out = w.out[:0]
		w.close(c, metrics.ClosedWrite)
		return false
	}
	w.keep(&c.out, w.out[n:])
	w.out = w.out[:0]
	return true
}

// retry writes c.out.
func (w *tcpWorker) retry(c *tcpConn) {
	n := 0
	if c.out != nil {
		var err error
		if n, err = w.sockets.write(c, c.out); err != nil {
			w.close(c, metrics.ClosedWrite)
			return
		}
	}
	w.written(c, n)
}

// deliver writes the responses that are queued in w.late. Those of one connection
// leave in one write.
func (w *tcpWorker) deliver() {
	w.shard.Flush(time.Since(w.now)) // late responses are counted with other durations
	batch := w.late.take()
	if len(batch.responses) == 0 {
		return
	}
	for i := range batch.responses {
		r := &batch.responses[i]
		c := r.conn
		if c.number != r.number {
			w.shard.Drop(metrics.DropSend) // it is closed, and may be another client's now
			continue
		}
		c.forwarded--
		w.hold(c, &r.lateQuery, batch.octets[r.from:r.to])
		if !c.delivering {
			c.delivering = true
			w.delivering = append(w.delivering, c)
		}
	}
	for _, c := range w.delivering {
		c.delivering = false
		w.retry(c)
	}
	w.delivering = w.delivering[:0]
	w.pending.done(len(batch.responses))
}

// hold appends msg, the response to q, to c.out. If msg is empty or has no room
// there, hold puts the query back before those that wait: it is answered again
// when there is room. Usually its response is in the forwarder's cache then.
func (w *tcpWorker) hold(c *tcpConn, q *lateQuery, msg []byte) {
	if len(msg) == 0 || c.out != nil && len(c.out)+len(msg) > maxHeld {
		frame := appendFrame(make([]byte, 0, frameHeader+len(q.query)+len(c.in)), q.query)
		c.in = append(frame, c.in...)
		return
	}
	w.lend(&c.out)
	c.out = appendFrame(c.out, msg)
	noteForwarded(w.shard, q.qtype, c.src, q.qlen, msg)
	w.shard.Flush(w.now.Sub(q.received))
}

// frameLen returns the length of the first frame in in, with its header, as far as
// that is known.
func frameLen(in []byte) int {
	if len(in) < frameHeader {
		return frameHeader
	}
	return frameHeader + int(binary.BigEndian.Uint16(in))
}

// hasFrame reports whether in begins with a whole frame.
func hasFrame(in []byte) bool { return len(in) >= frameHeader && len(in) >= frameLen(in) }

// appendFrame appends msg with its length before it.
func appendFrame(b, msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(msg))), msg...)
}
