package resolver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/zone/wire"
	"go.uber.org/zap"
)

// tcpBuffer is the room for queries, and for responses, that a connection begins
// with, in octets: some dozens of queries. It grows for longer ones.
const tcpBuffer = 4096

// A tcpSpawner is a tcpServer that serves each connection in a goroutine of its
// own.
type tcpSpawner struct {
	server    *Server
	listeners []*net.TCPListener
	stock     chan *spawned // to be used again
	wg        sync.WaitGroup

	mu       sync.Mutex
	open     map[*net.TCPConn]struct{} // guarded by mu
	stopping bool                      // guarded by mu
}

func newTCPSpawner(s *Server) *tcpSpawner {
	return &tcpSpawner{
		server: s,
		stock:  make(chan *spawned, tcpStock),
		open:   make(map[*net.TCPConn]struct{}),
	}
}

func (t *tcpSpawner) add(ln *net.TCPListener, _ netip.AddrPort) error {
	t.listeners = append(t.listeners, ln)
	return nil
}

func (t *tcpSpawner) waiting() int { return 0 }

func (t *tcpSpawner) serve(fail func(error)) {
	for _, ln := range t.listeners {
		t.wg.Go(func() {
			if err := t.accept(ln); err != nil {
				fail(fmt.Errorf("serve TCP at %v: %w", ln.Addr(), err))
			}
		})
	}
	t.wg.Wait()
}

// accept serves the connections of one listener until it is closed. It returns
// nil then.
func (t *tcpSpawner) accept(ln *net.TCPListener) error {
	for {
		conn, err := ln.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case isTemporary(err):
			t.server.config.Log.Warn("cannot accept TCP connections for now", zap.Error(err))
			time.Sleep(acceptPause)
			continue
		case err != nil:
			return err
		}
		metrics := t.server.config.Metrics
		metrics.Accepted()
		if why, ok := t.admit(conn); !ok {
			conn.Close()
			metrics.Closed(why)
			continue
		}
		t.wg.Go(func() {
			why := t.talk(conn)
			t.leave(conn)
			conn.Close()
			metrics.Closed(why)
		})
	}
}

// admit notes conn as open, if there may be one more.
func (t *tcpSpawner) admit(conn *net.TCPConn) (why metrics.Closing, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.stopping:
		return metrics.ClosedStop, false
	case len(t.open) >= t.server.config.TCPConns:
		return metrics.ClosedFull, false
	}
	t.open[conn] = struct{}{}
	return 0, true
}

func (t *tcpSpawner) leave(conn *net.TCPConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, conn)
}

func (t *tcpSpawner) close() {
	for _, ln := range t.listeners {
		ln.Close()
	}
}

func (t *tcpSpawner) stop() {
	t.close()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopping = true
	for conn := range t.open {
		conn.SetDeadline(time.Now().Add(tcpGrace))
	}
}

// mayRead gives conn until deadline to bring a query, and mayWrite gives it
// until deadline to take responses, unless the server stops: then what stop gave
// it stays.

func (t *tcpSpawner) mayRead(conn *net.TCPConn, deadline time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopping {
		conn.SetReadDeadline(deadline)
	}
}

func (t *tcpSpawner) mayWrite(conn *net.TCPConn, deadline time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopping {
		conn.SetWriteDeadline(deadline)
	}
}

func (t *tcpSpawner) stopped() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stopping
}

// talk answers the queries of one connection and says why it ended.
func (t *tcpSpawner) talk(conn *net.TCPConn) metrics.Closing {
	var c *spawned
	select {
	case c = <-t.stock:
	default:
		c = &spawned{responder: t.server.newTCPResponder()}
	}
	c.begin(t, conn)
	defer c.end()
	return c.serve()
}

// A spawned is the state of one connection. It is used again for others.
type spawned struct {
	tcp      *tcpSpawner
	conn     *net.TCPConn
	src, dst netip.Addr
	old      time.Time // when the connection has lasted long enough
	in       []byte    // octets read and not yet answered
	out      []byte    // responses not yet written
	responder
}

