//go:build unix

package load

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/internaldns/internaldns/bench/internal/mmsg"
)

// maxDatagram is the room for one response over UDP, in octets. A longer response
// is cut, and then counts as wrong.
const maxDatagram = 4096

// udpCarrier sends over several connected sockets. For a connected socket, the
// kernel looks up the route once and drops datagrams from elsewhere.
type udpCarrier struct {
	sockets
	in, out *mmsg.Batch // one socket uses them at a time
}

func newUDPCarrier(g *generator) (*udpCarrier, error) {
	c := &udpCarrier{sockets: sockets{g: g}, in: mmsg.New(batch, maxDatagram, false), out: mmsg.New(batch, maxQuery, false)}
	for range g.Sockets {
		fd, err := connect("udp", g.Server, g.Timeout)
		if err != nil {
			c.close()
			return nil, err
		}
		// A response that a full buffer drops would count as lost by the server. The
		// kernel grants as much of this as it is configured to.
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
		c.add(socket{fd: fd, pending: newPending(g.size())})
	}
	return c, nil
}

func (c *udpCarrier) receive() (bool, error) {
	any := false
	for i := range c.all {
		s := &c.all[i]
		if s.count == 0 {
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
		for k := range n {
			c.arrived(s, c.in.Received(k))
		}
	}
	return any, nil
}

// send sends all n from one socket, and next time from the next: a batch for each
// system call, and every port in its turn.
func (c *udpCarrier) send(n int) (int, error) {
	s := c.next()
	for i := range n {
		msg, id := c.prepare(s, i)
		buf := c.out.Buffer(i)
		c.out.SetLen(i, copy(buf, msg))
		binary.BigEndian.PutUint16(buf, id)
	}
	sent, err := c.out.Send(s.fd, 0, n)
	s.undo(n - sent)
	c.queued -= n - sent
	c.g.undo(n - sent)
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
