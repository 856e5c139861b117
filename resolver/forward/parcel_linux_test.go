package forward

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// keptSocket returns the one socket that f's express keeps, which nothing uses.
func keptSocket(t *testing.T, f *Forwarder) *parcel {
	t.Helper()
	e := expressOf(t, f)
	for range 1000 {
		e.mu.Lock()
		for _, idle := range e.idle {
			if len(idle) == 1 {
				e.mu.Unlock()
				return idle[0]
			}
		}
		e.mu.Unlock()
		time.Sleep(time.Millisecond) // until the last answer's is put back
	}
	t.Fatal("not one socket is kept")
	return nil
}

// connectTo gives p's socket a peer and a port, and returns its address.
func (p *parcel) connectTo(t *testing.T, to netip.AddrPort) *net.UDPAddr {
	t.Helper()
	if err := unix.Connect(p.fd, sockaddr(to)); err != nil {
		t.Fatal(err)
	}
	return localOf(t, p.fd)
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

// What an earlier question leaves in a socket, messages or an error, is nothing to
// the next one: it says nothing about whom that asks, and takes nothing from its
// pace.
func TestWhatAnEarlierQuestionLeftIsDropped(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		up := newFakeAt(t, at, truth)
		f := start(t, Config{Upstreams: []Upstream{up.upstream()}})
		u := f.upstreams()[0]
		for i, left := range []struct {
			name string
			do   func(p *parcel)
			kept bool // the socket, for the next question
		}{
			{"nothing", func(p *parcel) {}, true},
			{"messages", func(p *parcel) {
				other := listenAt(t, at)
				to := p.connectTo(t, addrPort(other.LocalAddr().String()))
				for _, b := range [][]byte{nil, {1}, make([]byte, 12), make([]byte, 1400)} {
					other.WriteToUDP(b, to)
				}
			}, true},
			{"an error", func(p *parcel) {
				closed := listenAt(t, at)
				closed.Close()
				p.connectTo(t, addrPort(closed.LocalAddr().String()))
				unix.Write(p.fd, []byte("anyone?")) // brings port unreachable
			}, true},
			{"a flood", func(p *parcel) {
				other := listenAt(t, at)
				to := p.connectTo(t, addrPort(other.LocalAddr().String()))
				for range maxLeft + 1 {
					other.WriteToUDP([]byte{1}, to)
				}
			}, false},
		} {
			stub.ask(t, f, fmt.Sprintf("A before%d.example.", i))
			p := keptSocket(t, f)
			left.do(p)
			if err := disconnect(p.fd); err != nil {
				t.Fatal(err)
			}
			name := fmt.Sprintf("n%d.example.", i)
			if m, _ := stub.ask(t, f, "A "+name); show(m) != isTruth(name) {
				t.Errorf("%s was left: %s", left.name, show(m))
			}
			if n := len(up.received(name)); n != 1 {
				t.Errorf("%s was left: the next question was asked %d times", left.name, n)
			}
			p.mu.Lock()
			gone := p.gone
			p.mu.Unlock()
			if gone == left.kept {
				t.Errorf("%s was left: the socket is given up: %v, want %v", left.name, gone, !left.kept)
			}
		}
		for kind, name := range message.Mismatches {
			if n := u.stats.Mismatches(kind); n != 0 {
				t.Errorf("%d mismatches %q are held against the upstream, want none", n, name)
			}
		}
		if n := u.stats.Errors.Load(); n != 0 || u.missed.Load() != 0 {
			t.Errorf("%d errors and %d silences are held against the upstream, want none", n, u.missed.Load())
		}
	}
}