func (c *spawned) begin(t *tcpSpawner, conn *net.TCPConn) {
	c.tcp, c.conn = t, conn
	c.src = conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
	c.dst = conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr()
	c.old = time.Now().Add(t.server.config.TCPTotal)
	c.shard = t.server.config.Metrics.NewShard(metrics.TCP)
	if c.in == nil {
		c.in, c.out = make([]byte, 0, tcpBuffer), make([]byte, 0, tcpBuffer)
	}
}

// end puts what can be used again into stock.
func (c *spawned) end() {
	c.shard.Flush(0)
	c.tcp.server.config.Metrics.Retire(c.shard)
	c.in, c.out = c.in[:0], c.out[:0]
	if cap(c.in) > tcpKeep || cap(c.out) > tcpKeep {
		return
	}
	select {
	case c.tcp.stock <- c:
	default:
	}
}

// serve reads, answers and writes until the connection ends. What was read is
// answered before an end of the client's side counts: it may have closed only
// its half.
func (c *spawned) serve() metrics.Closing {
	idle := c.tcp.server.config.TCPIdle
	for {
		now := time.Now()
		if !now.Before(c.old) {
			return metrics.ClosedOld
		}
		deadline := now.Add(idle)
		if deadline.After(c.old) {
			deadline = c.old
		}
		c.tcp.mayRead(c.conn, deadline)
		if why, ok := c.fill(); !ok {
			return why
		}
		began := time.Now()
		why, ok := c.answerAll(idle)
		c.shard.Flush(time.Since(began))
		if !ok {
			return why
		}
	}
}

// fill reads until at least one whole query is in c.in.
func (c *spawned) fill() (why metrics.Closing, ok bool) {
	for !whole(c.in) {
		c.in = grow(c.in, max(need(c.in)-len(c.in), 1))
		n, err := c.conn.Read(c.in[len(c.in):cap(c.in)])
		c.in = c.in[:len(c.in)+n]
		if err == nil || n > 0 {
			continue
		}
		switch {
		case errors.Is(err, io.EOF) && len(c.in) == 0:
			return metrics.ClosedByClient, false
		case errors.Is(err, io.EOF):
			return metrics.ClosedFrame, false
		case errors.Is(err, os.ErrDeadlineExceeded) && c.tcp.stopped():
			return metrics.ClosedStop, false
		case errors.Is(err, os.ErrDeadlineExceeded) && !time.Now().Before(c.old):
			return metrics.ClosedOld, false
		case errors.Is(err, os.ErrDeadlineExceeded):
			return metrics.ClosedIdle, false
		}
		return metrics.ClosedRead, false
	}
	return 0, true
}

// grow returns b with room for n more octets at least.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	return append(make([]byte, 0, max(2*cap(b), len(b)+n)), b...)
}

// answerAll answers the whole queries in c.in and keeps the rest. If it reports
// false, the connection must end: what follows cannot be a message, or a
// response was not taken, perhaps not as a whole.
func (c *spawned) answerAll(idle time.Duration) (why metrics.Closing, ok bool) {
	in, decodable := c.in, true
	for whole(in) {
		msg := in[frameHead:need(in)]
		if decodable = len(msg) >= wire.HeaderLen; !decodable {
			c.shard.Drop(metrics.DropShort)
			break
		}
		c.answer(msg)
		in = in[need(in):]
		if len(c.out) > tcpWrite && !c.flush(idle) {
			return metrics.ClosedWrite, false
		}
	}
	c.in = c.in[:copy(c.in, in)]
	if !c.flush(idle) {
		return metrics.ClosedWrite, false
	}
	return metrics.ClosedFrame, decodable
}

// answer appends the response to msg to c.out, its length before it.
func (c *spawned) answer(msg []byte) {
	at := len(c.out)
	c.out = append(grow(c.out, tcpBuffer/2), 0, 0)
	room := c.out[at+frameHead : at+frameHead : cap(c.out)]
	out := c.respond(c.src, c.dst, msg, room)
	if len(out) == 0 {
		c.out = c.out[:at]
		return
	}
	binary.BigEndian.PutUint16(c.out[at:], uint16(len(out)))
	// If the room was enough, this copies the response onto itself.
	c.out = append(c.out, out...)
}

// flush writes the responses. It reports false if the client did not take them.
func (c *spawned) flush(idle time.Duration) bool {
	if len(c.out) == 0 {
		return true
	}
	c.tcp.mayWrite(c.conn, time.Now().Add(idle))
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	return err == nil
}
