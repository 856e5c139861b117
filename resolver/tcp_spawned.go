package resolver

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/zone/wire"
)

// talk answers the queries of one connection and says why it ended.
func (t *tcpSpawner) talk(conn *net.TCPConn) metrics.Closing {
	var c *spawned
	select {
	case c = <-t.stock:
	default:
		c = &spawned{bell: make(chan struct{}, 1), responder: t.server.newTCPResponder()}
	}
	c.begin(t, conn)
	defer c.end()
	return c.serve()
}

// A spawned is the state of one connection. It is used again for others.
type spawned struct {
	tcp      *tcpSpawner
	conn     *net.TCPConn
	src, dst netip.Addr
	old      time.Time // when the connection has lasted long enough
	in       []byte    // octets read and not yet answered
	out      []byte    // responses not yet written
	ended    bool      // the client has closed its half

	flying  int           // queries that the forwarder has
	mailbox *mailbox      // of this connection alone; nil until it is needed
	bell    chan struct{} // may have an element when the mailbox is not empty
	mail    []note        // taken from the mailbox
	octets  []byte
	responder
}

func (c *spawned) begin(t *tcpSpawner, conn *net.TCPConn) {
	c.tcp, c.conn = t, conn
	c.src = conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
	c.dst = conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr()
	c.old = time.Now().Add(t.server.config.TCPTotal)
	c.shard = t.server.config.Metrics.NewShard(metrics.TCP)
	if c.in == nil {
		c.in, c.out = make([]byte, 0, tcpBuffer), make([]byte, 0, tcpBuffer)
	}
}

// end puts what can be used again into stock.
func (c *spawned) end() {
	if c.mailbox != nil {
		c.mailbox.close()
		clear(c.mail)
	}
	c.mailbox, c.flying, c.ended = nil, 0, false
	c.shard.Flush(0)
	c.tcp.server.config.Metrics.Retire(c.shard)
	c.in, c.out = c.in[:0], c.out[:0]
	if cap(c.in) > tcpKeep || cap(c.out) > tcpKeep {
		return
	}
	select {
	case c.tcp.stock <- c:
	default:
	}
}

// serve reads, answers and writes until the connection ends. What was read is
// answered before an end of the client's side counts, and what the forwarder has
// of it too: it may have closed only its half.
func (c *spawned) serve() metrics.Closing {
	for {
		if why, ok := c.await(); !ok {
			return why
		}
		c.now = time.Now()
		c.tcp.busy(c.conn, c.now)
		why, ok := metrics.ClosedWrite, c.deliver()
		if ok {
			why, ok = c.answerAll()
		}
		c.shard.Flush(time.Since(c.now))
		if !ok {
			return why
		}
	}
}

// await reads until there is a whole query to answer, or a response from the
// forwarder to deliver. If it reports false, the connection must end.
func (c *spawned) await() (why metrics.Closing, ok bool) {
	now := time.Now()
	if !now.Before(c.old) {
		return metrics.ClosedOld, false
	}
	// The mailbox, when it rings, makes that the past. So it must be looked into
	// after.
	deadline := c.tcp.mayRead(c.conn, c.patience(now))
	for {
		var err error
		switch {
		case c.flying > 0 && !c.mailbox.empty(), c.flying < tcpFlying && whole(c.in):
			return 0, true
		case c.ended && c.flying == 0 && len(c.in) == 0:
			return metrics.ClosedByClient, false
		case c.ended && c.flying == 0:
			return metrics.ClosedFrame, false
		case c.ended || c.flying >= tcpFlying:
			c.doze()
			err = os.ErrDeadlineExceeded
		default:
			err = c.read()
		}
		switch {
		case err == nil:
			continue
		case errors.Is(err, io.EOF):
			c.ended = true
			continue
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return metrics.ClosedRead, false
		}
		deadline = c.tcp.mayRead(c.conn, deadline)
		switch now := time.Now(); {
		case now.Before(deadline): // the mailbox rang, or the server stops
		case c.tcp.stopped():
			return metrics.ClosedStop, false
		case !now.Before(c.old):
			return metrics.ClosedOld, false
		case c.flying == 0:
			return metrics.ClosedIdle, false
		default: // it waits for us
			deadline = c.tcp.mayRead(c.conn, c.patience(now))
		}
	}
}

