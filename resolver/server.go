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

// Config configures a Server. Zone, Metrics and Log must be set, and Listen must not
// be empty. Other fields may be zero, and have the default then.
type Config struct {
	// Listen holds addresses as HOST:PORT, where HOST is an IP address. On Linux
	// the address need not be on an interface yet. Port 0 is replaced by a free
	// port, the same for UDP and TCP.
	Listen []string

	Zone    *zone.Publisher
	Metrics *metrics.DNS
	Log     *zap.Logger

	// Forward resolves names outside the zones. It must work until Run has
	// returned. If it is nil, forwarding is off, and those names are REFUSED.
	Forward Forwarder

	// MaxUDPSize is the largest UDP response, in octets, even if a client
	// announces more. Default DefaultMaxUDPSize.
	MaxUDPSize int
	// UDPWorkers is the number of sockets and of goroutines for each listen
	// address. Default GOMAXPROCS.
	UDPWorkers int

	// TCPWorkers is the number of goroutines that serve the TCP connections of
	// all listen addresses together. Other systems than Linux ignore it: there
	// each connection has a goroutine. Default GOMAXPROCS.
	TCPWorkers int
	// TCPConns is the number of TCP connections that may be open at all listen
	// addresses together. One more replaces the one that has been idle for
	// longest. Default 1000.
	TCPConns int
	// TCPIdle is how long a client may take to send a whole query, or to take a
	// response. Default 10s.
	TCPIdle time.Duration
	// TCPTotal is how long a TCP connection may be open. Default 5m.
	TCPTotal time.Duration

	// ReniceOthers makes Run raise the niceness of all threads of the program but
	// those that answer, until the program ends. The system then runs answering
	// threads first. Other systems than Linux ignore it.
	ReniceOthers bool

	// goroutines makes Linux serve TCP as systems without epoll do, for tests.
	goroutines bool
}

// DefaultMaxUDPSize is the default of Config.MaxUDPSize, in octets. A private network
// carries larger datagrams than the usual 1232, in fragments if necessary, and the
// client needs no TCP connection. Only clients that announce so much get it.
const DefaultMaxUDPSize = 8192

// maxDatagram is the largest payload of a UDP datagram over IPv4, in octets: 65,535
// less both headers (RFC 768; RFC 791, Section 3.1).
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
	once    sync.Once    // of Close
	addrs   []netip.AddrPort
	threads *socket.AnsweringThreads // nil without ReniceOthers
}

// Listen binds all addresses in c.Listen. If any fails, it binds none and returns all
// errors.
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

// Waiting returns how many of the server's goroutines wait in system calls of their
// own, outside of Go's poller: one for each UDP socket and one for each TCP worker.
// While it waits, each occupies one of the GOMAXPROCS for up to 10 ms. So a program
// should raise GOMAXPROCS by that many.
func (s *Server) Waiting() int {
	n := s.tcp.waiting()
	if socket.BatchWaits {
		n += len(s.workers)
	}
	return n
}

// bind binds TCP first, then UDP. UDP sockets share their port (SO_REUSEPORT), so a
// second server at the same address would bind them without an error. A TCP port
// cannot be shared.
func (s *Server) bind(addr string) error {
	want, err := netip.ParseAddrPort(addr)
	if err != nil {
		return fmt.Errorf("%q is no IP address and port", addr)
	}
	const attempts = 20 // with port 0: another program may have TCP's port for UDP
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

// Close closes the sockets of a Server whose Run was not called.
func (s *Server) Close() {
	s.once.Do(func() {
		closeAll(s.workers)
		s.tcp.close()
	})
}

func closeAll(workers []*udpWorker) {
	for _, w := range workers {
		w.close()
	}
}

// Run serves until ctx is done. Then it submits no more queries to the forwarder, and
// waits up to 2 s for the responses to earlier ones; it answers all other queries
// meanwhile. Then it answers the queries that have already arrived, closes all
// sockets and waits for all goroutines. Run returns nil if ctx ended it, and
// otherwise the first error of a worker. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg      sync.WaitGroup
		once    sync.Once
		failure error // the first one; read after wg.Wait
	)
	fail := func(err error) {
		once.Do(func() { failure = err })
		cancel()
	}
	if s.config.ReniceOthers {
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
