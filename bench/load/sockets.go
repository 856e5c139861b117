//go:build unix

package load

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// sockets are the sockets of a carrier and the queries that wait on them. Carriers
// send over them in turn.
type sockets struct {
	g      *generator
	all    []socket
	polls  []unix.PollFd // of all
	turn   int           // the socket to send over next
	queued int           // queries that wait, on all sockets
}

// A socket is one socket of a carrier.
type socket struct {
	fd int // -1 if it is closed
	pending

	// Over TCP:
	out     []byte // what the kernel has not taken yet
	in      []byte // the beginning of a message, and room for the rest
	inLen   int
	answers uint64 // responses since the connection was opened
}

// size returns the size of the table of each socket.
func (g *generator) size() int {
	if g.pace.open() {
		return maxPending
	}
	return closedPending
}

// add adds a socket.
func (c *sockets) add(s socket) {
	c.all = append(c.all, s)
	c.polls = append(c.polls, unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN})
}

// next returns the socket to send over.
func (c *sockets) next() *socket {
	s := &c.all[c.turn]
	c.turn = (c.turn + 1) % len(c.all)
	return s
}

// prepare adds the next query, number i of those that are sent at once, to the
// socket. It returns its message, which needs the ID, and the ID.
func (c *sockets) prepare(s *socket, i int) (msg []byte, id uint16) {
	for s.full() {
		c.lose(s, c.g.now+1)
	}
	query := c.g.nextQuery()
	id = s.pending.add(query, c.g.pace.when(i, c.g.now))
	c.queued++
	return c.g.query(query).Message, id
}

// lose gives up the oldest query of the socket if it was due before that time, and
// reports whether there was one.
func (c *sockets) lose(s *socket, before int64) bool {
	q, more := s.loseOldest(before)
	if q != nil {
		c.queued--
		c.g.tally.lose(q.due)
	}
	return more
}

// arrived takes a message that came over the socket.
func (c *sockets) arrived(s *socket, msg []byte) {
	before := s.count
	c.g.arrived(&s.pending, msg)
	c.queued -= before - s.count
}

func (c *sockets) expire(before int64) {
	for i := range c.all {
		for c.lose(&c.all[i], before) {
		}
	}
}

func (c *sockets) outstanding() int { return c.queued }

func (c *sockets) rest(d time.Duration) { poll(c.polls, d) }

func (c *sockets) close() {
	for i := range c.all {
		if fd := c.all[i].fd; fd >= 0 {
			unix.Close(fd)
		}
	}
}

// connect returns a non-blocking socket that is connected to the server. It waits
// for at most limit.
func connect(network string, server netip.AddrPort, limit time.Duration) (fd int, err error) {
	conn, err := net.DialTimeout(network, server.String(), limit)
	if err != nil {
		return -1, err
	}
	defer conn.Close() // fd is a descriptor of its own
	f, err := conn.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return -1, err
	}
	defer f.Close()
	if fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return -1, fmt.Errorf("duplicate a descriptor: %w", err)
	}
	return fd, unix.SetNonblock(fd, true)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
