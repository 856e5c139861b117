package upstream

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/internaldns/internaldns/resolver/forward/clock"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// keptSocket returns the one socket that the poller keeps, which no query uses.
func keptSocket(t *testing.T, a *Asker) *socket {
	t.Helper()
	a.poller.mu.Lock()
	defer a.poller.mu.Unlock()
	for _, idle := range a.poller.idle {
		if len(idle) == 1 {
			return idle[0]
		}
	}
	t.Fatal("not one socket is kept")
	return nil
}

// connectTo gives s a peer and a port, and returns its address.
func (s *socket) connectTo(t *testing.T, to netip.AddrPort) *net.UDPAddr {
	t.Helper()
	if err := unix.Connect(s.fd, sockaddr(to)); err != nil {
		t.Fatal(err)
	}
	return localOf(t, s.fd)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

func localOf(t *testing.T, fd int) *net.UDPAddr {
	t.Helper()
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return &net.UDPAddr{IP: sa.Addr[:], Port: sa.Port}
	case *unix.SockaddrInet6:
		return &net.UDPAddr{IP: sa.Addr[:], Port: sa.Port}
	}
	t.Fatalf("%T is no address", sa)
	return nil
}

// What an earlier query leaves in a socket, messages or an error, does not concern
// the next one: it says nothing about the server that is asked, and does not delay
// the query.
func TestWhatAnEarlierQueryLeftIsDropped(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		up := newResponder(t, at, truth)
		a := startAsker(t, nil)
		server := a.NewServer(Address{Addr: up.addr()})
		for _, left := range []struct {
			name string
			do   func(s *socket)
			kept bool // the socket, for the next query
		}{
			{"nothing", func(*socket) {}, true},
			{"messages", func(s *socket) {
				other := listenAt(t, at)
				to := s.connectTo(t, addrOf(other))
				for _, b := range [][]byte{nil, {1}, make([]byte, 12), make([]byte, 1400)} {
					other.WriteToUDP(b, to)
				}
			}, true},
			{"an error", func(s *socket) {
				closed := listenAt(t, at)
				closed.Close()
				s.connectTo(t, addrOf(closed))
				unix.Write(s.fd, []byte("anyone?")) // brings port unreachable
			}, true},
			{"a flood", func(s *socket) {
				other := listenAt(t, at)
				to := s.connectTo(t, addrOf(other))
				for range maxLeft + 1 {
					other.WriteToUDP([]byte{1}, to)
				}
			}, false},
		} {
			asked(t, a, server)
			s := keptSocket(t, a)
			left.do(s)
			if err := s.disconnect(); err != nil {
				t.Fatal(err)
			}
			before := up.received()
			if ev := asked(t, a, server); !isAnswer(ev, 1) {
				t.Errorf("%s was left: %+v", left.name, ev)
			}
			if n := up.received() - before; n != 1 {
				t.Errorf("%s was left: the next query was sent %d times", left.name, n)
			}
			if kept := keptSocket(t, a) == s; kept != left.kept {
				t.Errorf("%s was left: the socket is kept: %v, want %v", left.name, kept, left.kept)
			}
		}
		for kind, name := range message.Mismatches {
			if n := server.Stats.Mismatches(kind); n != 0 {
				t.Errorf("%d mismatches %q are held against the server, want none", n, name)
			}
		}
		if n := server.Stats.Errors.Load(); n != 0 || server.missed.Load() != 0 {
			t.Errorf("%d errors and %d misses are held against the server, want none", n, server.missed.Load())
		}
	}
}

// A socket has a port some instructions before it has a peer, and what comes in
// between, from anywhere, stays in it. It is not believed, even if only its source
// is wrong.
func TestWhatCameBeforeTheSocketHadAPeerIsNotBelieved(t *testing.T) {
	for _, tt := range []struct{ at, stranger string }{
		{"127.0.0.1:0", "127.0.0.1:0"}, {"127.0.0.1:0", "127.0.0.2:0"}, {"[::1]:0", "[::1]:0"},
	} {
		t.Run(tt.stranger+" to "+tt.at, func(t *testing.T) {
			up, stranger := listenAt(t, tt.at), listenAt(t, tt.stranger)
			a := startAsker(t, nil)
			a.once.Do(a.startPoller)
			server := a.NewServer(Address{Addr: addrOf(up)})
			s, _, err := a.poller.get(server)
			if err != nil {
				t.Fatal(err)
			}
			o, q := newOwner(), query(server)
			o.Lock()
			q.owner, q.open, q.socket = o, true, s
			a.sockets.take(q)
			q.message.Make(s.room[:0], q.Question, true, true)
			s.query.Store(q)
			if err := unix.Bind(s.fd, sockaddr(netip.MustParseAddrPort(tt.at))); err != nil {
				t.Fatal(err)
			}
			to := localOf(t, s.fd)
			stranger.WriteToUDP(answer(q.message.Octets, 66), to)
			s.setPeer(server)
			if err := unix.Connect(s.fd, sockaddr(server.Addr)); err != nil {
				t.Fatal(err)
			}
			o.Unlock()
			a.poller.receive(s, make([]byte, udpRoom))
			if len(o.events) != 0 {
				t.Fatal("what the stranger sent was believed")
			}
			up.WriteToUDP(answer(q.message.Octets, 1), to)
			if ev := o.final(t); !isAnswer(ev, 1) {
				t.Errorf("the query ended with %+v", ev)
			}
		})
	}
}

