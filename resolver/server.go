package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/socket"
	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/wire"
	"go.uber.org/zap"
)

// Config is what a Server needs. Zone, Metrics and Log must be set, and Listen
// must not be empty; zero values of the rest stand for the defaults.
type Config struct {
	// Listen holds addresses as HOST:PORT, where HOST is an IP address. An
	// address need not be on an interface yet. Port 0 takes a free one, the
	// same for UDP and TCP.
	Listen []string

	Zone    *zone.Publisher
	Metrics *metrics.DNS
	Log     *zap.Logger

	// Forward resolves the names that are not ours. It must go on until Run has
	// returned. If it is nil, forwarding is off, and those names are REFUSED.
	Forward Forwarder

	// MaxUDPSize is the most octets of a UDP response, also to clients that
	// would take more. Default DefaultMaxUDPSize.
	MaxUDPSize int
	// UDPWorkers is the number of sockets, and goroutines, for each listen
	// address. Default: the processors that the program may use.
	UDPWorkers int

	// TCPWorkers is the number of goroutines that serve TCP connections, of all
	// listen addresses together, on Linux; elsewhere each connection has one.
	// Default: the processors that the program may use.
	TCPWorkers int
	// TCPConns is the number of TCP connections that may be open at all listen
	// addresses together. For one more, that which has been idle for longest is
	// closed. Default 1000.
	TCPConns int
	// TCPIdle is how long a connection may take to bring a whole query, or to
	// take a response. Default 10s.
	TCPIdle time.Duration
	// TCPTotal is how long a connection may last. Default 5m.
	TCPTotal time.Duration

	// Prefer has the system prefer the threads that answer to all others of the
	// program, where it knows a way: it makes the others nicer, for good.
	Prefer bool

	// goroutines makes Linux serve TCP as systems without epoll do, for tests.
	goroutines bool
}

// DefaultMaxUDPSize is the largest UDP response unless configured, in octets. On
// a private network larger datagrams than the usual 1232 pass, in fragments if
// need be, and spare the client a TCP connection; only clients that announce so
// much get it.
const DefaultMaxUDPSize = 8192

// maxDatagram is the most octets that a UDP datagram over IPv4 holds: 65,535
// less both headers (RFC 768; RFC 791, Section 3.1). The system sends no larger
// one.
const maxDatagram = 65535 - 20 - 8

func (c *Config) setDefaults() {
	set := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	set(&c.MaxUDPSize, DefaultMaxUDPSize)
	set(&c.UDPWorkers, runtime.GOMAXPROCS(0))
	set(&c.TCPWorkers, runtime.GOMAXPROCS(0))
	set(&c.TCPConns, 1000)
	c.MaxUDPSize = min(max(c.MaxUDPSize, wire.MinUDPSize), maxDatagram)
	if c.TCPIdle == 0 {
		c.TCPIdle = 10 * time.Second
	}
	if c.TCPTotal == 0 {
		c.TCPTotal = 5 * time.Minute
	}
}

// A Server answers DNS queries at its listen addresses.
type Server struct {
	config  Config
	pending *pending
	workers []*udpWorker
	tcp     tcpServer
	conns   atomic.Int64 // open TCP connections
	addrs   []netip.AddrPort
	threads *socket.AnsweringThreads // nil: no thread is preferred
}

// Listen binds all of c's addresses, or none and returns everything that failed.
func Listen(c Config) (*Server, error) {
	c.setDefaults()
	s := &Server{config: c, pending: newPending()}
	var err error
	if s.tcp, err = newTCPServer(s); err != nil {
		return nil, err
	}
	var errs []error
	for _, addr := range c.Listen {
		if err := s.bind(addr); err != nil {
			errs = append(errs, fmt.Errorf("listen at %s: %w", addr, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Addrs returns the addresses that the server is bound to, in the order of
// Config.Listen.
func (s *Server) Addrs() []netip.AddrPort { return s.addrs }

// Waiting returns how many of the server's goroutines wait in system calls that
// the runtime knows nothing of: one for each UDP socket and one for each TCP
// worker. Each holds one of the GOMAXPROCS there meanwhile, for up to 10 ms, so a
// program should have that many more of them than it has processors.
func (s *Server) Waiting() int {
	n := s.tcp.waiting()
	if socket.BatchWaits {
		n += len(s.workers)
	}
	return n
}

// bind binds TCP first: its port cannot be shared, so that a second server at
// the same address finds out, although the UDP sockets would share it.
func (s *Server) bind(addr string) error {
	want, err := netip.ParseAddrPort(addr)
	if err != nil {
		return fmt.Errorf("%q is no IP address and port", addr)
	}
	const attempts = 20 // with port 0, UDP may lack the port that TCP was given
	for attempt := 1; ; attempt++ {
		ln, err := socket.ListenTCP(want)
		if err != nil {
			return err
		}
		got := ln.Addr().(*net.TCPAddr).AddrPort()
		got = netip.AddrPortFrom(want.Addr(), got.Port())
		workers, err := s.bindUDP(got)
		if err == nil {
			if err := s.tcp.add(ln, got); err != nil {
				closeAll(workers)
				return err
			}
			s.workers = append(s.workers, workers...)
			s.addrs = append(s.addrs, got)
			return nil
		}
		ln.Close()
		if want.Port() != 0 || attempt == attempts {
			return err
		}
	}
}

func (s *Server) bindUDP(addr netip.AddrPort) ([]*udpWorker, error) {
	var workers []*udpWorker
	for range s.config.UDPWorkers {
		w, err := s.newUDPWorker(addr)
		if err != nil {
			closeAll(workers)
			return nil, err
		}
		workers = append(workers, w)
	}
	return workers, nil
}

// admit counts one more TCP connection, unless TCPConns are open.
func (s *Server) admit() bool {
	if s.conns.Add(1) <= int64(s.config.TCPConns) {
		return true
	}
	s.conns.Add(-1)
	return false
}

// Close releases the sockets of a Server that will not run.
func (s *Server) Close() {
	closeAll(s.workers)
	s.tcp.close()
}

func closeAll(workers []*udpWorker) {
	for _, w := range workers {
		w.close()
	}
}

// Run serves until ctx is done. Then it submits nothing more to the forwarder, and
// waits up to 2 s for what that still owes, answering as before meanwhile. Then it
// answers what has already come, closes all sockets and waits for every goroutine.
// It returns nil after an orderly stop, and otherwise the first error that made it
// stop. A Server runs once.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg      sync.WaitGroup
		once    sync.Once
		failure error // the first, set once, and read after wg.Wait
	)
	fail := func(err error) {
		once.Do(func() { failure = err })
		cancel()
	}
	if s.config.Prefer {
		s.threads = socket.NewAnsweringThreads(s.Waiting())
	}
	for _, w := range s.workers {
		wg.Go(func() {
			if socket.BatchWaits {
				s.threads.Join()
			}
			if err := w.serve(); err != nil {
				fail(fmt.Errorf("serve UDP at %v: %w", w.addr, err))
			}
		})
	}
	wg.Go(func() { s.tcp.serve(fail) })
	<-ctx.Done()
	s.pending.wait()
	for _, w := range s.workers {
		w.batch.Stop()
	}
	s.tcp.stop()
	wg.Wait()
	s.Close()
	return failure
}
