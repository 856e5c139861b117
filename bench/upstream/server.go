//go:build unix

package upstream

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/internaldns/internaldns/bench/internal/mmsg"
)

const (
	batch = 64   // datagrams to one system call, as many as the generator sends
	room  = 1024 // octets for a datagram: more than any query and any response

	// patience is how long Run waits for a datagram before it looks whether it
	// is to end, or to let somebody else hold the Server.
	patience = 2 * time.Millisecond
)

// Server answers queries for the names of Zone.
type Server struct {
	addr netip.AddrPort

	mu     sync.Mutex // held by whoever takes turns
	fd     int
	b      *mmsg.Batch
	counts Counts
}

// Counts are the queries that came since the Server was made.
type Counts struct {
	Queries uint64 // all
	Others  uint64 // of them, those that are refused or ignored: for no address in Zone
}

// Listen returns a Server on an address of IPv4; with port 0, on a free one. It
// must be closed.
func Listen(addr netip.AddrPort) (*Server, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(fd)
	// What the kernel grants of it is enough: forwarders hold back what they
	// have too many of, and a lost query is asked again.
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
	err = unix.Bind(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())})
	var name unix.Sockaddr
	if err == nil {
		name, err = unix.Getsockname(fd)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listen on %v: %w", addr, err)
	}
	return &Server{
		addr: netip.AddrPortFrom(addr.Addr(), uint16(name.(*unix.SockaddrInet4).Port)),
		fd:   fd,
		b:    mmsg.New(batch, room, true),
	}, nil
}

// Addr returns the address that the Server answers at.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// Close closes the socket. Run must have ended.
func (s *Server) Close() error { return unix.Close(s.fd) }

// Run answers queries until ctx is done, except while somebody holds the Server,
// and returns nil; or what the socket fails with.
func (s *Server) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := s.wait(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) wait() error {
	defer s.Hold()()
	fds := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, int(patience.Milliseconds())); n <= 0 {
		if err == unix.EINTR {
			err = nil
		}
		return err
	}
	_, err := s.Turn()
	return err
}

// Hold waits until Run, or another holder, has let go of the Server. From then
// until let go of again, only the caller may take turns, and should.
func (s *Server) Hold() (letGo func()) {
	s.mu.Lock()
	return s.mu.Unlock
}

// Turn answers what has come, up to a batch, and reports whether anything had.
// It does not wait. The caller holds the Server.
func (s *Server) Turn() (bool, error) {
	n, err := s.b.Recv(s.fd, batch, false)
	switch err {
	case nil:
	case unix.EAGAIN, unix.EINTR:
		return false, nil
	default:
		return false, fmt.Errorf("receive at %v: %w", s.addr, err)
	}
	for i := range n {
		length, other := respond(s.b.Buffer(i), len(s.b.Received(i)))
		s.counts.Queries++
		if other {
			s.counts.Others++
		}
		s.b.SetLen(i, length)
	}
	for sent := 0; sent < n; {
		k, _ := s.b.Send(s.fd, sent, n)
		sent += max(1, k) // what cannot be sent is lost; it will be asked again
	}
	return true, nil
}

// Counts returns what was counted so far. The caller holds the Server.
func (s *Server) Counts() Counts { return s.counts }