func listenAt(t testing.TB, at string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addrPort(at)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// A socket has a port some instructions before it has a peer, and what comes in
// between, from anywhere, stays in it. Even if all of it is right but the source, it
// is not believed, whoever reads it.
func TestWhatCameBeforeTheSocketHadAPeerIsNotBelieved(t *testing.T) {
	for _, tt := range []struct{ at, stranger string }{
		{"127.0.0.1:0", "127.0.0.1:0"}, {"127.0.0.1:0", "127.0.0.2:0"}, {"[::1]:0", "[::1]:0"},
	} {
		for _, reader := range []string{"the express", "a goroutine"} {
			t.Run(tt.stranger+" to "+reader, func(t *testing.T) {
				up, stranger := listenAt(t, tt.at), listenAt(t, tt.stranger)
				f := start(t, Config{Upstreams: []Upstream{{Addr: addrPort(up.LocalAddr().String())}}})
				f.express.once.Do(f.express.start)
				u := f.upstreams()[0]
				p := f.express.get(u.Addr)
				p.mu.Lock()
				if err := unix.Bind(p.fd, sockaddr(addrPort(tt.at))); err != nil {
					t.Fatal(err)
				}
				told := make(chan string, 2)
				msg := stub.query(t, "A www.example.")
				var q wire.Query
				q.Parse(msg)
				fl, _, ok := f.flights.enter(f, f.routes.Load().rest, &q, stub.Client, func(out []byte) { told <- show(stub.unpack(t, msg, out)) })
				if !ok {
					t.Fatal("not taken")
				}
				fl.began, fl.order = f.now(), fl.group.live(fl.few[:0])
				p.ask = ask{up: u, transport: metrics.OverUDP, edns: true, mixed: true}
				p.sent.Make(p.room[:0], fl.q, true, true)
				r := &request{raw: p.sent.Octets, msg: new(dns.Msg)}
				if err := r.msg.Unpack(r.raw); err != nil {
					t.Fatal(err)
				}
				to := localOf(t, p.fd)
				stranger.WriteToUDP(pack(r.reply("www.example. 60 IN A 203.0.113.66")), to)
				p.setPeer(u.Addr)
				if err := unix.Connect(p.fd, sockaddr(u.Addr)); err != nil {
					t.Fatal(err)
				}
				p.fl, p.until = fl, never
				if reader == "a goroutine" {
					p.promoteOpen()
				}
				p.mu.Unlock()
				p.receive(make([]byte, udpRoom))
				up.WriteToUDP(pack(r.truth()), to)
				if got, want := <-told, isTruth("www.example."); got != want {
					t.Errorf("the client got %s, want %s", got, want)
				}
			})
		}
	}
}

// The kernel gives a kept socket a port for each question as it does a new one: at
// random from all that there are, and without regard to the one before.
func TestPortsOfAKeptSocketAreDrawnAtRandom(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		up := listenAt(t, at)
		f := start(t, Config{Upstreams: []Upstream{{Addr: addrPort(up.LocalAddr().String())}}})
		f.express.once.Do(f.express.start)
		p := f.express.get(f.upstreams()[0].Addr)
		const n, bins = 10_000, 16
		low, high := portRange(t)
		span := float64(high - low + 1)
		ports, steps := make(map[int]bool), make(map[int]int)
		var count [bins]int
		var xs []float64
		last := 0
		for range n {
			p.sent.Make(p.room[:0], message.Question{Name: "\x01a\x00", Type: wire.TypeA}, true, true)
			if !p.send(f.upstreams()[0].Addr) {
				t.Fatal("a question cannot be sent")
			}
			port := localOf(t, p.fd).Port
			if err := disconnect(p.fd); err != nil {
				t.Fatal(err)
			}
			if localOf(t, p.fd).Port != 0 {
				t.Fatal("a port stays without a question")
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
		p.mu.Lock()
		f.express.discard(p)
		p.mu.Unlock()
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
		t.Logf("%s: of %d questions: %d ports (%.0f on average), χ² of %d parts %.1f, serial correlation %+.4f, the commonest step %d times", at, n, len(ports), want, bins, chi, serial, often)
		switch { // each at six standard deviations or more
		case math.Abs(float64(len(ports))-want) > 300:
			t.Errorf("%s: %d different ports, want about %.0f", at, len(ports), want)
		case chi > 60:
			t.Errorf("%s: ports are not spread evenly: %v", at, count)
		case math.Abs(serial) > 0.06:
			t.Errorf("%s: a port has to do with the one before: correlation %+.4f", at, serial)
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
