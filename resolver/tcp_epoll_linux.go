package resolver

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/socket"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

const (
	// epollEvents is the most events that a worker handles before it looks at
	// the time, and for connections that are due.
	epollEvents = 128

	// acceptBatch is how many connections a worker accepts from one listener
	// before it turns to other events.
	acceptBatch = 64

	// acceptBatchesAtStop bounds how many times acceptBatch connections are
	// accepted after the order to stop. listen(2) queues fewer.
	acceptBatchesAtStop = 128

	// tcpRead is how many octets a worker reads from one connection before it
	// turns to others: hundreds of queries.
	tcpRead = 16 << 10
)

// A tcpEpoll is a tcpServer with a few workers. Each waits for many connections in
// one system call. A connection of one query in a goroutine of its own costs half
// as much again: for it, Go's net package makes five more system calls and two
// objects.
//
// All workers accept from the same listeners. With SO_REUSEPORT each worker could
// have its own, but then a second server could bind the same address unnoticed.
type tcpEpoll struct {
	server    *Server
	listeners []epollListener
	workers   []*epollWorker
	stopped   atomic.Bool
}

// An epollListener is a listening socket that does not block.
type epollListener struct {
	fd   int
	addr netip.AddrPort
}

// An epollWorker is a tcpWorker in a goroutine of its own, and the sockets of its
// connections.
type epollWorker struct {
	tcpWorker
	epoll  *tcpEpoll
	fd     int // the epoll instance
	wakeFD int // an eventfd: written by stop, and when late gets its first response

	conns  []*tcpConn // by descriptor
	fresh  []*tcpConn // answered once, and not in the epoll instance
	in     [tcpRead]byte
	events [epollEvents]unix.EpollEvent
	resume time.Time // when to accept again; zero while accepting
}

// An epollConn is what an epollWorker knows of a connection.
type epollConn struct {
	fd      int
	watched uint32 // the events that the epoll instance reports; 0 if fd is not in it
	fresh   bool   // in epollWorker.fresh
}

// What an event is about. The events of listener i have eventListener + i.
const (
	eventConn = iota
	eventWake
	eventListener
)

func newTCPServer(s *Server) (tcpServer, error) {
	if s.config.goroutines {
		return newTCPGoroutines(s), nil
	}
	return newTCPEpoll(s)
}

func newTCPEpoll(s *Server) (*tcpEpoll, error) {
	e := &tcpEpoll{server: s}
	for range s.config.TCPWorkers {
		w, err := e.newWorker()
		if err != nil {
			e.close()
			return nil, err
		}
		e.workers = append(e.workers, w)
	}
	return e, nil
}

func (e *tcpEpoll) newWorker() (*epollWorker, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wakeFD, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	w := &epollWorker{epoll: e, fd: fd, wakeFD: wakeFD}
	w.tcpWorker.init(e.server, w, w.wake)
	// With EPOLLET each write is an event, so the number is never read.
	if err := w.watch(unix.EPOLL_CTL_ADD, wakeFD, unix.EPOLLIN|unix.EPOLLET, eventWake); err != nil {
		unix.Close(fd)
		unix.Close(wakeFD)
		return nil, err
	}
	return w, nil
}

// add duplicates the listener's descriptor, because Go's poller does not know the
// new one, and closes ln.
func (e *tcpEpoll) add(ln *net.TCPListener, addr netip.AddrPort) error {
	defer ln.Close()
	rc, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	return socket.Control(rc, func(other int) error {
		// Connections inherit it. Without it, a second write would wait until
		// the client has acknowledged the first.
		if err := unix.SetsockoptInt(other, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return os.NewSyscallError("setsockopt TCP_NODELAY", err)
		}
		fd, err := unix.FcntlInt(uintptr(other), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("dup", err)
		}
		e.listeners = append(e.listeners, epollListener{fd, addr})
		return nil
	})
}

func (e *tcpEpoll) waiting() int { return len(e.workers) }

func (e *tcpEpoll) serve(fail func(error)) {
	var wg sync.WaitGroup
	for _, w := range e.workers {
		wg.Go(func() {
			e.server.threads.Join()
			if err := w.serve(); err != nil {
				fail(err)
			}
		})
	}
	wg.Wait()
}

func (e *tcpEpoll) stop() {
	e.stopped.Store(true)
	for _, w := range e.workers {
		w.wake()
	}
}

func (e *tcpEpoll) close() {
	for _, ln := range e.listeners {
		unix.Close(ln.fd)
	}
	for _, w := range e.workers {
		unix.Close(w.fd)
		unix.Close(w.wakeFD)
	}
}

