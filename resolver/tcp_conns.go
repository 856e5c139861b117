package resolver

import (
	"net/netip"
	"time"

	"github.com/internaldns/internaldns/metrics"
)

// This file is about the connections of a tcpWorker: which are open, when they are
// closed, and what remains of them for the next ones. tcp.go reads from them and writes
// to them.

const (
	// tcpKeep is the largest buffer that is kept for other connections, in
	// octets.
	tcpKeep = 64 << 10

	// tcpStock is the number of buffers, and of closed connections, that are
	// kept for the next connections.
	tcpStock = 64
)

// A tcpConn is the state of one connection. When it is closed, it is used again
// for another.
//
// A connection either reads or writes: while responses wait for the client, no
// more queries are read. So in and out are bounded by what one event brings, and
// by what the forwarder has.
type tcpConn struct {
	number   uint64 // no other connection of the worker ever has it; 0 when closed
	src, dst netip.Addr
	in       []byte // read and not yet answered; nil if there is none
	out      []byte // responses that the client has not taken; nil if there are none
	ended    bool   // the client has closed its half

	forwarded  int          // number of queries that the forwarder has
	delivering bool         // in tcpWorker.delivering
	due        time.Time    // when it is closed for being idle
	old        time.Time    // when it is closed for being old
	links      [2]connLinks // in tcpWorker.idle and tcpWorker.aging

	epoll     epollConn     // used by tcpEpoll
	goroutine goroutineConn // used by tcpGoroutines
}

// begin returns a new connection from src to dst. If as many are open as may be,
// it closes the one that has been idle for longest: a client that holds all
// connections must not keep others out. If this worker has none to close, begin
// returns nil, and the caller must close the socket.
func (w *tcpWorker) begin(src, dst netip.Addr) *tcpConn {
	config := &w.server.config
	config.Metrics.Accepted()
	if !w.server.admit() && !(w.makeRoom() && w.server.admit()) {
		config.Metrics.Closed(metrics.ClosedFull)
		return nil
	}
	var c *tcpConn
	if n := len(w.stock); n > 0 {
		c, w.stock = w.stock[n-1], w.stock[:n-1]
	} else {
		c = new(tcpConn)
	}
	w.last++
	c.number, c.src, c.dst = w.last, src, dst
	c.due, c.old = w.now.Add(config.TCPIdle), w.now.Add(config.TCPTotal)
	w.idle.push(c)
	w.aging.push(c)
	return c
}

// makeRoom closes the connection that has been idle for longest, and reports
// whether there was one. One that waits for the forwarder is closed only if all
// do.
func (w *tcpWorker) makeRoom() bool {
	idlest := w.idle.first
	for c := idlest; c != nil; c = c.links[linkIdle].next {
		if c.forwarded == 0 {
			idlest = c
			break
		}
	}
	if idlest == nil {
		return false
	}
	w.close(idlest, metrics.ClosedFull)
	return true
}

// renew sets c's idle deadline, because its client has sent a query or taken its
// responses.
func (w *tcpWorker) renew(c *tcpConn) {
	w.idle.remove(c)
	c.due = w.now.Add(w.server.config.TCPIdle)
	w.idle.push(c)
}

// deadline returns when expire must be called next; zero if no connection is open.
func (w *tcpWorker) deadline() time.Time {
	switch {
	case !w.end.IsZero():
		return w.end
	case w.idle.first == nil:
		return time.Time{}
	case w.aging.first.old.Before(w.idle.first.due):
		return w.aging.first.old
	}
	return w.idle.first.due
}

// expire closes the connections whose time is over.
func (w *tcpWorker) expire() {
	for c := w.aging.first; c != nil && !w.now.Before(c.old); c = w.aging.first {
		w.close(c, metrics.ClosedOld)
	}
	stopped := !w.end.IsZero()
	for c := w.idle.first; c != nil; c = w.idle.first {
		why := metrics.ClosedIdle
		switch {
		case stopped && w.now.Before(w.end), !stopped && w.now.Before(c.due):
			return
		case c.out != nil:
			why = metrics.ClosedWrite // it has not taken its responses
		case stopped:
			why = metrics.ClosedStop
		case c.forwarded > 0:
			w.renew(c) // it waits for the forwarder
			continue
		}
		w.close(c, why)
	}
}

// finished reports whether w is stopped and all connections are closed.
func (w *tcpWorker) finished() bool { return !w.end.IsZero() && w.idle.first == nil }

// close closes c.
func (w *tcpWorker) close(c *tcpConn, why metrics.Closing) {
	w.idle.remove(c)
	w.aging.remove(c)
	c.number = 0
	w.server.conns.Add(-1)
	w.server.config.Metrics.Closed(why)
	w.sockets.closeSocket(c)
}

// recycle keeps c and its buffers for other connections. c must be closed.
func (w *tcpWorker) recycle(c *tcpConn) {
	w.keep(&c.in, nil)
	w.keep(&c.out, nil)
	*c = tcpConn{}
	if len(w.stock) < tcpStock {
		w.stock = append(w.stock, c)
	}
}

// lend gives *b a spare buffer if it has none.
func (w *tcpWorker) lend(b *[]byte) {
	if *b == nil && len(w.spare) > 0 {
		*b, w.spare = w.spare[len(w.spare)-1], w.spare[:len(w.spare)-1]
	}
}

// keep sets *b to a copy of rest, which may be part of *b. If rest is empty, it
// sets *b to nil and keeps the buffer for other connections.
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

// A connList is a list of connections, ordered by a deadline. Every deadline is set
// to the same distance from now. So a connection with a new deadline goes to the
// end, only the first one can be due, and none needs a timer of its own.
type connList struct {
	first, last *tcpConn
	links       int // which of a connection's links belong to this list
}

// connLinks are the neighbours of a connection in one list.
type connLinks struct{ prev, next *tcpConn }

// Indexes of tcpConn.links.
const (
	linkIdle = iota
	linkAging
)

func (l *connList) push(c *tcpConn) {
	c.links[l.links] = connLinks{prev: l.last}
	if l.last == nil {
		l.first = c
	} else {
		l.last.links[l.links].next = c
	}
	l.last = c
}

func (l *connList) remove(c *tcpConn) {
	at := &c.links[l.links]
	if at.prev == nil {
		l.first = at.next
	} else {
		at.prev.links[l.links].next = at.next
	}
	if at.next == nil {
		l.last = at.prev
	} else {
		at.next.links[l.links].prev = at.prev
	}
	*at = connLinks{}
}