// One socket carries queries one after the other, each from another port.
func TestOneSocketHasANewPortForEachQuery(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		up := newResponder(t, at, truth)
		a := startAsker(t, nil)
		server := a.NewServer(Address{Addr: up.addr()})
		const n = 300
		for range n {
			if ev := asked(t, a, server); !isAnswer(ev, 1) {
				t.Fatalf("%+v", ev)
			}
		}
		ports := map[uint16]bool{}
		up.mu.Lock()
		for _, from := range up.from {
			ports[from.Port()] = true
		}
		up.mu.Unlock()
		if len(ports) < n-10 { // of 28,000, two in 300 are the same on average
			t.Errorf("%s: %d queries came from %d ports", at, n, len(ports))
		}
		if len(a.poller.sockets) != 1 || a.sockets.open.Load() != 0 {
			t.Errorf("%s: %d sockets, of which %d in use, want 1 and none", at, len(a.poller.sockets), a.sockets.open.Load())
		}
		keptSocket(t, a)
	}
}

// Of the sockets that may be open, an eighth is kept for each family.
func TestThePollerKeepsAnEighthOfTheSockets(t *testing.T) {
	up := newResponder(t, "127.0.0.1:0", truth)
	a := startAsker(t, func(c *Config) { c.MaxQueries = 32 })
	server := a.NewServer(Address{Addr: up.addr()})
	o := newOwner()
	for range 24 {
		if err := o.ask(a, query(server)); err != nil {
			t.Fatal(err)
		}
	}
	for range 24 {
		if ev := o.final(t); !isAnswer(ev, 1) {
			t.Errorf("%+v", ev)
		}
	}
	a.poller.mu.Lock()
	defer a.poller.mu.Unlock()
	if n := len(a.poller.idle[0]); n == 0 || n > 4 || len(a.poller.sockets) != n {
		t.Errorf("%d sockets are kept and %d open, want 4 at most and no others", n, len(a.poller.sockets))
	}
}

// A lockedOwner is an owner that counts how often it is locked.
type lockedOwner struct {
	*owner
	locks atomic.Int64
}

func (o *lockedOwner) Lock() {
	o.owner.Lock()
	o.locks.Add(1)
}

// Someone who floods a socket delays neither other queries nor the owner's timer:
// the poller turns to them after some datagrams. The response is still found.
func TestAFloodDoesNotHoldTheOwner(t *testing.T) {
	const flood = 4 * readBatch
	up := listenAt(t, "127.0.0.1:0")
	a := startAsker(t, nil)
	o := &lockedOwner{owner: newOwner()}
	q := query(a.NewServer(Address{Addr: addrOf(up)}))
	o.Lock() // until all datagrams are in the socket
	if err := a.Ask(q, o); err != nil {
		t.Fatal(err)
	}
	client := localOf(t, q.socket.fd)
	for range flood {
		up.WriteToUDP([]byte("flood"), client)
	}
	up.WriteToUDP(answer(q.message.Octets, 1), client)
	o.Unlock()
	if ev := o.final(t); !isAnswer(ev, 1) {
		t.Errorf("%+v", ev)
	}
	if n := o.locks.Load(); n < flood/readBatch {
		t.Errorf("the owner was locked %d times for %d datagrams, want %d times at least", n, flood, flood/readBatch)
	}
}

// A response that comes while the Asker stops wakes the poller. It must not use the
// epoll descriptor after it is closed: another part of the program would get it.
func TestTheEpollDescriptorIsClosedWithStop(t *testing.T) {
	up := listenAt(t, "127.0.0.1:0")
	c := Config{Clock: clock.New(), MaxQueries: 10, Log: zap.NewNop()}
	c.Timers = clock.NewTimers(c.Clock)
	a := NewAsker(c)
	a.Start()
	o := newOwner()
	q := query(a.NewServer(Address{Addr: addrOf(up)}))
	if err := o.ask(a, q); err != nil {
		t.Fatal(err)
	}
	client := localOf(t, q.socket.fd)
	o.Lock() // Stop waits for the lock to end q
	stopped := make(chan struct{})
	go func() {
		c.Timers.Stop()
		a.Stop()
		close(stopped)
	}()
	for stopping := false; !stopping; runtime.Gosched() {
		a.poller.mu.Lock()
		stopping = a.poller.stopped
		a.poller.mu.Unlock()
	}
	if _, err := up.WriteToUDP([]byte("late"), client); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(a.poller.epoll), unix.F_GETFD, 0); err != nil {
		t.Errorf("the epoll descriptor before Stop has ended the queries: %v", err)
	}
	o.Unlock()
	<-stopped
	if _, err := unix.FcntlInt(uintptr(a.poller.epoll), unix.F_GETFD, 0); err == nil {
		t.Error("the epoll descriptor is open after Stop")
	}
	if err := o.ask(a, query(q.Server)); err != errStopped {
		t.Errorf("after Stop, asking ends with %v", err)
	}
}

