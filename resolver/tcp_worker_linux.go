package resolver

import (
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/socket"
	"github.com/internaldns/internaldns/zone/wire"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

const (
	// tcpEvents is the most events that a worker sees to before it looks for
	// the time, and for connections that are due.
	tcpEvents = 128

	// tcpAccepts is how many connections a worker takes from a listener before
	// it turns to others.
	tcpAccepts = 64

	// tcpRead is how many octets a worker reads from one connection before it
	// turns to others: some hundreds of queries.
	tcpRead = 16 << 10
)

// A tcpWorker serves connections in one goroutine, of which each turn is
//
//  1. wait      for events: new connections, queries, room for responses
//  2. accept    and read at once what a new connection brings
//  3. read      answer all whole queries in it, in tcp_conn_linux.go
//     deliver   the responses that the forwarder has found meanwhile
//  4. linger    try once more those that were new in the turn before: most have
//     been closed by their clients and never need be waited for
//  5. expire    close those that are idle or old
//
// Its buffers are all connections', one after the other.
type tcpWorker struct {
	tcp  *tcpPoller
	poll int // the epoll instance
	bell int // an eventfd: written when the empty mailbox gets something

	conns []*tcpConn // by descriptor
	last  uint64     // number of the latest connection
	fresh []*tcpConn // answered, and unknown to the epoll instance
	idle  connList   // by when they must bring a query, or take their responses
	aging connList   // by when they are old
	stock []*tcpConn // to be used again
	spare [][]byte   // empty buffers, for what a connection must keep

	in  [tcpRead]byte
	out []byte // responses to the connection at hand

	mailbox mailbox
	mail    []note // taken from it
	octets  []byte
	eager   []*tcpConn // with something to write

	resume time.Time // when to accept again; zero while accepting
	end    time.Time // when all connections are closed; zero until the order to stop
	events [tcpEvents]unix.EpollEvent
	responder
}

// Kinds of what an event is about. A listener's is kindListener and more, by its
// place.
const (
	kindConn = iota
	kindStop
	kindMail
	kindListener
)

func newTCPWorker(t *tcpPoller) (*tcpWorker, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	w := &tcpWorker{
		tcp:       t,
		poll:      poll,
		out:       make([]byte, 0, tcpWrite+frameHead+wire.MaxMessageLen),
		responder: t.server.newTCPResponder(),
	}
	w.idle.links, w.aging.links = linkIdle, linkAging
	w.shard = t.server.config.Metrics.NewShard(metrics.TCP)
	if w.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(poll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	w.mailbox = mailbox{debts: t.server.debts, room: mailRoom, ring: func() { ring(w.bell) }}
	err = w.watch(unix.EPOLL_CTL_ADD, t.wake, unix.EPOLLIN, kindStop)
	if err == nil {
		// Each write is an event: nobody needs to read the number.
		err = w.watch(unix.EPOLL_CTL_ADD, w.bell, unix.EPOLLIN|unix.EPOLLET, kindMail)
	}
	if err != nil {
		unix.Close(poll)
		unix.Close(w.bell)
		return nil, err
	}
	return w, nil
}

// watch has events of fd wake the worker.
func (w *tcpWorker) watch(op, fd int, events uint32, kind int) error {
	err := unix.EpollCtl(w.poll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd), Pad: int32(kind)})
	return os.NewSyscallError("epoll_ctl", err)
}

// listen has new connections wake the worker, if they wake no other.
func (w *tcpWorker) listen() error {
	for i, ln := range w.tcp.listeners {
		if err := w.watch(unix.EPOLL_CTL_ADD, ln.fd, unix.EPOLLIN|unix.EPOLLEXCLUSIVE, kindListener+i); err != nil {
			return fmt.Errorf("serve TCP at %v: %w", ln.addr, err)
		}
	}
	return nil
}

// serve serves until stop, and tcpGrace longer if there are connections.
func (w *tcpWorker) serve() error {
	err := w.listen()
	for more := true; more && err == nil; {
		more, err = w.turn()
	}
	for c := w.idle.first; c != nil; c = w.idle.first {
		w.close(c, metrics.ClosedStop)
	}
	w.mailbox.close()
	return err
}

// turn waits for events and sees to them. It reports false when nothing more is
// to be done.
func (w *tcpWorker) turn() (more bool, err error) {
	lingering := len(w.fresh)
	n, err := unix.EpollWait(w.poll, w.events[:], w.patience())
	if err != nil && err != unix.EINTR {
		return false, fmt.Errorf("serve TCP: %w", os.NewSyscallError("epoll_wait", err))
	}
	w.now = time.Now()
	for i := range w.events[:max(n, 0)] {
		switch ev := &w.events[i]; ev.Pad {
		case kindConn:
			w.reported(w.conns[ev.Fd], ev.Events)
		case kindStop:
			w.stop()
		case kindMail:
			w.deliver()
		default:
			if _, err := w.accept(w.tcp.listeners[ev.Pad-kindListener]); err != nil {
				return false, err
			}
		}
	}
	w.linger(lingering)
	err = w.expire()
	w.rest()
	w.shard.Flush(time.Since(w.now))
	return err == nil && (w.end.IsZero() || w.idle.first != nil && w.now.Before(w.end)), err
}

