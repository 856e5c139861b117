//go:build unix

package load

import (
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// onceCarrier opens a connection for every query, and closes it when the
// response has come. The closing side keeps a port for a minute (TIME-WAIT,
// RFC 9293, Section 3.6), so connections to 127.0.0.0/8 leave from many
// addresses of that net in turn; to other servers, ports can run out, and the
// run then ends with that error.
type onceCarrier struct {
	g      *generator
	calls  []exchange
	polls  []unix.PollFd
	free   []int // those without a connection
	source uint32
}

// exchange is one connection and its one query.
type exchange struct {
	flights
	due    int64
	fd     int
	unsent []byte // what the socket has not taken yet
	out    [2 + maxQuery]byte
	in     []byte
	inLen  int
}

// sources is the number of loopback addresses that connections leave from:
// with 28,000 ports each, enough for 30,000 connections a second for a minute.
const sources = 64

func newOnceCarrier(g *generator) (*onceCarrier, error) {
	c := &onceCarrier{g: g, calls: make([]exchange, g.Sockets), polls: make([]unix.PollFd, g.Sockets)}
	for i := range c.calls {
		c.calls[i] = exchange{flights: newFlights(1 << 8), fd: -1, in: make([]byte, maxMessage)}
		c.polls[i].Fd = -1 // which poll passes over
		c.free = append(c.free, i)
	}
	return c, nil
}

func (c *onceCarrier) receive() (bool, error) {
	if len(c.free) == len(c.calls) {
		return false, nil
	}
	if n, err := unix.Poll(c.polls, 0); n <= 0 {
		if err == unix.EINTR {
			err = nil
		}
		return false, err
	}
	for i := range c.calls {
		if c.polls[i].Revents == 0 {
			continue
		}
		call := &c.calls[i]
		if len(call.unsent) > 0 {
			c.write(i)
			continue
		}
		n, err := unix.Read(call.fd, call.in[call.inLen:])
		if err == unix.EAGAIN || err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			c.g.tally.Reconnects++
			c.hangUp(i)
			continue
		}
		call.inLen += n
		if call.inLen < 2 {
			continue
		}
		if end := 2 + int(binary.BigEndian.Uint16(call.in)); call.inLen >= end {
			c.g.tick()
			c.g.arrived(&call.flights, call.in[2:end])
			c.hangUp(i)
		}
	}
	return true, nil
}

// send opens connections for at most n queries. Where connect waits for the
// other side, the query follows when the socket is ready.
func (c *onceCarrier) send(n int) (int, error) {
	n = min(n, len(c.free))
	for k := range n {
		fd, err := c.dial()
		if err != nil {
			return k, err
		}
		i := c.free[len(c.free)-1]
		c.free = c.free[:len(c.free)-1]
		call := &c.calls[i]
		call.fd, call.inLen = fd, 0
		c.polls[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN | unix.POLLOUT}

		query := c.g.take()
		due := c.g.pace.when(k, c.g.now)
		call.due = due
		msg := c.g.query(query).Message
		binary.BigEndian.PutUint16(call.out[:], uint16(len(msg)))
		copy(call.out[2:], msg)
		binary.BigEndian.PutUint16(call.out[2:], call.flights.start(query, due))
		call.unsent = call.out[:2+len(msg)]
		c.g.tally.count(due)
		c.write(i)
	}
	return n, nil
}

// dial returns a socket that is connected or about to be.
func (c *onceCarrier) dial() (int, error) {
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
		if err := bindSource(fd, netip.AddrFrom4([4]byte{127, 0, 1, byte(c.source)})); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	if err := unix.Connect(fd, sockaddr(server)); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// write sends the query as far as the socket takes it, and then waits for the
// response only. A connection that failed shows when it is read.
func (c *onceCarrier) write(i int) {
	call := &c.calls[i]
	n, err := unix.Write(call.fd, call.unsent)
	if err == unix.EAGAIN || err == unix.EINTR || err == unix.ENOTCONN {
		return
	}
	if err == nil && n < len(call.unsent) {
		call.unsent = call.unsent[n:]
		return
	}
	call.unsent = nil
	c.polls[i].Events = unix.POLLIN
}

// hangUp ends the call. Its query, if it is still outstanding, is lost.
func (c *onceCarrier) hangUp(i int) {
	call := &c.calls[i]
	for {
		fl, more := call.flights.loseOldest(c.g.now + 1)
		if fl != nil {
			c.g.tally.lose(fl.due)
		}
		if !more {
			break
		}
	}
	unix.Close(call.fd)
	call.fd, call.unsent = -1, nil
	c.polls[i] = unix.PollFd{Fd: -1}
	c.free = append(c.free, i)
}

func (c *onceCarrier) expire(before int64) {
	for i := range c.calls {
		call := &c.calls[i]
		if call.fd < 0 || call.flights.airborne == 0 {
			continue
		}
		if call.due < before {
			c.hangUp(i)
		}
	}
}

func (c *onceCarrier) airborne() int { return len(c.calls) - len(c.free) }

func (c *onceCarrier) rest(d time.Duration) { poll(c.polls, d) }

func (c *onceCarrier) close() {
	for i := range c.calls {
		if c.calls[i].fd >= 0 {
			unix.Close(c.calls[i].fd)
		}
	}
}