// patience returns until when the connection may be idle.
func (c *spawned) patience(now time.Time) time.Time {
	if due := now.Add(c.tcp.server.config.TCPIdle); due.Before(c.old) {
		return due
	}
	return c.old
}

// doze waits for the mailbox to ring, but not so long that it would miss the end
// of the server, or of its time, by much.
func (c *spawned) doze() {
	t := time.NewTimer(tcpGrace / 2)
	defer t.Stop()
	select {
	case <-c.bell:
	case <-t.C:
	}
}

// read reads once.
func (c *spawned) read() error {
	c.in = grow(c.in, max(need(c.in)-len(c.in), 1))
	n, err := c.conn.Read(c.in[len(c.in):cap(c.in)])
	c.in = c.in[:len(c.in)+n]
	if n > 0 {
		return nil // an error stays, and comes again
	}
	return err
}

// grow returns b with room for n more octets at least.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	return append(make([]byte, 0, max(2*cap(b), len(b)+n)), b...)
}

// deliver writes the responses that the forwarder has found. It reports false if
// the client did not take them.
func (c *spawned) deliver() bool {
	if c.flying == 0 {
		return true
	}
	c.mail, c.octets = c.mailbox.take(c.mail, c.octets)
	defer c.debts.paid(len(c.mail))
	for i := range c.mail {
		n := &c.mail[i]
		c.flying--
		if n.from == n.to {
			c.in = putBack(c.in, &n.awaited)
			continue
		}
		msg := c.octets[n.from:n.to]
		c.out = appendFrame(c.out, msg)
		noteForwarded(c.shard, n.qtype, c.src, n.qlen, msg)
		c.shard.Flush(c.now.Sub(n.received))
		if len(c.out) > tcpWrite && !c.flush() {
			return false
		}
	}
	return c.flush()
}

// answerAll answers the whole queries in c.in, as many as may be, and keeps the
// rest. If it reports false, the connection must end: what follows cannot be a
// message, or a response was not taken, perhaps not as a whole.
func (c *spawned) answerAll() (why metrics.Closing, ok bool) {
	in, decodable := c.in, true
	for c.flying < tcpFlying && whole(in) {
		msg := in[frameHead:need(in)]
		if decodable = len(msg) >= wire.HeaderLen; !decodable {
			c.shard.Drop(metrics.DropShort)
			break
		}
		c.answer(msg)
		in = in[need(in):]
		if len(c.out) > tcpWrite && !c.flush() {
			return metrics.ClosedWrite, false
		}
	}
	c.in = c.in[:copy(c.in, in)]
	if !c.flush() {
		return metrics.ClosedWrite, false
	}
	return metrics.ClosedFrame, decodable
}

// answer appends the response to msg to c.out, its length before it.
func (c *spawned) answer(msg []byte) {
	at := len(c.out)
	c.out = append(grow(c.out, tcpBuffer/2), 0, 0)
	room := c.out[at+frameHead : at+frameHead : cap(c.out)]
	out := c.respond(c.src, c.dst, msg, room)
	if c.missed {
		out = c.handOver(c.src, msg, room, c.later(msg))
		if len(out) == 0 {
			c.flying++
		}
	}
	if len(out) == 0 {
		c.out = c.out[:at]
		return
	}
	binary.BigEndian.PutUint16(c.out[at:], uint16(len(out)))
	// If the room was enough, this copies the response onto itself.
	c.out = append(c.out, out...)
}

// later returns what puts the response to msg, the query at hand, into the
// connection's mailbox.
func (c *spawned) later(msg []byte) func(resp []byte) {
	if c.mailbox == nil {
		conn, bell := c.conn, c.bell
		c.mailbox = &mailbox{debts: c.debts, room: tcpHold, ring: func() {
			select {
			case bell <- struct{}{}:
			default:
			}
			conn.SetReadDeadline(time.Unix(1, 0)) // wakes who reads
		}}
	}
	return c.mailbox.later(&c.responder, 0, 0, msg)
}

// flush writes the responses. It reports false if the client did not take them.
func (c *spawned) flush() bool {
	if len(c.out) == 0 {
		return true
	}
	c.tcp.mayWrite(c.conn, time.Now().Add(c.tcp.server.config.TCPIdle))
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	return err == nil
}