// patience returns how long to wait for events, in milliseconds; -1 for ever.
func (w *tcpWorker) patience() int {
	if len(w.fresh) > 0 {
		return 0
	}
	next := w.end
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if !w.resume.IsZero() {
		sooner(w.resume)
	}
	if w.end.IsZero() && w.idle.first != nil {
		sooner(w.idle.first.due)
		sooner(w.aging.first.old)
	}
	if next.IsZero() {
		return -1
	}
	// Rounded up: who wakes before the time finds nothing to do.
	return int(min(max(next.Sub(w.now)+time.Millisecond-1, 0), time.Hour) / time.Millisecond)
}

// accept takes and answers what connections ln has, up to tcpAccepts, and
// returns how many there were.
func (w *tcpWorker) accept(ln tcpListener) (n int, err error) {
	if !w.resume.IsZero() {
		return 0, nil
	}
	config := &w.tcp.server.config
	for n < tcpAccepts {
		fd, src, errno := accept(ln.fd)
		switch {
		case errno == unix.ECONNABORTED, errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN, errno != 0 && w.tcp.stopped.Load():
			return n, nil // another worker may have shut it down
		case errno != 0 && socket.IsTemporary(errno):
			config.Log.Warn("cannot accept TCP connections for now", zap.Error(os.NewSyscallError("accept4", errno)))
			w.pause()
			return n, nil
		case errno != 0:
			return n, fmt.Errorf("serve TCP at %v: %w", ln.addr, os.NewSyscallError("accept4", errno))
		}
		n++
		config.Metrics.Accepted()
		if !w.tcp.admit() && !(w.makeRoom() && w.tcp.admit()) {
			unix.Close(fd)
			config.Metrics.Closed(metrics.ClosedFull)
			continue
		}
		dst := ln.addr.Addr()
		if ln.wildcard {
			dst = localAddr(fd)
		}
		w.begin(fd, src, dst)
	}
	return n, nil
}

// makeRoom closes the worker's connection that has been idle for longest, and
// reports whether there was one: or whoever holds as many connections as may be open
// would keep all others out. One that waits for the forwarder goes only if all do.
func (w *tcpWorker) makeRoom() bool {
	idlest := w.idle.first
	for c := idlest; c != nil; c = c.links[linkIdle].next {
		if c.flying == 0 {
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

// pause has the worker not accept for acceptPause.
func (w *tcpWorker) pause() {
	for _, ln := range w.tcp.listeners {
		unix.EpollCtl(w.poll, unix.EPOLL_CTL_DEL, ln.fd, nil)
	}
	w.resume = w.now.Add(acceptPause)
}

// linger sees to the first n connections in w.fresh, which were answered in the
// turn before.
func (w *tcpWorker) linger(n int) {
	for _, c := range w.fresh[:n] {
		if c.fresh { // and not closed since
			c.fresh = false
			w.read(c)
		}
	}
	w.fresh = append(w.fresh[:0], w.fresh[n:]...)
}

// expire closes the connections whose time is over, and accepts again when it is
// time.
func (w *tcpWorker) expire() error {
	for c := w.aging.first; c != nil && !w.now.Before(c.old); c = w.aging.first {
		w.close(c, metrics.ClosedOld)
	}
	if !w.resume.IsZero() && !w.now.Before(w.resume) {
		w.resume = time.Time{}
		if err := w.listen(); err != nil {
			return err
		}
	}
	if w.end.IsZero() {
		for c := w.idle.first; c != nil && !w.now.Before(c.due); c = w.idle.first {
			if c.flying > 0 && c.out == nil {
				w.renew(c) // it waits for us
				continue
			}
			w.close(c, c.late(metrics.ClosedIdle))
		}
	} else if !w.now.Before(w.end) {
		for c := w.idle.first; c != nil; c = w.idle.first {
			w.close(c, c.late(metrics.ClosedStop))
		}
	}
	return nil
}

// stop takes the connections that wait already, and no more, and gives all of
// them tcpGrace.
func (w *tcpWorker) stop() {
	w.pause()
	w.resume = time.Time{}
	unix.EpollCtl(w.poll, unix.EPOLL_CTL_DEL, w.tcp.wake, nil)
	for _, ln := range w.tcp.listeners {
		for range drainAccepts {
			if n, _ := w.accept(ln); n < tcpAccepts {
				break
			}
		}
		unix.Shutdown(ln.fd, unix.SHUT_RD)
	}
	w.end = w.now.Add(tcpGrace)
}

// drainAccepts bounds what is still accepted after the order to stop, in times
// tcpAccepts: more than listen(2) lets wait.
const drainAccepts = 128

// accept takes a connection, which will not wait for anything, and returns the
// address of its client. It allocates nothing, as accept4 in package unix does.
func accept(listener int) (fd int, src netip.Addr, errno syscall.Errno) {
	var name unix.RawSockaddrInet6 // of either family: the larger of the two
	size := uint32(unix.SizeofSockaddrInet6)
	r, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&name)), uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int(r), socket.AddrOf(&name), errno
}

// localAddr returns the address that the client of fd asked; the zero Addr if
// the connection has failed since.
func localAddr(fd int) netip.Addr {
	var name unix.RawSockaddrInet6
	size := uint32(unix.SizeofSockaddrInet6)
	if _, _, errno := unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&name)), uintptr(unsafe.Pointer(&size))); errno != 0 {
		return netip.Addr{}
	}
	return socket.AddrOf(&name)
}
