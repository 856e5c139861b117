package resolver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/miekg/dns"
	"go.uber.org/zap"
)

func tryListen(listen ...string) (*Server, error) {
	return Listen(Config{Listen: listen, Zone: acmePublisher(), Metrics: new(metrics.DNS), Log: zap.NewNop()})
}

// UDP sockets share their port (SO_REUSEPORT). Without this check, a second server
// would get half of the first one's queries, and no error.
func TestASecondServerAtAnAddressIsRefused(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"} {
		first := start(t, Config{Listen: []string{listen}})
		addr := first.Addrs()[0].String()
		s, err := tryListen(addr)
		if err == nil {
			s.Close()
			t.Errorf("two servers listen at %s", addr)
			continue
		}
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), addr) {
			t.Errorf("a second server at %s: %v", addr, err)
		}
	}
}

func TestAPortThatAnotherProgramHasIsReported(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	for _, addr := range []net.Addr{ln.Addr(), pc.LocalAddr()} {
		s, err := tryListen(addr.String())
		if err == nil {
			s.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), addr.String()) {
			t.Errorf("%s port in use: Listen returned %v", addr.Network(), err)
		}
	}
}

// Listen returns all errors at once, and leaves nothing open.
func TestListenBindsAllOrNothing(t *testing.T) {
	taken := start(t, Config{}).Addrs()
	before := descriptors(t)
	for range 3 {
		_, err := tryListen("127.0.0.1:0", taken[0].String(), "[::]:0", "localhost:53", taken[1].String(), "127.0.0.1", "127.0.0.1:65536")
		if err == nil {
			t.Fatal("Listen returned no error")
		}
		for _, want := range []string{taken[0].String(), taken[1].String(), `"localhost:53"`, `"127.0.0.1"`, `"127.0.0.1:65536"`} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the error does not name %s: %v", want, err)
			}
		}
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are open, %d before Listen failed", after, before)
	}
}

func TestAServerClosesAllDescriptors(t *testing.T) {
	dialTCP(t, start(t, Config{}).Addrs()[0]).ask(question(t, 1, dns.TypeAAAA, "web.internal")) // so that Go opens its own descriptors
	before := descriptors(t)
	s, err := tryListen("127.0.0.1:0", "[::]:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Close() // Run was not called
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are open after Close, %d before Listen", after, before)
	}
	r := start(t, Config{})
	conn := dialTCP(t, r.Addrs()[0])
	conn.ask(question(t, 1, dns.TypeAAAA, "web.internal"))
	r.stop()
	conn.conn.Close()
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are open after Run, %d before Listen", after, before)
	}
	again := listen(t, Config{Listen: []string{r.Addrs()[0].String(), r.Addrs()[1].String()}})
	if fmt.Sprint(again.Addrs()) != fmt.Sprint(r.Addrs()) {
		t.Errorf("the next server is at %v, want %v", again.Addrs(), r.Addrs())
	}
}

// descriptors returns the number of open file descriptors.
func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("open descriptors cannot be counted here: %v", err)
	}
	return len(entries)
}

// A machine may get its addresses after its services have started.
func TestAnAddressNeedNotBeOnAnInterface(t *testing.T) {
	// Documentation addresses, which are on no interface.
	r := start(t, Config{Listen: []string{"192.0.2.53:0", "[2001:db8::53]:0"}})
	for i, want := range []string{"192.0.2.53", "2001:db8::53"} {
		if got := r.Addrs()[i]; got.Addr() != netip.MustParseAddr(want) || got.Port() == 0 {
			t.Errorf("listening at %v, want a port at %s", got, want)
		}
	}
}

func TestRunReturnsNilWhenItsContextIsDone(t *testing.T) {
	for _, tt := range []struct {
		does string
		stop func(context.Context) (context.Context, context.CancelFunc)
	}{
		{"cancelled", func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(ctx) }},
		{"cancelled before", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}},
		{"timed out", func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, 1) }},
		// As signal.NotifyContext does.
		{"cancelled with a cause", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			return ctx, func() { cancel(errors.New("terminated signal received")) }
		}},
	} {
		s, err := tryListen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := tt.stop(context.Background())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s, Run returned %v, want nil", tt.does, err)
		}
	}
}

// If a socket fails, Run ends and returns its error.
func TestRunReturnsTheErrorOfASocket(t *testing.T) {
	for _, network := range []string{"UDP", "TCP"} {
		r := listen(t, Config{})
		if network == "UDP" {
			r.workers[0].batch.Close()
		} else {
			r.breakTCP()
		}
		err := r.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "serve "+network+" at "+r.Addrs()[0].String()) {
			t.Errorf("with a broken %s socket, Run returned %v", network, err)
		}
	}
}

// An idle server has the goroutines that doc.go lists, and no others.
func TestGoroutinesOfAnIdleServer(t *testing.T) {
	r := start(t, Config{UDPWorkers: 2, TCPWorkers: 3}) // at two addresses
	want := map[string]int{"(*Server).Run": 1, "(*udpWorker).serve": 4}
	if _, ok := r.tcp.(*tcpGoroutines); ok {
		want["(*tcpGoroutines).serve"], want["(*tcpGoroutines).accept"] = 1, 2
	} else {
		want["(*tcpEpoll).serve"], want["(*epollWorker).serve"] = 1, 3
	}
	var got map[string]int
	for end := time.Now().Add(patience); !maps.Equal(got, want); runtime.Gosched() { // until all have started
		if time.Now().After(end) {
			t.Fatalf("the server has the goroutines %v, want %v", got, want)
		}
		got = goroutinesOf()
	}
}

// goroutinesOf returns how many goroutines run methods of this package, by the method that
// they began with.
func goroutinesOf() map[string]int {
	var all strings.Builder
	pprof.Lookup("goroutine").WriteTo(&all, 2)
	method := regexp.MustCompile(`internaldns/resolver\.(\(\*\w+\)\.\w+)\(`)
	got := make(map[string]int)
	for stack := range strings.SplitSeq(all.String(), "\n\n") {
		if calls := method.FindAllStringSubmatch(stack, -1); calls != nil {
			got[calls[len(calls)-1][1]]++
		}
	}
	return got
}