// serve serves until the order to stop, and then up to tcpGrace longer if
// connections are open.
func (w *epollWorker) serve() error {
	err := w.listen()
	for more := true; more && err == nil; {
		more, err = w.turn()
	}
	for c := w.idle.first; c != nil; c = w.idle.first {
		w.close(c, metrics.ClosedStop)
	}
	w.late.close()
	return err
}

// turn waits for events and handles them, as doc.go describes. It reports false
// when w has finished.
func (w *epollWorker) turn() (more bool, err error) {
	fresh := len(w.fresh)
	n, errno := unix.EpollWait(w.fd, w.events[:], w.timeout())
	if errno != nil && errno != unix.EINTR {
		return false, fmt.Errorf("serve TCP: %w", os.NewSyscallError("epoll_wait", errno))
	}
	w.now = time.Now()
	for i := range w.events[:max(n, 0)] {
		switch ev := &w.events[i]; ev.Pad {
		case eventConn:
			w.ready(w.conns[ev.Fd], ev.Events)
		case eventWake:
			if w.epoll.stopped.Load() && w.end.IsZero() {
				w.stop()
			}
			w.deliver()
		default:
			if _, err := w.accept(w.epoll.listeners[ev.Pad-eventListener]); err != nil {
				return false, err
			}
		}
	}
	w.readFresh(fresh)
	w.expire()
	if !w.resume.IsZero() && !w.now.Before(w.resume) {
		w.resume = time.Time{}
		err = w.listen()
	}
	w.forget()
	w.shard.Flush(time.Since(w.now))
	return err == nil && !w.finished(), err
}

// timeout returns how long to wait for events, in milliseconds; -1 without a limit.
func (w *epollWorker) timeout() int {
	if len(w.fresh) > 0 {
		return 0
	}
	next := w.deadline()
	if next.IsZero() || !w.resume.IsZero() && w.resume.Before(next) {
		next = w.resume
	}
	if next.IsZero() {
		return -1
	}
	// Rounded up: a wakeup before the deadline finds nothing to do.
	return int(min(max(next.Sub(w.now)+time.Millisecond-1, 0), time.Hour) / time.Millisecond)
}

// ready continues with a connection that the epoll instance has reported. It can
// report one that is closed, with a descriptor that is free or another
// connection's now: when this process forks, its child holds the old one open.
func (w *epollWorker) ready(c *tcpConn, events uint32) {
	switch {
	case c == nil || c.epoll.watched == 0:
	case c.reads():
		w.read(c)
	case c.out != nil:
		w.retry(c)
	case events&(unix.EPOLLERR|unix.EPOLLHUP) != 0:
		w.close(c, metrics.ClosedRead) // the client does not wait for the forwarder any more
	}
}

// read reads what has arrived, up to tcpRead octets.
func (w *epollWorker) read(c *tcpConn) {
	n, errno := transfer(unix.SYS_READ, c.epoll.fd, w.in[:])
	switch {
	case errno == unix.EAGAIN:
		c.epoll.fresh = false
		w.await(c)
	case errno != 0:
		w.close(c, metrics.ClosedRead)
	case n == 0:
		w.clientClosed(c)
	default:
		w.received(c, w.in[:n])
	}
}

// readFresh reads once more from the first n connections in w.fresh, which were
// answered in the turn before. Most clients have closed them meanwhile, so they
// never need to be in the epoll instance.
func (w *epollWorker) readFresh(n int) {
	for _, c := range w.fresh[:n] {
		if c.epoll.fresh { // not closed since
			c.epoll.fresh = false
			w.read(c)
		}
	}
	w.fresh = append(w.fresh[:0], w.fresh[n:]...)
}

// write, await and closeSocket implement tcpSockets.

func (w *epollWorker) write(c *tcpConn, b []byte) (int, error) {
	n, errno := transfer(unix.SYS_WRITE, c.epoll.fd, b)
	if errno != 0 && errno != unix.EAGAIN {
		return 0, errno
	}
	return n, nil
}

func (w *epollWorker) await(c *tcpConn) {
	s, events := &c.epoll, uint32(unix.EPOLLERR) // which is always reported
	switch {
	case c.out != nil:
		events = unix.EPOLLOUT
	case c.reads():
		events = unix.EPOLLIN
	}
	if s.fresh && events == unix.EPOLLIN {
		return // readFresh reads from it
	}
	s.fresh = false
	if s.watched == events {
		return
	}
	op := unix.EPOLL_CTL_MOD
	if s.watched == 0 {
		op = unix.EPOLL_CTL_ADD
	}
	if w.watch(op, s.fd, events, eventConn) != nil {
		w.close(c, metrics.ClosedRead) // out of memory, or of what this user may watch
		return
	}
	s.watched = events
}

