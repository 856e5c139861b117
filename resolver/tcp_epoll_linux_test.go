package resolver

import (
	"bytes"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

// connect returns a client that is connected to the server's first address, and
// a function that serves its connection to the end and returns why it was closed.
// The server must not run yet, and have one TCP worker.
func (r *testServer) connect(t testing.TB) (client *stream, serve func() (why string)) {
	t.Helper()
	e, ok := r.tcp.(*tcpEpoll)
	if !ok {
		return r.connectGoroutine(t)
	}
	w := e.workers[0]
	if err := w.listen(); err != nil && !strings.Contains(err.Error(), unix.EEXIST.Error()) {
		t.Fatal(err)
	}
	closed := r.closed()
	client = dialTCP(t, r.Addrs()[0])
	return client, func() string {
		for w.turnOnce(t); r.conns.Load() > 0; {
			w.turnOnce(t)
		}
		why := r.closed().since(closed)
		if why == "" {
			t.Error("no connection was closed")
		}
		return why
	}
}

func (w *epollWorker) turnOnce(t testing.TB) {
	if _, err := w.turn(); err != nil {
		t.Error(err)
	}
}

// stocked returns how many connections may be used again.
func (r *testServer) stocked() int {
	if e, ok := r.tcp.(*tcpEpoll); ok {
		return len(e.workers[0].stock)
	}
	return r.tcp.(*tcpGoroutines).stocked()
}

// breakTCP replaces the first listener with a socket that cannot accept.
func (r *testServer) breakTCP() {
	e, ok := r.tcp.(*tcpEpoll)
	if !ok {
		r.tcp.(*tcpGoroutines).breakListener()
		return
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(fd)
		err = unix.Dup3(fd, e.listeners[0].fd, unix.O_CLOEXEC)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// newEpoll returns a server that does not run yet, with one TCP worker.
func newEpoll(t *testing.T, c Config) (*testServer, *epollWorker) {
	t.Helper()
	if *goroutines {
		t.Skip("this is about epoll")
	}
	c.TCPWorkers = 1
	r := listen(t, c)
	return r, r.tcp.(*tcpEpoll).workers[0]
}

// An open connection has buffers only for unfinished queries and responses. The buffer
// of a large one is not kept.
func TestBuffersAreKeptOnlyWhileInUse(t *testing.T) {
	r, w := newEpoll(t, Config{})
	client, _ := r.connect(t)
	long := framed(question(t, 1, dns.TypeAAAA, "web.internal", edns(1232, &dns.EDNS0_LOCAL{Code: 65001, Data: make([]byte, 65_000)})))
	short := framed(question(t, 2, dns.TypeAAAA, "web.internal"))
	for i, tt := range []struct {
		sent     []byte
		held     int
		kept     int // spare buffers
		answered int
	}{
		{short, 0, 0, 1},
		{short[:20], 20, 0, 0},
		{short[20:], 0, 1, 1},
		{append(bytes.Clone(short), short[:1]...), 1, 0, 1},
		{append(bytes.Clone(short[1:]), long[:3]...), 3, 0, 1},
		{long[3:], 0, 0, 1},
	} {
		client.write(tt.sent)
		for n := 0; n < tt.answered; {
			w.turnOnce(t)
			n += len(client.take())
		}
		for len(w.fresh) > 0 || tt.answered == 0 && w.octets() < tt.held {
			w.turnOnce(t)
		}
		if got := w.octets(); got != tt.held || len(w.spare) != tt.kept {
			t.Errorf("after write %d, a connection holds %d octets and %d buffers are spare, want %d and %d", i, got, len(w.spare), tt.held, tt.kept)
		}
	}
}

// octets returns how many octets connections hold.
func (w *tcpWorker) octets() (n int) {
	for c := w.idle.first; c != nil; c = c.links[linkIdle].next {
		n += len(c.in) + len(c.out)
	}
	return n
}

// take returns the messages that have arrived.
func (s *stream) take() (msgs [][]byte) {
	s.t.Helper()
	for {
		s.conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		msg, err := readFrame(s.conn)
		s.conn.SetReadDeadline(time.Now().Add(patience))
		if err != nil {
			return msgs
		}
		msgs = append(msgs, msg)
	}
}

// A connection that its client closes after one query is never added to the epoll
// instance, and leaves nothing behind.
func TestAConnectionOfOneQueryIsNotWatched(t *testing.T) {
	r, w := newEpoll(t, Config{})
	client, _ := r.connect(t)
	client.write(framed(question(t, 1, dns.TypeAAAA, "web.internal")))
	w.turnOnce(t)
	client.receive()
	if c := w.idle.first; len(w.fresh) != 1 || c != w.fresh[0] || c.epoll.watched != 0 {
		t.Fatalf("after its query, %d connections are fresh", len(w.fresh))
	}
	client.conn.Close()
	w.turnOnce(t)
	if r.conns.Load() != 0 || len(w.fresh) != 0 || w.idle != (connList{links: linkIdle}) || w.aging != (connList{links: linkAging}) {
		t.Error("the connection outlives the turn after its client closed it")
	}
}

// Connections inherit TCP_NODELAY. Without it, a response to the second of two queries
// would wait until the client has acknowledged the first one.
func TestConnectionsDoNotDelaySegments(t *testing.T) {
	r, w := newEpoll(t, Config{})
	client, _ := r.connect(t)
	client.write(framed(question(t, 1, dns.TypeAAAA, "web.internal")))
	w.turnOnce(t)
	client.receive()
	if got, err := unix.GetsockoptInt(w.idle.first.epoll.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY); got == 0 || err != nil {
		t.Errorf("TCP_NODELAY of a connection is %d, want 1; %v", got, err)
	}
}

// The view depends on both addresses of a connection. At a wildcard address, only the
// connection has its destination.
func TestSourceAndDestinationOfAConnection(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:0": "127.0.0.1", "[::1]:0": "::1", "0.0.0.0:0": "127.0.0.1", "[::]:0": "::1",
	} {
		r, w := newEpoll(t, Config{Listen: []string{listen}})
		if err := w.listen(); err != nil {
			t.Fatal(err)
		}
		dialTCP(t, netip.AddrPortFrom(netip.MustParseAddr(want), r.Addrs()[0].Port()))
		w.turnOnce(t)
		if c := w.idle.first; c.src.String() != want || c.dst.String() != want {
			t.Errorf("at %s: a connection from %s to it is from %v to %v", listen, want, c.src, c.dst)
		}
	}
}

// Without free descriptors, a server answers on open connections, logs a warning for
// each pause, and accepts again when there are some.
func TestAcceptingPausesWithoutDescriptors(t *testing.T) {
	r, w := newEpoll(t, Config{})
	core, log := observer.New(zapcore.WarnLevel)
	r.config.Log = zap.New(core)
	first, _ := r.connect(t)
	w.turnOnce(t)
	next := dialTCP(t, r.Addrs()[0])
	first.write(framed(question(t, 1, dns.TypeAAAA, "web.internal")))
	next.write(framed(question(t, 2, dns.TypeAAAA, "web.internal")))

	raise := noDescriptors(t)
	began := w.now
	for w.now.Sub(began) < 3*acceptPause {
		w.turnOnce(t)
	}
	raise()
	if n := log.Len(); n < 1 || n > 4 || log.All()[0].ContextMap()["error"] != "accept4: too many open files" {
		t.Errorf("in %v without descriptors, %d warnings are logged: %v", w.now.Sub(began), n, log.All())
	}
	if m := unpack(t, first.receive()); m.Id != 1 {
		t.Errorf("an open connection is answered with %v", m)
	}
	for r.conns.Load() < 2 {
		w.turnOnce(t)
	}
	if m := unpack(t, next.receive()); m.Id != 2 {
		t.Errorf("the connection that waited is answered with %v", m)
	}
}

// noDescriptors makes the system refuse descriptors to this process until raise.
func noDescriptors(t *testing.T) (raise func()) {
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 0, Max: was.Max}
	if err := unix.Prlimit(os.Getpid(), unix.RLIMIT_NOFILE, &none, nil); err != nil {
		t.Fatal(err)
	}
	raise = func() { unix.Prlimit(os.Getpid(), unix.RLIMIT_NOFILE, &was, nil) }
	t.Cleanup(raise)
	return raise
}

// Connections that wait to be accepted at the order to stop are answered.
func TestStopAnswersConnectionsNotYetAccepted(t *testing.T) {
	r, _ := newEpoll(t, Config{})
	var clients []*stream
	for i := range uint16(3 * acceptBatch) {
		s := dialTCP(t, r.Addrs()[i%2])
		s.write(framed(question(t, i, dns.TypeAAAA, "web.internal")))
		clients = append(clients, s)
	}
	r.tcp.stop()
	r.run()
	for i, s := range clients {
		if m := unpack(t, s.receive()); int(m.Id) != i || len(m.Answer) != 3 {
			t.Errorf("connection %d is answered with %v", i, m)
		}
		s.conn.Close()
	}
	wantCounts(t, r.counts(), map[string]float64{"tcp_connections_total": 3 * acceptBatch, "dns_responses_total NOERROR": 3 * acceptBatch})
}

// All workers accept from the same listeners, and each connection belongs to one.
func TestWorkersShareConnections(t *testing.T) {
	r := start(t, Config{TCPWorkers: 4})
	ended := make(chan error)
	const clients, each = 8, 50
	for c := range clients {
		go func() {
			for i := range each {
				s := dialTCP(t, r.Addrs()[c%2])
				s.conn.Write(framed(question(t, uint16(i), dns.TypeAAAA, "web.internal")))
				if _, err := readFrame(s.conn); err != nil {
					ended <- err
					return
				}
				s.conn.Close()
			}
			ended <- nil
		}()
	}
	for range clients {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	wantCounts(t, r.counts(), map[string]float64{"tcp_connections_total": clients * each, "dns_responses_total NOERROR": clients * each, "tcp_connections_open": 0})
}

// A connection allocates nothing: it uses the state of one that is closed.
func TestAConnectionAllocs(t *testing.T) {
	r, w := newEpoll(t, Config{Listen: []string{"127.0.0.1:0"}})
	if err := w.listen(); err != nil {
		t.Fatal(err)
	}
	server, msg, buf := r.sockaddr(), framed(question(t, 1, dns.TypeAAAA, "web.internal")), make([]byte, 1024)
	try := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	once := func() {
		fd := connectFD(t, server)
		// First half of the query, so that it must be kept.
		for _, half := range [][]byte{msg[:20], msg[20:]} {
			_, err := unix.Write(fd, half)
			try(err)
			w.turnOnce(t)
		}
		for n := 0; n < frameHeader || n < frameLen(buf[:n]); {
			more, err := unix.Read(fd, buf[n:])
			try(err)
			n += more
		}
		try(unix.Close(fd))
		for r.conns.Load() > 0 {
			w.turnOnce(t)
		}
	}
	once()
	if got := testing.AllocsPerRun(100, once); got > 0 {
		t.Errorf("a connection of one query: %v allocs, want 0", got)
	}
}

// A connection that its client resets is closed, whether or not the server still reads
// from it.
func TestAResetConnectionDoesNotWaitForForwardedResponses(t *testing.T) {
	for _, tt := range []struct {
		does    string
		queries int
		half    bool // closed before the reset
	}{
		{"one query", 1, false},
		{"so many that no more are read", maxForwarded + 1, false},
		{"a half that was closed before", 1, true},
	} {
		if *goroutines && (tt.half || tt.queries > maxForwarded) {
			continue // a reset is noticed only by reading or writing
		}
		d := newFakeForwarder()
		r := start(t, Config{Forward: d})
		s := dialTCP(t, r.Addrs()[0])
		for i := range tt.queries {
			s.query(question(t, uint16(i), dns.TypeTXT, "www.example.com"))
		}
		if tt.half {
			s.conn.CloseWrite()
		}
		taken := min(tt.queries, maxForwarded)
		for range taken {
			d.next(t)
		}
		s.conn.SetLinger(0)
		s.conn.Close()
		for end := time.Now().Add(patience); r.closed()["read"] == 0; runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("with %s, the connection stays open", tt.does)
			}
		}
		r.pending.done(taken) // so that the server does not wait for them when it stops
	}
}

