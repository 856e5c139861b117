//go:build unix

package load

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	// maxMessage is the largest message with its length, in octets.
	maxMessage = 2 + 65535

	// writeRoom is what one connection gathers before a write, in octets: a batch of
	// queries. Other queries wait for the next turn.
	writeRoom = batch * 128

	// sources is the number of loopback addresses that connections come from if each
	// has one query. With 28,000 ports each they are enough for 30,000 connections a
	// second for a minute.
	sources = 64
)

// tcpCarrier pipelines queries over several connections, or opens a connection for
// each query and closes it when the response has come.
//
// The side that closes a connection keeps its port for a minute (TIME-WAIT,
// RFC 9293, Section 3.6). So connections for one query to 127.0.0.0/8 come from
// many addresses of that network in turn. To other servers, ports can run out, and
// the run then ends with that error.
type tcpCarrier struct {
	sockets
	once   bool // a connection for each query
	free   []int
	source uint32
}

func newTCPCarrier(g *generator) (*tcpCarrier, error) {
	c := &tcpCarrier{sockets: sockets{g: g}, once: g.Transport == TCPOnce}
	for i := range g.Sockets {
		s := socket{fd: -1, out: make([]byte, 0, writeRoom+maxQuery)}
		if c.once {
			s.pending, s.in = newPending(1<<8), make([]byte, maxMessage)
			c.free = append(c.free, i)
		} else {
			s.pending, s.in = newPending(g.size()), make([]byte, 2*maxMessage)
			var err error
			if s.fd, err = connect("tcp", g.Server, g.Timeout); err != nil {
				c.close()
				return nil, err
			}
		}
		c.add(s)
	}
	return c, nil
}

func (c *tcpCarrier) receive() (bool, error) {
	any := false
	if c.once {
		// A response makes one of many sockets ready; pipelined, most of few are.
		if len(c.free) == len(c.all) {
			return false, nil
		}
		if n, err := unix.Poll(c.polls, 0); n <= 0 && err != unix.EINTR {
			return false, err
		}
	}
	for i := range c.all {
		s := &c.all[i]
		if s.fd < 0 || c.once && c.polls[i].Revents == 0 {
			continue
		}
		if len(s.out) > 0 {
			if err := c.flush(i); err != nil {
				return any, err
			}
		}
		if s.count == 0 {
			continue
		}
		n, err := unix.Read(s.fd, s.in[s.inLen:])
		if err == unix.EAGAIN || err == unix.EINTR || err == unix.ENOTCONN {
			continue
		}
		any = true
		c.g.tick()
		if err != nil || n == 0 {
			if err := c.ended(i); err != nil {
				return any, err
			}
			continue
		}
		s.inLen += n
		c.messages(s)
		if c.once && s.count == 0 {
			c.hangUp(i)
		}
	}
	return any, nil
}

// messages takes the whole messages that came, and keeps the rest.
func (c *tcpCarrier) messages(s *socket) {
	buf := s.in[:s.inLen]
	for len(buf) >= 2 {
		end := 2 + int(binary.BigEndian.Uint16(buf))
		if len(buf) < end {
			break
		}
		s.answers++
		c.arrived(s, buf[2:end])
		buf = buf[end:]
	}
	s.inLen = copy(s.in, buf)
}

// send adds queries to one connection, as far as there is room, and next time to
// the next. With a connection for each query, it opens as many as there may be.
func (c *tcpCarrier) send(n int) (int, error) {
	if c.once {
		n = min(n, len(c.free))
		for k := range n {
			fd, err := c.open()
			if err != nil {
				return k, err
			}
			i := c.free[len(c.free)-1]
			c.free = c.free[:len(c.free)-1]
			s := &c.all[i]
			s.fd, s.out, s.inLen = fd, s.out[:0], 0
			c.polls[i].Fd = int32(fd)
			c.write(s, k)
			if err := c.flush(i); err != nil {
				return k, err
			}
		}
		return n, nil
	}
	i := c.turn
	s := c.next()
	sent := 0
	for ; sent < n && len(s.out) < writeRoom; sent++ {
		c.write(s, sent)
	}
	if sent == 0 {
		return 0, nil
	}
	return sent, c.flush(i)
}

// write adds the next query, number k of those that are sent at once, to s.out.
func (c *tcpCarrier) write(s *socket, k int) {
	msg, id := c.prepare(s, k)
	s.out = binary.BigEndian.AppendUint16(s.out, uint16(len(msg)))
	s.out = binary.BigEndian.AppendUint16(s.out, id)
	s.out = append(s.out, msg[2:]...)
	c.g.tally.count(c.g.pace.when(k, c.g.now))
}

// flush writes what the connection gathered, as far as the kernel takes it.
func (c *tcpCarrier) flush(i int) error {
	s := &c.all[i]
	n, err := unix.Write(s.fd, s.out)
	switch {
	case err == nil:
		s.out = s.out[:copy(s.out, s.out[n:])]
	case err == unix.EAGAIN, err == unix.EINTR, err == unix.ENOTCONN:
	case c.once, err == unix.EPIPE, err == unix.ECONNRESET:
		return c.ended(i)
	default:
		return err
	}
	c.polls[i].Events = unix.POLLIN
	if len(s.out) > 0 {
		c.polls[i].Events |= unix.POLLOUT
	}
	return nil
}

// ended records that the server ended a connection. The queries that wait on it are
// lost. A pipelined connection is opened again, unless it has had no response: then
// the next one would have none either.
func (c *tcpCarrier) ended(i int) error {
	s := &c.all[i]
	c.g.tally.Reconnects++
	for c.lose(s, c.g.now+1) {
	}
	if c.once {
		c.hangUp(i)
		return nil
	}
	if s.answers == 0 {
		return errHungUp
	}
	unix.Close(s.fd)
	var err error
	s.fd, err = connect("tcp", c.g.Server, c.g.Timeout)
	s.out, s.inLen, s.answers = s.out[:0], 0, 0
	c.polls[i].Fd = int32(s.fd)
	return err
}

// hangUp closes a connection for one query.
func (c *tcpCarrier) hangUp(i int) {
	unix.Close(c.all[i].fd)
	c.all[i].fd, c.polls[i].Fd = -1, -1
	c.free = append(c.free, i)
}

func (c *tcpCarrier) expire(before int64) {
	c.sockets.expire(before)
	for i := range c.all {
		if s := &c.all[i]; c.once && s.fd >= 0 && s.count == 0 {
			c.hangUp(i)
		}
	}
}

// open returns a non-blocking socket that is connected or about to be.
func (c *tcpCarrier) open() (int, error) {
	server := c.g.Server
	family := unix.AF_INET6
	if server.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	unix.SetNonblock(fd, true)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if server.Addr().Is4() && server.Addr().IsLoopback() {
		c.source = (c.source + 1) % sources
		err = bindSource(fd, netip.AddrFrom4([4]byte{127, 0, 1, byte(c.source)}))
	}
	if err == nil {
		err = unix.Connect(fd, sockaddr(server))
	}
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
