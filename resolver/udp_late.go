package resolver

import (
	"net/netip"
	"sync"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/socket"
)

// An outbox sends responses that come when their batch is long gone. The
// forwarder's goroutines use it, side by side with the worker, whose socket it
// is.
type outbox struct {
	mu     sync.Mutex
	closed bool           // guarded by mu; the socket may be another's
	shard  *metrics.Shard // guarded by mu
}

// A lateReply is a response over UDP that the forwarder owes.
type lateReply struct {
	worker   *udpWorker
	replyTo  socket.ReplyTo
	src      netip.Addr
	qtype    uint16
	qlen     int
	received time.Time
}

// later returns what sends the response to the i-th datagram, d, at any time. It
// keeps nothing of the batch.
func (w *udpWorker) later(i int, d socket.Datagram) func(msg []byte) {
	l := &lateReply{worker: w, src: d.Src.Addr(), qtype: w.q.Type, qlen: len(d.Msg), received: w.now}
	w.batch.ReplyTo(i, &l.replyTo)
	return l.send
}

// send sends the response, unless the socket is closed. It does not wait: what
// does not fit the socket's buffer is lost, as it may be on every other part of
// its way.
func (l *lateReply) send(msg []byte) {
	w := l.worker
	defer w.debts.paid(1)
	o := &w.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	noteForwarded(o.shard, l.qtype, l.src, l.qlen, msg)
	if !w.batch.SendTo(&l.replyTo, msg) {
		o.shard.Drop(metrics.DropSend)
	}
	o.shard.Flush(time.Since(l.received))
}

// close gives the socket back. serve must have returned.
func (w *udpWorker) close() {
	w.outbox.mu.Lock()
	defer w.outbox.mu.Unlock()
	if !w.outbox.closed {
		w.outbox.closed = true
		w.batch.Close()
	}
}
