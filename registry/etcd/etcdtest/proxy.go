package etcdtest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// A Proxy forwards connections of clients to a Server. It has a loopback port of its own.
type Proxy struct {
	listener net.Listener
	done     sync.WaitGroup

	mu     sync.Mutex
	server *Server
	mode   mode
	delay  time.Duration
	conns  map[net.Conn]struct{}
}

type mode int

const (
	passing mode = iota
	cut
	swallowing
)

// Proxy starts a proxy to the server, which ends with the test.
func (s *Server) Proxy() *Proxy {
	s.t.Helper()
	return newProxy(s.t, s)
}

func newProxy(t testing.TB, s *Server) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, server: s, conns: make(map[net.Conn]struct{})}
	p.done.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.Cut()
		p.done.Wait()
	})
	return p
}

// Endpoint is where clients connect to.
func (p *Proxy) Endpoint() string { return "http://" + p.listener.Addr().String() }

// Cut closes all connections, and those to come at once, until Pass.
func (p *Proxy) Cut() {
	p.set(cut, 0)
	p.Reset()
}

// Reset closes all connections; new ones are served.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// Redirect closes all connections, and forwards new ones to another server.
func (p *Proxy) Redirect(s *Server) {
	p.mu.Lock()
	p.server = s
	p.mu.Unlock()
	p.Reset()
}

// Swallow keeps all connections open and discards what is sent, until Pass. Connections
// that lost something are closed then.
func (p *Proxy) Swallow() { p.set(swallowing, 0) }

// Delay forwards everything after a delay, in each direction.
func (p *Proxy) Delay(d time.Duration) { p.set(passing, d) }

// Pass forwards everything at once.
func (p *Proxy) Pass() { p.set(passing, 0) }

func (p *Proxy) set(m mode, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode, p.delay = m, delay
}

func (p *Proxy) now() (mode, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode, p.delay
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		m, _ := p.now()
		if m == cut {
			c.Close()
			continue
		}
		p.mu.Lock()
		socket := p.server.socket()
		p.mu.Unlock()
		s, err := net.Dial("unix", socket)
		if err != nil {
			c.Close()
			continue
		}
		p.mu.Lock()
		p.conns[c], p.conns[s] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.done.Go(func() { p.pipe(c, s) })
		p.done.Go(func() { p.pipe(s, c) })
	}
}

// pipe copies from one side to the other until either closes.
func (p *Proxy) pipe(from, to net.Conn) {
	defer func() {
		from.Close()
		to.Close()
		p.mu.Lock()
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	buf := make([]byte, 64<<10)
	for lost := false; ; {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		m, delay := p.now()
		if m == swallowing {
			lost = true
			continue
		}
		if lost {
			return // octets are missing
		}
		if delay > 0 {
			time.Sleep(delay)
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
