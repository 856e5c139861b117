//go:build linux

package hang

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

// An upstream answers every question but those whose names begin with "hang", and
// none at all while it is silent.
type upstream struct {
	conn   *net.UDPConn
	addr   netip.AddrPort
	silent atomic.Bool
}

// newUpstream returns an upstream at a free port. It must be closed.
func newUpstream() (*upstream, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	conn.SetReadBuffer(4 << 20) // what the system grants of it will do
	u := &upstream{conn: conn, addr: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
	go u.run()
	return u, nil
}

func (u *upstream) Close() { u.conn.Close() }

// run answers until the socket is closed.
func (u *upstream) run() {
	buf := make([]byte, 4096)
	for {
		n, from, err := u.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < headerLen+5 || u.silent.Load() {
			continue
		}
		end := questionEnd(buf[:n])
		if end == 0 || bytes.EqualFold(buf[headerLen+1:min(headerLen+5, end)], []byte("hang")) {
			continue
		}
		// One A record for the question, whatever it is.
		msg := buf[:end]
		binary.BigEndian.PutUint16(msg[2:], 0x8180) // QR, RD, RA
		binary.BigEndian.PutUint16(msg[6:], 1)
		binary.BigEndian.PutUint32(msg[8:], 0)
		msg = append(msg, 0xC0, headerLen, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 1)
		u.conn.WriteToUDPAddrPort(msg, from)
	}
}

const headerLen = 12

// questionEnd returns where the question of msg ends, or 0.
func questionEnd(msg []byte) int {
	for i := headerLen; i < len(msg); i += 1 + int(msg[i]) {
		if msg[i] == 0 && i+5 <= len(msg) {
			return i + 5
		}
	}
	return 0
}

// query returns a query for the A records of a name.
func query(id uint16, name string) []byte {
	msg := binary.BigEndian.AppendUint16(nil, id)
	msg = append(msg, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0) // RD
	for label := range strings.SplitSeq(name, ".") {
		msg = append(append(msg, byte(len(label))), label...)
	}
	return append(msg, 0, 0, 1, 0, 1)
}

// A crowd are clients that see to it that so many queries hang: as those of before
// fail, they ask for other names.
type crowd struct {
	conns []*net.UDPConn
	stops chan struct{}
	done  chan struct{} // closed when nothing more is sent
	full  chan struct{} // closed when so many have hung
	least int           // after done: the fewest that hung since
}

const (
	crowdSize = 10                     // clients, each with an address of its own
	crowdTick = 5 * time.Millisecond   // how often they ask
	crowdLook = 100 * time.Millisecond // how often they look how many hang

	// crowdRamp is how long they take until all queries hang: somewhat less than
	// the 5 s after which the first fail. So those that fail, and those that come
	// in their place, are spread evenly over time. It is hanging that is to be
	// measured, not crowds that come at once.
	crowdRamp = 4 * time.Second
)

// newCrowd has s asked for names that hang, until so many do and from then on. It
// must be stopped.
func newCrowd(ctx context.Context, s *server, queries int) (*crowd, error) {
	c := &crowd{stops: make(chan struct{}), done: make(chan struct{}), full: make(chan struct{})}
	for i := range crowdSize {
		conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 1, byte(i+1))}, net.UDPAddrFromAddrPort(s.DNS))
		if err != nil {
			c.close()
			return nil, err
		}
		c.conns = append(c.conns, conn)
	}
	go c.run(ctx, s, queries)
	return c, nil
}

func (c *crowd) run(ctx context.Context, s *server, queries int) {
	defer close(c.done)
	names, full := 0, false
	c.least = queries
	ask := func(kind string) {
		names++
		// What comes back is of no interest, and dropped at the socket.
		c.conns[names%crowdSize].Write(query(uint16(names), fmt.Sprintf("%s%d.x%d.example", kind, names, time.Now().UnixNano())))
	}
	looked, lack := time.Time{}, 0
	for tick := time.Tick(crowdTick); ; {
		select {
		case <-c.stops:
			return
		case <-tick:
		}
		if time.Since(looked) >= crowdLook {
			hang, err := s.inFlight(ctx)
			if err != nil {
				return
			}
			looked = time.Now()
			lack = queries + queries/50 - hang // some more: they fail while nobody looks
			switch {
			case full:
				c.least = min(c.least, hang)
			case hang >= queries:
				full = true
				close(c.full)
			}
			ask("lives") // the upstream is slow with some names, and not dead
		}
		for range min(lack, 1+queries*int(crowdTick)/int(crowdRamp)) {
			ask("hang")
			lack--
		}
	}
}

// wait returns when so many queries hang.
func (c *crowd) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-c.full:
		return nil
	case <-c.done:
		return errors.New("the server has gone")
	case <-ctx.Done():
		return fmt.Errorf("so many queries never hung, perhaps for want of sockets (ulimit -n): %w", ctx.Err())
	}
}

// stop ends the crowd, and returns the fewest queries that hung once all did. What
// hangs is left to the server.
func (c *crowd) stop() (least int) {
	close(c.stops)
	<-c.done
	c.close()
	return c.least
}

func (c *crowd) close() {
	for _, conn := range c.conns {
		conn.Close()
	}
}
