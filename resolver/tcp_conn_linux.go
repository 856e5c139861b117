package resolver

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/zone/wire"
	"golang.org/x/sys/unix"
)

// A tcpConn is the state of one connection. It is used again for others.
//
// A connection either reads or writes: while responses wait for its client, no
// more queries are read. So in and out are bounded by what one turn reads and
// answers, and by what the forwarder still has of it.
type tcpConn struct {
	fd       int
	number   uint64 // no other connection of the worker ever has it
	src, dst netip.Addr
	in       []byte // read and not yet answered; nil if nothing is
	out      []byte // responses that the client has not taken; nil if none are
	watched  uint32 // the events that the epoll instance reports; 0 if it knows nothing of fd
	fresh    bool   // in w.fresh
	eager    bool   // in w.eager
	ended    bool   // the client has closed its half
	flying   int    // queries that the forwarder has
	due, old time.Time
	links    [2]connLinks
}

// begin serves a connection that was accepted.
func (w *tcpWorker) begin(fd int, src, dst netip.Addr) {
	var c *tcpConn
	if n := len(w.stock); n > 0 {
		c, w.stock = w.stock[n-1], w.stock[:n-1]
	} else {
		c = new(tcpConn)
	}
	w.last++
	c.fd, c.number, c.src, c.dst = fd, w.last, src, dst
	for fd >= len(w.conns) {
		w.conns = append(w.conns, nil)
	}
	w.conns[fd] = c
	config := &w.tcp.server.config
	c.due, c.old = w.now.Add(config.TCPIdle), w.now.Add(config.TCPTotal)
	w.idle.push(c)
	w.aging.push(c)
	c.fresh = true // a query may be here already, and be all there will be
	w.read(c)
	if c.fresh {
		w.fresh = append(w.fresh, c)
	}
}

// close ends a connection. The epoll instance forgets what is closed.
func (w *tcpWorker) close(c *tcpConn, why metrics.Closing) {
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(c.fd), 0, 0)
	w.conns[c.fd] = nil
	w.idle.remove(c)
	w.aging.remove(c)
	w.keep(&c.in, nil)
	w.keep(&c.out, nil)
	*c = tcpConn{}
	if len(w.stock) < tcpStock {
		w.stock = append(w.stock, c)
	}
	w.tcp.open.Add(-1)
	w.tcp.server.config.Metrics.Closed(why)
}

// late returns why a connection is closed that let its time pass: because it did
// not take its responses, or else otherwise.
func (c *tcpConn) late(otherwise metrics.Closing) metrics.Closing {
	if c.out != nil {
		return metrics.ClosedWrite
	}
	return otherwise
}

// reported goes on with a connection of which the epoll instance had news. It
// may have news of one that is closed, under a number that is free or another's
// now: while this process forks, its child holds that open.
func (w *tcpWorker) reported(c *tcpConn, events uint32) {
	switch {
	case c == nil || c.watched == 0:
	case c.reads():
		w.read(c)
	case c.out != nil:
		w.write(c)
	case events&(unix.EPOLLERR|unix.EPOLLHUP) != 0:
		w.close(c, metrics.ClosedRead) // nobody is there to wait for the forwarder
	}
}

// reads reports whether more queries are read of the connection.
func (c *tcpConn) reads() bool { return c.out == nil && !c.ended && c.flying < tcpFlying }

// write writes what the client has not taken, and goes on with its queries once
// it has taken all.
func (w *tcpWorker) write(c *tcpConn) {
	if c.out != nil {
		n, errno := transfer(unix.SYS_WRITE, c.fd, c.out)
		switch {
		case errno == 0:
			w.keep(&c.out, c.out[n:])
		case errno != unix.EAGAIN:
			w.close(c, metrics.ClosedWrite)
			return
		}
	}
	if c.out != nil {
		w.watchConn(c)
		return
	}
	w.renew(c)
	w.answerAll(c, c.in)
}

// read reads what is there, up to tcpRead, and answers the whole queries in it.
// What was read is answered before an end of the client's side counts, and what
// the forwarder has of it too: it may have closed only its half.
func (w *tcpWorker) read(c *tcpConn) {
	n, errno := transfer(unix.SYS_READ, c.fd, w.in[:])
	switch {
	case errno == unix.EAGAIN:
		c.fresh = false
		w.watchConn(c)
	case errno != 0:
		w.close(c, metrics.ClosedRead)
	case n == 0:
		c.ended = true
		w.watchConn(c)
	case c.in == nil:
		w.answerAll(c, w.in[:n])
	default:
		c.in = append(c.in, w.in[:n]...)
		w.answerAll(c, c.in)
	}
}