// A connection may be closed, because its response cannot be written, before readFresh
// reads from it.
func TestAFreshConnectionThatIsClosedIsNotReadAgain(t *testing.T) {
	d := newFakeForwarder()
	r, w := newEpoll(t, Config{Listen: []string{"127.0.0.1:0"}, Forward: d})
	if err := w.listen(); err != nil {
		t.Fatal(err)
	}
	s := dialTCP(t, r.Addrs()[0])
	s.query(question(t, 1, dns.TypeTXT, "www.example.com"))
	for len(w.fresh) == 0 || len(d.tasks) == 0 {
		w.turnOnce(t)
	}
	c := w.fresh[0]
	d.next(t).answer(100)
	s.conn.SetLinger(0)
	s.conn.Close()
	w.turnOnce(t)
	if n := r.conns.Load(); n != 0 || c.epoll.fd != 0 || c.ended {
		t.Errorf("%d connections are open, and the closed one is %+v", n, *c)
	}
	if closed := counted(t, r.dns)["tcp_connections_open"]; closed != 0 {
		t.Errorf("%v connections are counted as open", closed)
	}
}

// BenchmarkTCPConnection measures a connection of one query, from accept to close, its
// client's six system calls included.
//
//	56,200 ns/op   0 allocs/op
//
// Least of 120 runs on a busy AMD EPYC VM with two cores, go1.26.8, 2026-11.
func BenchmarkTCPConnection(b *testing.B) {
	r := listen(b, Config{Listen: []string{"127.0.0.1:0"}, TCPWorkers: 1})
	w := r.tcp.(*tcpEpoll).workers[0]
	if err := w.listen(); err != nil {
		b.Fatal(err)
	}
	server, msg, buf := r.sockaddr(), framed(question(b, 1, dns.TypeAAAA, "web.internal")), make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		fd := connectFD(b, server)
		unix.Write(fd, msg)
		w.turnOnce(b)
		if n, err := unix.Read(fd, buf); n < len(msg) || err != nil {
			b.Fatalf("read %d octets: %v", n, err)
		}
		unix.Close(fd)
		for r.conns.Load() > 0 {
			w.turnOnce(b)
		}
	}
}

