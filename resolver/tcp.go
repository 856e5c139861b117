package resolver

import (
	"encoding/binary"
	"errors"
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

const (
	// frameHead is the length that stands before each message over TCP, in
	// octets (RFC 1035, Section 4.2.2).
	frameHead = 2

	// tcpBuffer is the room for queries, and for responses, that a connection
	// begins with, in octets: some dozens of queries. It grows for longer ones.
	tcpBuffer = 4096

	// tcpKeep is the most octets of a buffer that are kept for the next
	// connection.
	tcpKeep = 64 << 10

	// tcpWrite is how many octets of responses are collected before they are
	// written although more queries are at hand.
	tcpWrite = 32 << 10

	// tcpStock is the number of idle connections' buffers that are kept.
	tcpStock = 64

	// tcpGrace is how long, after the order to stop, a connection may go on
	// with queries that are on their way.
	tcpGrace = 200 * time.Millisecond

	// acceptPause is how long accepting pauses when the system is out of
	// descriptors or memory. Connections wait in the kernel meanwhile.
	acceptPause = 50 * time.Millisecond
)

// A tcpServer serves the connections of all TCP listeners.
type tcpServer struct {
	server    *Server
	listeners []*net.TCPListener
	stock     chan *tcpConn // to be used again
	wg        sync.WaitGroup

	mu       sync.Mutex
	open     map[*net.TCPConn]struct{} // guarded by mu
	stopping bool                      // guarded by mu
}

func newTCPServer(s *Server) *tcpServer {
	return &tcpServer{
		server: s,
		stock:  make(chan *tcpConn, tcpStock),
		open:   make(map[*net.TCPConn]struct{}),
	}
}

// accept serves the connections of one listener until it is closed. It returns
// nil then.
func (t *tcpServer) accept(ln *net.TCPListener) error {
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
			why := t.serve(conn)
			t.leave(conn)
			conn.Close()
			metrics.Closed(why)
		})
	}
}

// admit notes conn as open, if there may be one more.
func (t *tcpServer) admit(conn *net.TCPConn) (why metrics.Closing, ok bool) {
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

func (t *tcpServer) leave(conn *net.TCPConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, conn)
}

// stop ends accepting and gives open connections tcpGrace.
func (t *tcpServer) stop() {
	for _, ln := range t.listeners {
		ln.Close()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopping = true
	for conn := range t.open {
		conn.SetDeadline(time.Now().Add(tcpGrace))
	}
}

// wait returns when all connections have ended.
func (t *tcpServer) wait() { t.wg.Wait() }

// mayRead gives conn until deadline to bring a query, and mayWrite gives it
// until deadline to take responses, unless the server stops: then what stop gave
// it stays.

func (t *tcpServer) mayRead(conn *net.TCPConn, deadline time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopping {
		conn.SetReadDeadline(deadline)
	}
}

func (t *tcpServer) mayWrite(conn *net.TCPConn, deadline time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopping {
		conn.SetWriteDeadline(deadline)
	}
}

func (t *tcpServer) stopped() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stopping
}

// serve answers the queries of one connection and says why it ended.
func (t *tcpServer) serve(conn *net.TCPConn) metrics.Closing {
	var c *tcpConn
	select {
	case c = <-t.stock:
	default:
		c = &tcpConn{responder: t.server.newTCPResponder()}
	}
	c.begin(t, conn)
	defer c.end()
	return c.serve()
}

// A tcpConn is the state of one connection. It is used again for others.
type tcpConn struct {
	tcp      *tcpServer
	conn     *net.TCPConn
	src, dst netip.Addr
	old      time.Time // when the connection has lasted long enough
	in       []byte    // octets read and not yet answered
	out      []byte    // responses not yet written
	responder
}

func (c *tcpConn) begin(t *tcpServer, conn *net.TCPConn) {
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
func (c *tcpConn) end() {
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
func (c *tcpConn) serve() metrics.Closing {
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
func (c *tcpConn) fill() (why metrics.Closing, ok bool) {
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

// need returns how many octets the first frame in in takes, as far as that is
// known.
func need(in []byte) int {
	if len(in) < frameHead {
		return frameHead
	}
	return frameHead + int(binary.BigEndian.Uint16(in))
}

// whole reports whether in begins with a whole frame.
func whole(in []byte) bool { return len(in) >= frameHead && len(in) >= need(in) }

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
func (c *tcpConn) answerAll(idle time.Duration) (why metrics.Closing, ok bool) {
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
func (c *tcpConn) answer(msg []byte) {
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
func (c *tcpConn) flush(idle time.Duration) bool {
	if len(c.out) == 0 {
		return true
	}
	c.tcp.mayWrite(c.conn, time.Now().Add(idle))
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	return err == nil
}