func (w *epollWorker) closeSocket(c *tcpConn) {
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(c.epoll.fd), 0, 0) // the epoll instance forgets it
	w.conns[c.epoll.fd] = nil
	w.recycle(c)
}

// watch makes the epoll instance report events of fd.
func (w *epollWorker) watch(op, fd int, events uint32, about int) error {
	err := unix.EpollCtl(w.fd, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd), Pad: int32(about)})
	return os.NewSyscallError("epoll_ctl", err)
}

// listen makes the epoll instance report new connections. The kernel wakes only
// one of the workers for each.
func (w *epollWorker) listen() error {
	for i, ln := range w.epoll.listeners {
		if err := w.watch(unix.EPOLL_CTL_ADD, ln.fd, unix.EPOLLIN|unix.EPOLLEXCLUSIVE, eventListener+i); err != nil {
			return fmt.Errorf("serve TCP at %v: %w", ln.addr, err)
		}
	}
	return nil
}

// accept accepts up to acceptBatch connections from ln, reads from each what has
// arrived, and returns how many there were.
func (w *epollWorker) accept(ln epollListener) (n int, err error) {
	if !w.resume.IsZero() {
		return 0, nil
	}
	for n < acceptBatch {
		fd, src, errno := accept(ln.fd)
		switch {
		case errno == unix.ECONNABORTED, errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN, errno != 0 && w.epoll.stopped.Load():
			return n, nil // when stopped, another worker may have shut it down
		case errno != 0 && socket.IsTemporary(errno):
			w.server.config.Log.Warn("cannot accept TCP connections for now", zap.Error(os.NewSyscallError("accept4", errno)))
			w.unlisten()
			w.resume = w.now.Add(acceptPause)
			return n, nil
		case errno != 0:
			return n, fmt.Errorf("serve TCP at %v: %w", ln.addr, os.NewSyscallError("accept4", errno))
		}
		n++
		dst := ln.addr.Addr()
		if dst.IsUnspecified() {
			dst = localAddr(fd)
		}
		c := w.begin(src, dst)
		if c == nil {
			unix.Close(fd)
			continue
		}
		for fd >= len(w.conns) {
			w.conns = append(w.conns, nil)
		}
		w.conns[fd] = c
		c.epoll = epollConn{fd: fd, fresh: true}
		w.read(c) // the client's only query may have arrived
		if c.epoll.fresh {
			w.fresh = append(w.fresh, c)
		}
	}
	return n, nil
}

// unlisten ends what listen began.
func (w *epollWorker) unlisten() {
	for _, ln := range w.epoll.listeners {
		unix.EpollCtl(w.fd, unix.EPOLL_CTL_DEL, ln.fd, nil)
	}
}

// stop accepts the connections that clients have already made, and no more, and
// gives all connections tcpGrace.
func (w *epollWorker) stop() {
	w.unlisten()
	w.resume = time.Time{}
	for _, ln := range w.epoll.listeners {
		for range acceptBatchesAtStop {
			if n, _ := w.accept(ln); n < acceptBatch {
				break
			}
		}
		unix.Shutdown(ln.fd, unix.SHUT_RD)
	}
	w.end = w.now.Add(tcpGrace)
}

// wake adds 1 to the number in wakeFD. Any goroutine may call it.
func (w *epollWorker) wake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	unix.Write(w.wakeFD, one[:])
}

// transfer reads from fd into b, or writes b to fd. The call does not wait. So it
// is made without the runtime's knowledge, which saves 0.1 µs.
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

// accept accepts a connection, sets it non-blocking, and returns the address of its
// client. It does not wait. Unlike unix.Accept4, it does not allocate.
func accept(listener int) (fd int, src netip.Addr, errno syscall.Errno) {
	var name unix.RawSockaddrInet6 // of either family: the larger of the two
	size := uint32(unix.SizeofSockaddrInet6)
	r, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&name)), uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int(r), socket.AddrOf(&name), errno
}

// localAddr returns the destination address of fd's connection, or the zero Addr if
// the connection has failed since.
func localAddr(fd int) netip.Addr {
	var name unix.RawSockaddrInet6
	size := uint32(unix.SizeofSockaddrInet6)
	if _, _, errno := unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&name)), uintptr(unsafe.Pointer(&size))); errno != 0 {
		return netip.Addr{}
	}
	return socket.AddrOf(&name)
}
