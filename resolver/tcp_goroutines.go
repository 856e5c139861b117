package resolver

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/socket"
	"go.uber.org/zap"
)

const (
	// goroutineRead is how many octets are read from a connection at once:
	// dozens of queries.
	goroutineRead = 4096

	// goroutineWrite is how long a write may delay other connections. Most
	// clients take their responses at once. Go's net package has no write that
	// does not wait at all.
	goroutineWrite = 10 * time.Millisecond
)

// A tcpGoroutines is a tcpServer for systems without epoll. One goroutine for each
// listener accepts, one for each connection reads and writes, and one handles
// deadlines and late responses. They share one worker. They wait with mu unlocked, and
// do everything else with mu locked.
type tcpGoroutines struct {
	listeners []*net.TCPListener
	wg        sync.WaitGroup
	wake      chan struct{} // wakes run; it holds one element at most

	mu     sync.Mutex
	worker tcpWorker // guarded by mu
}

// A goroutineConn is what tcpGoroutines knows of a connection.
type goroutineConn struct {
	conn    *net.TCPConn
	changed *sync.Cond // signalled by await and closeSocket; its lock is mu
	writing bool       // its goroutine is in conn.Write
}

func newTCPGoroutines(s *Server) *tcpGoroutines {
	g := &tcpGoroutines{wake: make(chan struct{}, 1)}
	g.worker.init(s, g, g.signal)
	return g
}

// signal wakes run.
func (g *tcpGoroutines) signal() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (g *tcpGoroutines) add(ln *net.TCPListener, _ netip.AddrPort) error {
	g.listeners = append(g.listeners, ln)
	return nil
}

func (g *tcpGoroutines) waiting() int { return 0 }

func (g *tcpGoroutines) serve(fail func(error)) {
	for _, ln := range g.listeners {
		g.wg.Go(func() {
			if err := g.accept(ln); err != nil {
				fail(fmt.Errorf("serve TCP at %v: %w", ln.Addr(), err))
			}
		})
	}
	g.run()
	g.wg.Wait()
	g.worker.late.close()
}

// run delivers late responses and closes connections that are due, until the
// worker has finished.
func (g *tcpGoroutines) run() {
	w := &g.worker
	for {
		g.mu.Lock()
		w.now = time.Now()
		w.deliver()
		w.expire()
		g.flush()
		next, finished := w.deadline(), w.finished()
		g.mu.Unlock()
		if finished {
			return
		}
		var due <-chan time.Time
		if !next.IsZero() {
			due = time.After(time.Until(next))
		}
		select {
		case <-g.wake:
		case <-due:
		}
	}
}

// flush does what must follow each event. mu must be locked.
func (g *tcpGoroutines) flush() {
	g.worker.forget()
	g.worker.shard.Flush(time.Since(g.worker.now))
}

// accept accepts connections until ln is closed. It returns nil then.
func (g *tcpGoroutines) accept(ln *net.TCPListener) error {
	for {
		conn, err := ln.AcceptTCP()
		switch {
		case err == nil:
			g.begin(conn)
		case errors.Is(err, net.ErrClosed):
			return nil
		case socket.IsTemporary(err):
			g.worker.server.config.Log.Warn("cannot accept TCP connections for now", zap.Error(err))
			time.Sleep(acceptPause)
		default:
			return err
		}
	}
}

// begin starts the goroutine of a new connection, unless the server stops or may
// have no more.
func (g *tcpGoroutines) begin(conn *net.TCPConn) {
	src := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
	dst := conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.worker.end.IsZero() {
		conn.Close()
		return
	}
	g.worker.now = time.Now()
	c := g.worker.begin(src, dst)
	if c == nil {
		conn.Close()
		return
	}
	c.goroutine = goroutineConn{conn: conn, changed: sync.NewCond(&g.mu)}
	g.wg.Go(func() { g.serveConn(c) })
	g.signal() // it may have the first deadline
}

// serveConn reads from a connection and writes to it until it is closed.
func (g *tcpGoroutines) serveConn(c *tcpConn) {
	in := make([]byte, goroutineRead)
	g.mu.Lock()
	defer g.mu.Unlock()
	for c.number != 0 {
		switch {
		case c.out != nil:
			g.writeOut(c)
		case c.reads():
			g.read(c, in)
		default:
			c.goroutine.changed.Wait()
		}
		g.flush()
	}
	g.worker.recycle(c)
}

// read reads once. Only its wait is done with mu unlocked.
func (g *tcpGoroutines) read(c *tcpConn, in []byte) {
	conn := c.goroutine.conn
	conn.SetReadDeadline(time.Time{}) // until await sets another
	g.mu.Unlock()
	n, err := conn.Read(in)
	g.mu.Lock()
	if c.number == 0 {
		return
	}
	g.worker.now = time.Now()
	switch {
	case n > 0:
		g.worker.received(c, in[:n]) // an error stays, and is returned again
	case errors.Is(err, io.EOF):
		g.worker.clientClosed(c)
	case !errors.Is(err, os.ErrDeadlineExceeded):
		g.worker.close(c, metrics.ClosedRead)
	}
}

// writeOut writes c.out. It waits, with mu unlocked, until the client has taken all, or
// until expire closes the connection. deliver may append to c.out meanwhile.
func (g *tcpGoroutines) writeOut(c *tcpConn) {
	s, out := &c.goroutine, c.out
	s.conn.SetWriteDeadline(time.Time{})
	s.writing = true
	g.mu.Unlock()
	n, err := s.conn.Write(out)
	g.mu.Lock()
	s.writing = false
	if c.number == 0 {
		return
	}
	g.worker.now = time.Now()
	if err != nil {
		g.worker.close(c, metrics.ClosedWrite)
		return
	}
	g.worker.written(c, n)
}

// write, await and closeSocket implement tcpSockets.

func (g *tcpGoroutines) write(c *tcpConn, b []byte) (int, error) {
	s := &c.goroutine
	if s.writing {
		return 0, nil
	}
	s.conn.SetWriteDeadline(time.Now().Add(goroutineWrite))
	n, err := s.conn.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil // writeOut writes the rest
	}
	return n, err
}

func (g *tcpGoroutines) await(c *tcpConn) {
	if !c.reads() {
		c.goroutine.conn.SetReadDeadline(time.Unix(1, 0)) // ends a read under way
	}
	c.goroutine.changed.Signal()
}

// closeSocket ends what the connection's goroutine waits for. That goroutine
// recycles c then.
func (g *tcpGoroutines) closeSocket(c *tcpConn) {
	c.goroutine.conn.Close()
	c.goroutine.changed.Signal()
}

func (g *tcpGoroutines) stop() {
	g.close()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.worker.end = time.Now().Add(tcpGrace)
	g.signal()
}

func (g *tcpGoroutines) close() {
	for _, ln := range g.listeners {
		ln.Close()
	}
}
