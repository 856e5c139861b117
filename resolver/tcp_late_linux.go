package resolver

import (
	"time"

	"github.com/internaldns/internaldns/metrics"
)

// mailRoom is how many octets of responses a worker's mailbox takes: some
// thousands of usual ones. A turn empties it.
const mailRoom = 1 << 20

// deliver gives connections the responses that the forwarder has found. Those of
// one connection leave in one write.
func (w *tcpWorker) deliver() {
	w.shard.Flush(time.Since(w.now)) // what came before these took another time
	w.mail, w.octets = w.mailbox.take(w.mail, w.octets)
	for i := range w.mail {
		n := &w.mail[i]
		c := w.conns[n.fd]
		if c == nil || c.number != n.conn {
			w.shard.Drop(metrics.DropSend) // its client is gone
			continue
		}
		c.flying--
		w.hold(c, &n.awaited, w.octets[n.from:n.to])
		if !c.eager {
			c.eager = true
			w.eager = append(w.eager, c)
		}
	}
	for _, c := range w.eager {
		c.eager = false
		w.write(c)
	}
	w.eager = w.eager[:0]
	w.mailbox.debts.paid(len(w.mail))
}

// hold notes msg as the response to a, which is among what c must write next; or
// puts the query back if there is no room for its response.
func (w *tcpWorker) hold(c *tcpConn, a *awaited, msg []byte) {
	if len(msg) == 0 || c.out != nil && len(c.out)+len(msg) > tcpHold {
		c.in = putBack(c.in, a)
		return
	}
	w.lend(&c.out)
	c.out = appendFrame(c.out, msg)
	noteForwarded(w.shard, a.qtype, c.src, a.qlen, msg)
	w.shard.Flush(w.now.Sub(a.received))
}
