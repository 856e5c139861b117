//go:build unix

package load

import (
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/internaldns/internaldns/bench/internal/mmsg"
)

// maxDatagram is the room for one response over UDP, in octets. A longer one
// is cut, and then differs from what is wanted.
const maxDatagram = 4096

// udpCarrier sends from several connected sockets: the kernel then looks up the
// route once, and drops what comes from elsewhere.
type udpCarrier struct {
	g       *generator
	sockets []udpSocket
	turn    int         // the socket to send from next
	in, out *mmsg.Batch // shared: one socket at a time
	polls   []unix.PollFd
	flying  int
}

type udpSocket struct {
	fd int
	flights
}

func newUDPCarrier(g *generator) (*udpCarrier, error) {
	c := &udpCarrier{
		g:   g,
		in:  mmsg.New(batch, maxDatagram, false),
		out: mmsg.New(batch, maxQuery, false),
	}
	size := closedFlights
	if g.pace.open() {
		size = maxFlights
	}
	for range g.Sockets {
		fd, err := connect(g.Server, unix.SOCK_DGRAM, g.Timeout)
		if err != nil {
			c.close()
			return nil, err
		}
		// A full buffer would be counted as the server's loss. The kernel
		// grants what it is configured to; not getting it is no fault.
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
		c.sockets = append(c.sockets, udpSocket{fd: fd, flights: newFlights(size)})
		c.polls = append(c.polls, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	return c, nil
}

// connect returns a non-blocking socket that is connected to the server. It does
// not wait longer than limit for a server that says nothing.
func connect(server netip.AddrPort, kind int, limit time.Duration) (int, error) {
	family := unix.AF_INET6
	if server.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, kind, 0)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	if err = unix.SetNonblock(fd, true); err == nil {
		err = unix.Connect(fd, sockaddr(server))
	}
	if err == unix.EINPROGRESS {
		err = connected(fd, limit)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// connected waits until a connection that is being made is there, or has failed.
func connected(fd int, limit time.Duration) error {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	for end := time.Now().Add(limit); fds[0].Revents == 0; {
		left := time.Until(end)
		if left <= 0 {
			return unix.ETIMEDOUT
		}
		poll(fds, left)
	}
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	return err
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func (c *udpCarrier) receive() (bool, error) {
	any := false
	for i := range c.sockets {
		s := &c.sockets[i]
		if s.flights.airborne == 0 {
			continue
		}
		n, err := c.in.Recv(s.fd, batch, false)
		switch err {
		case nil:
		case unix.EAGAIN, unix.EINTR:
			continue
		case unix.ECONNREFUSED:
			return any, errRefused
		default:
			return any, err
		}
		any = true
		c.g.tick() // once for a batch: its datagrams were there together
		before := s.flights.airborne
		for k := range n {
			c.g.arrived(&s.flights, c.in.Received(k))
		}
		c.flying -= before - s.flights.airborne
	}
	return any, nil
}

// send sends all n from one socket, and next time from the next: a batch for
// each system call, and every port in its turn.
func (c *udpCarrier) send(n int) (int, error) {
	s := &c.sockets[c.turn]
	c.turn++
	if c.turn == len(c.sockets) {
		c.turn = 0
	}
	for i := range n {
		for s.flights.full() {
			c.lose(s, c.g.now+1)
		}
		query := c.g.take()
		due := c.g.pace.when(i, c.g.now)
		buf := c.out.Buffer(i)
		c.out.SetLen(i, copy(buf, c.g.query(query).Message))
		binary.BigEndian.PutUint16(buf, s.flights.start(query, due))
	}
	sent, err := c.out.Send(s.fd, 0, n)
	s.flights.unstart(n - sent)
	c.g.untake(n - sent)
	c.flying += sent
	for i := range sent {
		c.g.tally.count(c.g.pace.when(i, c.g.now))
	}
	switch err {
	case nil, unix.EAGAIN, unix.EINTR, unix.ENOBUFS:
		return sent, nil
	case unix.ECONNREFUSED:
		return sent, errRefused
	}
	return sent, err
}

// lose gives up the oldest query of the socket if it was due before that time,
// and reports false if there is none.
func (c *udpCarrier) lose(s *udpSocket, before int64) bool {
	fl, more := s.flights.loseOldest(before)
	if fl != nil {
		c.flying--
		c.g.tally.lose(fl.due)
	}
	return more
}

func (c *udpCarrier) expire(before int64) {
	for i := range c.sockets {
		for c.lose(&c.sockets[i], before) {
		}
	}
}

func (c *udpCarrier) airborne() int { return c.flying }

func (c *udpCarrier) rest(d time.Duration) { poll(c.polls, d) }

func (c *udpCarrier) close() {
	for i := range c.sockets {
		unix.Close(c.sockets[i].fd)
	}
}
