package resolver

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/internaldns/internaldns/resolver/socket"
)

// A tcpPoller is a tcpServer whose workers each wait for many connections in one
// system call. In a goroutine of its own, a connection of one query costs half
// as much again: Go's net makes five more system calls for it, and two objects.
//
// All workers accept from the same listeners. With SO_REUSEPORT each could have
// its own, but then a second server at the same address would not find out.
type tcpPoller struct {
	server    *Server
	listeners []tcpListener
	workers   []*tcpWorker
	wake      int          // an eventfd: readable from the order to stop on
	open      atomic.Int64 // connections
	stopped   atomic.Bool
}

// A tcpListener is a socket that waits for nothing.
type tcpListener struct {
	fd       int
	addr     netip.AddrPort
	wildcard bool // only a connection tells which address was asked
}

func newTCPServer(s *Server) (tcpServer, error) {
	if s.config.spawn {
		return newTCPSpawner(s), nil
	}
	return newTCPPoller(s)
}

func newTCPPoller(s *Server) (*tcpPoller, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	t := &tcpPoller{server: s, wake: wake}
	for range s.config.TCPWorkers {
		w, err := newTCPWorker(t)
		if err != nil {
			t.close()
			return nil, err
		}
		t.workers = append(t.workers, w)
	}
	return t, nil
}

// add takes a descriptor of the listener's socket that Go's poller does not
// know.
func (t *tcpPoller) add(ln *net.TCPListener, addr netip.AddrPort) error {
	defer ln.Close() // the descriptor that is taken from it stays
	rc, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	return socket.Control(rc, func(other int) error {
		// Connections inherit it. A response goes out in one write, and the
		// first would leave at once anyway; but a second one would wait for a
		// client that has not acknowledged the first.
		if err := unix.SetsockoptInt(other, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return os.NewSyscallError("setsockopt TCP_NODELAY", err)
		}
		fd, err := unix.FcntlInt(uintptr(other), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("dup", err)
		}
		t.listeners = append(t.listeners, tcpListener{fd, addr, addr.Addr().IsUnspecified()})
		return nil
	})
}

func (t *tcpPoller) waiting() int { return len(t.workers) }

func (t *tcpPoller) serve(fail func(error)) {
	var wg sync.WaitGroup
	for _, w := range t.workers {
		wg.Go(func() {
			t.server.threads.Join()
			if err := w.serve(); err != nil {
				fail(err)
			}
		})
	}
	wg.Wait()
}

func (t *tcpPoller) stop() {
	t.stopped.Store(true)
	ring(t.wake)
}

// ring adds to the number in an eventfd.
func ring(fd int) {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1) // small: the sum has room for 2^64 rings
	unix.Write(fd, one[:])
}

func (t *tcpPoller) close() {
	closeFD := func(fd *int) {
		if *fd >= 0 {
			unix.Close(*fd)
		}
		*fd = -1 // the number may soon be another's
	}
	for i := range t.listeners {
		closeFD(&t.listeners[i].fd)
	}
	for _, w := range t.workers {
		closeFD(&w.poll)
		closeFD(&w.bell)
	}
	closeFD(&t.wake)
}

// admit counts one more open connection, if there may be one.
func (t *tcpPoller) admit() bool {
	if t.open.Add(1) <= int64(t.server.config.TCPConns) {
		return true
	}
	t.open.Add(-1)
	return false
}