// answerAll answers the whole queries in in, which is all that the client has
// sent, and keeps the rest. It stops where the client takes no more responses,
// and ends the connection where what follows cannot be a message, or responses
// cannot be written.
func (w *tcpWorker) answerAll(c *tcpConn, in []byte) {
	answered, decodable := false, true
	for c.out == nil && c.flying < tcpFlying && whole(in) {
		msg := in[frameHead:need(in)]
		if decodable = len(msg) >= wire.HeaderLen; !decodable {
			break
		}
		w.answer(c, msg)
		answered, in = true, in[need(in):]
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
		w.watchConn(c)
	}
}

// answer appends the response to msg to w.out, its length before it.
func (w *tcpWorker) answer(c *tcpConn, msg []byte) {
	at := len(w.out)
	w.out = append(w.out, 0, 0)
	room := w.out[at+frameHead : at+frameHead : at+frameHead+wire.MaxMessageLen]
	out := w.respond(c.src, c.dst, msg, room)
	if w.missed {
		out = w.handOver(c.src, msg, room, w.mailbox.later(&w.responder, c.number, c.fd, msg))
		if len(out) == 0 {
			c.flying++
		}
	}
	if len(out) == 0 {
		w.out = w.out[:at]
		return
	}
	binary.BigEndian.PutUint16(w.out[at:], uint16(len(out)))
	w.out = w.out[:at+frameHead+len(out)] // the room was enough: out is there
}

// flush writes w.out and leaves in c.out what the client does not take at once.
// It reports false if that failed, and the connection has ended.
func (w *tcpWorker) flush(c *tcpConn) bool {
	if len(w.out) == 0 {
		return true
	}
	n, errno := transfer(unix.SYS_WRITE, c.fd, w.out)
	if errno != 0 && errno != unix.EAGAIN {
		w.out = w.out[:0]
		w.close(c, metrics.ClosedWrite)
		return false
	}
	w.keep(&c.out, w.out[n:])
	w.out = w.out[:0]
	return true
}

// renew gives the connection another TCPIdle: it has brought a query, or taken
// its responses.
func (w *tcpWorker) renew(c *tcpConn) {
	w.idle.remove(c)
	c.due = w.now.Add(w.tcp.server.config.TCPIdle)
	w.idle.push(c)
}

// watchConn has the epoll instance report what the connection waits for, unless
// linger is going to look; or closes it, if that is nothing.
func (w *tcpWorker) watchConn(c *tcpConn) {
	want, op := uint32(unix.EPOLLIN), unix.EPOLL_CTL_MOD
	switch {
	case c.out != nil:
		want, c.fresh = unix.EPOLLOUT, false
	case c.ended && c.flying == 0 && c.in == nil:
		w.close(c, metrics.ClosedByClient)
		return
	case c.ended && c.flying == 0:
		w.close(c, metrics.ClosedFrame)
		return
	case !c.reads():
		want, c.fresh = unix.EPOLLERR, false // is reported in any case
	}
	if c.fresh || c.watched == want {
		return
	}
	if c.watched == 0 {
		op = unix.EPOLL_CTL_ADD
	}
	if w.watch(op, c.fd, want, kindConn) != nil {
		w.close(c, metrics.ClosedRead) // the system is out of memory, or of what it lets us watch
		return
	}
	c.watched = want
}

// lend gives *b a spare buffer if it has none.
func (w *tcpWorker) lend(b *[]byte) {
	if *b == nil && len(w.spare) > 0 {
		*b, w.spare = w.spare[len(w.spare)-1], w.spare[:len(w.spare)-1]
	}
}

// keep makes *b hold rest, which may be part of it; nil if there is none.
func (w *tcpWorker) keep(b *[]byte, rest []byte) {
	if len(rest) > 0 {
		w.lend(b)
		*b = append((*b)[:0], rest...)
		return
	}
	if *b != nil && cap(*b) <= tcpKeep && len(w.spare) < tcpStock {
		w.spare = append(w.spare, (*b)[:0])
	}
	*b = nil
}

// transfer reads from fd into b, or writes b. Neither waits, so the runtime need
// not know of the call; to tell it costs a tenth of a microsecond.
func transfer(call uintptr, fd int, b []byte) (n int, errno syscall.Errno) {
	for {
		r, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		switch errno {
		case 0:
			return int(r), 0
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