// If the kernel does not let the runtime wait for the epoll instance, which a regular
// file stands in for here, there is no poller, and goroutines wait for responses. A
// poller would send queries and never read a response.
func TestThereIsNoPollerThatTheRuntimeCannotWaitFor(t *testing.T) {
	fd, err := unix.Open(filepath.Join(t.TempDir(), "file"), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if waitable(fd) != nil {
		t.Error("the runtime's poller has a regular file")
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
		t.Error("the descriptor is still open")
	}
	up := newResponder(t, "127.0.0.1:0", truth)
	a := startAsker(t, nil)
	a.once.Do(func() {}) // as if newPoller had returned nil
	if ev := asked(t, a, a.NewServer(Address{Addr: up.addr()})); !isAnswer(ev, 1) || a.poller != nil {
		t.Errorf("without a poller: %+v", ev)
	}
}

// A socket that brought something else than the response is not used again.
func TestASocketWithAMismatchIsClosed(t *testing.T) {
	up := newResponder(t, "127.0.0.1:0", func(msg []byte, reply func([]byte)) {
		lie := answer(msg, 66)
		lie[0]++
		reply(lie)
		reply(answer(msg, 1))
	})
	a := startAsker(t, nil)
	server := a.NewServer(Address{Addr: up.addr()})
	if ev := asked(t, a, server); !isAnswer(ev, 1) {
		t.Errorf("%+v", ev)
	}
	a.poller.mu.Lock()
	defer a.poller.mu.Unlock()
	if n := len(a.poller.sockets); n != 0 {
		t.Errorf("%d sockets are open, want none", n)
	}
}

// The kernel gives a kept socket a port for each query as it does a new one: at
// random from all that there are, and independent of the one before.
func TestPortsOfAKeptSocketAreDrawnAtRandom(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		up := listenAt(t, at)
		a := startAsker(t, nil)
		a.once.Do(a.startPoller)
		q := query(a.NewServer(Address{Addr: addrOf(up)}))
		s, _, err := a.poller.get(q.Server)
		if err != nil {
			t.Fatal(err)
		}
		const n, bins = 10_000, 16
		low, high := portRange(t)
		span := float64(high - low + 1)
		ports, steps := make(map[int]bool), make(map[int]int)
		var count [bins]int
		var xs []float64
		last := 0
		for range n {
			q.message.Make(s.room[:0], q.Question, true, true)
			if err := s.send(q); err != nil {
				t.Fatal(err)
			}
			port := localOf(t, s.fd).Port
			if err := s.disconnect(); err != nil {
				t.Fatal(err)
			}
			if localOf(t, s.fd).Port != 0 {
				t.Fatal("the socket has a port without a query")
			}
			if port < low || port > high {
				t.Fatalf("port %d is not from %d to %d", port, low, high)
			}
			ports[port] = true
			steps[port-last]++
			last = port
			count[(port-low)*bins/(high-low+1)]++
			xs = append(xs, float64(port-low)/span-0.5)
		}
		want := span * (1 - math.Pow(1-1/span, n)) // distinct ones, on average
		var chi, sum, square float64
		for _, c := range count {
			d := float64(c) - n/bins
			chi += d * d / (n / bins)
		}
		for i, x := range xs {
			square += x * x
			if i > 0 {
				sum += x * xs[i-1]
			}
		}
		serial, often := sum/square, 0
		for _, times := range steps {
			often = max(often, times)
		}
		t.Logf("%s: of %d queries: %d ports (%.0f on average), χ² of %d parts %.1f, serial correlation %+.4f, the commonest step %d times", at, n, len(ports), want, bins, chi, serial, often)
		switch { // each at six standard deviations or more
		case math.Abs(float64(len(ports))-want) > 300:
			t.Errorf("%s: %d different ports, want about %.0f", at, len(ports), want)
		case chi > 60:
			t.Errorf("%s: ports are not spread evenly: %v", at, count)
		case math.Abs(serial) > 0.06:
			t.Errorf("%s: a port depends on the one before: correlation %+.4f", at, serial)
		case often > 12:
			t.Errorf("%s: a port was as far from the one before %d times", at, often)
		}
	}
}

// portRange returns the ports that the kernel draws from.
func portRange(t *testing.T) (low, high int) {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Skip(err)
	}
	if _, err := fmt.Sscan(string(b), &low, &high); err != nil {
		t.Fatal(err)
	}
	return low, high
}
