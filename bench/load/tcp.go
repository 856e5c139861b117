//go:build unix

package load

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxMessage is the largest message with its length in front, in octets.
	maxMessage = 2 + 65535

	// writeRoom is what one connection gathers before a write, in octets:
	// a batch of queries. What does not fit waits for the next turn.
	writeRoom = batch * 128
)

// tcpCarrier pipelines queries over several connections.
type tcpCarrier struct {
	g      *generator
	conns  []tcpConn
	turn   int // the connection to send over next
	polls  []unix.PollFd
	flying int
}

type tcpConn struct {
	fd int
	flights
	out     []byte // what the socket has not taken yet
	in      []byte // the beginning of a message, and room for the rest
	inLen   int
	answers uint64 // responses since the connection was opened
}

func newTCPCarrier(g *generator) (*tcpCarrier, error) {
	c := &tcpCarrier{g: g}
	size := closedFlights
	if g.pace.open() {
		size = maxFlights
	}
	for range g.Sockets {
		fd, err := dial(g)
		if err != nil {
			c.close()
			return nil, err
		}
		c.conns = append(c.conns, tcpConn{
			fd:      fd,
			flights: newFlights(size),
			out:     make([]byte, 0, writeRoom+maxQuery),
			in:      make([]byte, 2*maxMessage),
		})
		c.polls = append(c.polls, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	return c, nil
}

func dial(g *generator) (int, error) {
	fd, err := connect(g.Server, unix.SOCK_STREAM, g.Timeout)
	if err != nil {
		return -1, err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (c *tcpCarrier) receive() (bool, error) {
	any := false
	for i := range c.conns {
		s := &c.conns[i]
		if len(s.out) > 0 {
			if err := c.flush(i); err != nil {
				return any, err
			}
		}
		if s.flights.airborne == 0 {
			continue
		}
		n, err := unix.Read(s.fd, s.in[s.inLen:])
		if err == unix.EAGAIN || err == unix.EINTR {
			continue
		}
		any = true
		c.g.tick()
		if err != nil || n == 0 { // the server ended the connection
			if err := c.reopen(i); err != nil {
				return any, err
			}
			continue
		}
		s.inLen += n
		c.messages(s)
	}
	return any, nil
}

// messages hands over the whole messages that came, and keeps the rest.
func (c *tcpCarrier) messages(s *tcpConn) {
	before := s.flights.airborne
	buf := s.in[:s.inLen]
	for len(buf) >= 2 {
		end := 2 + int(binary.BigEndian.Uint16(buf))
		if len(buf) < end {
			break
		}
		s.answers++
		c.g.arrived(&s.flights, buf[2:end])
		buf = buf[end:]
	}
	s.inLen = copy(s.in, buf)
	c.flying -= before - s.flights.airborne
}

// send gathers all n on one connection, as far as there is room, and next time
// on the next.
func (c *tcpCarrier) send(n int) (int, error) {
	i := c.turn
	c.turn++
	if c.turn == len(c.conns) {
		c.turn = 0
	}
	s := &c.conns[i]
	sent := 0
	for ; sent < n && len(s.out) < writeRoom; sent++ {
		for s.flights.full() {
			c.lose(s, c.g.now+1)
		}
		query := c.g.take()
		due := c.g.pace.when(sent, c.g.now)
		msg := c.g.query(query).Message
		id := s.flights.start(query, due)
		s.out = binary.BigEndian.AppendUint16(s.out, uint16(len(msg)))
		s.out = binary.BigEndian.AppendUint16(s.out, id)
		s.out = append(s.out, msg[2:]...)
		c.g.tally.count(due)
	}
	c.flying += sent
	if sent == 0 {
		return 0, nil
	}
	return sent, c.flush(i)
}

// flush writes what the connection gathered, as far as the socket takes it.
func (c *tcpCarrier) flush(i int) error {
	s := &c.conns[i]
	n, err := unix.Write(s.fd, s.out)
	switch err {
	case nil:
		s.out = s.out[:copy(s.out, s.out[n:])]
		return nil
	case unix.EAGAIN, unix.EINTR:
		return nil
	case unix.EPIPE, unix.ECONNRESET:
		return c.reopen(i)
	}
	return err
}

// reopen replaces a connection that the server ended. What was outstanding on
// it is lost. A server that ends connections without having answered anything
// over them is not worth asking on.
func (c *tcpCarrier) reopen(i int) error {
	s := &c.conns[i]
	c.g.tally.Reconnects++
	for c.lose(s, c.g.now+1) {
	}
	if s.answers == 0 {
		return errHungUp
	}
	unix.Close(s.fd)
	fd, err := dial(c.g)
	if err != nil {
		s.fd = -1
		return err
	}
	s.fd, s.out, s.inLen, s.answers = fd, s.out[:0], 0, 0
	c.polls[i].Fd = int32(fd)
	return nil
}

func (c *tcpCarrier) lose(s *tcpConn, before int64) bool {
	fl, more := s.flights.loseOldest(before)
	if fl != nil {
		c.flying--
		c.g.tally.lose(fl.due)
	}
	return more
}

func (c *tcpCarrier) expire(before int64) {
	for i := range c.conns {
		for c.lose(&c.conns[i], before) {
		}
	}
}

func (c *tcpCarrier) airborne() int { return c.flying }

func (c *tcpCarrier) rest(d time.Duration) { poll(c.polls, d) }

func (c *tcpCarrier) close() {
	for i := range c.conns {
		unix.Close(c.conns[i].fd)
	}
}