// BenchmarkTCPPipelined measures 100 queries in one segment, their client included.
//
//	20,900 ns/op   0 allocs/op
//
// Least of 120 runs on a busy AMD EPYC VM with two cores, go1.26.8, 2026-11.
func BenchmarkTCPPipelined(b *testing.B) {
	r := listen(b, Config{Listen: []string{"127.0.0.1:0"}, TCPWorkers: 1})
	w := r.tcp.(*tcpEpoll).workers[0]
	if err := w.listen(); err != nil {
		b.Fatal(err)
	}
	server, msg, buf := r.sockaddr(), framed(question(b, 1, dns.TypeAAAA, "web.internal")), make([]byte, 1<<16)
	fd := connectFD(b, server)
	defer unix.Close(fd)
	unix.Write(fd, msg)
	w.turnOnce(b) // accepts and answers
	size, err := unix.Read(fd, buf)
	if err != nil {
		b.Fatal(err)
	}
	const n = 100
	all := bytes.Repeat(msg, n)
	b.ReportAllocs()
	for b.Loop() {
		unix.Write(fd, all)
		w.turnOnce(b)
		for got := 0; got < n*size; {
			k, err := unix.Read(fd, buf)
			if err != nil {
				b.Fatal(err)
			}
			got += k
		}
	}
}

// sockaddr returns r's first address.
func (r *testServer) sockaddr() *unix.SockaddrInet4 {
	addr := r.Addrs()[0]
	return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
}

// connectFD returns the descriptor of a connection to server.
func connectFD(t testing.TB, server *unix.SockaddrInet4) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, server); err != nil {
		t.Fatal(err)
	}
	return fd
}
