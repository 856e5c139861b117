package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
)

// Questions that hang must not take the last socket of those that would be
// answered, nor that of a probe: the server would seem dead then.
func TestSocketsAreLeftForFirstQueriesAndProbes(t *testing.T) {
	s := &sockets{limit: 4}
	for i, tt := range []struct {
		q    Query
		want bool
	}{
		{Query{}, true}, {Query{Again: true}, true},
		{Query{Again: true}, false}, // half are left for the others
		{Query{}, true}, {Query{}, true}, {Query{}, false},
		{Query{probe: true}, true},
	} {
		if got := s.take(&tt.q); got != tt.want {
			t.Errorf("of 4 sockets, number %d is free for %+v: %v, want %v", i, tt.q, got, tt.want)
		}
	}
	if got := s.open.Load(); got != 5 {
		t.Errorf("%d sockets are open, want 5", got)
	}
}

// Without a free socket a query fails, and the server's state does not change.
// Probes are still sent.
func TestWithoutSocketsAServerIsNotDead(t *testing.T) {
	up := newResponder(t, "127.0.0.1:0", truth)
	a := startAsker(t, nil)
	s := a.NewServer(Address{Addr: up.addr()})
	a.sockets.open.Store(a.sockets.limit)
	if err := newOwner().ask(a, query(s)); err != ErrNoSocket || !Local(err) || s.State() != Healthy {
		t.Errorf("without a socket, asking ends with %v, and the server is %s", err, s.State())
	}
	for range SilentMisses {
		s.miss(query(s))
	}
	for s.State() != Healthy {
		time.Sleep(time.Millisecond) // the real clock is meant: the probe goes over a real socket
	}
	if n := s.Stats.Probes.Load(); n != 1 {
		t.Errorf("%d probes were sent, want 1", n)
	}
	a.sockets.open.Store(0)
	if ev := asked(t, a, s); !isAnswer(ev, 1) {
		t.Errorf("with sockets again: %+v", ev)
	}
}

// A server that answers lives, and what it takes long for is not held against it.
func TestAResponseEndsASeriesOfMisses(t *testing.T) {
	up := newResponder(t, "127.0.0.1:0", truth)
	a := startAsker(t, nil)
	s := a.NewServer(Address{Addr: up.addr()})
	slow := query(s)
	slow.Sent = a.config.Clock.Now()
	s.missed.Store(SilentMisses - 1)
	if ev := asked(t, a, s); !isAnswer(ev, 1) || s.missed.Load() != 0 || !s.HeardSince(slow.Sent) {
		t.Errorf("%+v, and %d misses in a row", ev, s.missed.Load())
	}
	s.miss(slow)
	if s.missed.Load() != 0 || s.probing {
		t.Errorf("a query sent before the response is counted as missed")
	}
}

// A canceled query brings no event, gives its socket back, and counts as one that
// the server did not answer in its time.
func TestACanceledQueryIsOver(t *testing.T) {
	replies := make(chan func(), 1)
	up := newResponder(t, "127.0.0.1:0", func(msg []byte, reply func([]byte)) { replies <- func() { reply(answer(msg, 1)) } })
	a := startAsker(t, nil)
	s := a.NewServer(Address{Addr: up.addr()})
	for _, transport := range []metrics.Transport{metrics.OverUDP, metrics.OverTCP} {
		o, q := newOwner(), query(s)
		q.Transport = transport
		if err := o.ask(a, q); err != nil {
			t.Fatal(err)
		}
		if transport == metrics.OverUDP {
			reply := <-replies
			defer reply()
		}
		o.Lock()
		a.Cancel(q)
		a.Cancel(q)
		o.Unlock()
		if len(o.events) != 0 && transport == metrics.OverUDP {
			t.Errorf("%d events came", len(o.events))
		}
	}
	for a.sockets.open.Load() != 0 { // a goroutine gives the one for TCP back
		time.Sleep(time.Millisecond) // the real clock is meant: the goroutine does not say when
	}
}

// Stop ends the queries under way, and no query is sent afterwards.
func TestStopEndsAllQueries(t *testing.T) {
	for _, transport := range []metrics.Transport{metrics.OverUDP, metrics.OverTCP} {
		up := newResponder(t, "127.0.0.1:0", silence)
		ln, err := net.Listen("tcp", up.addr().String()) // accepts nothing
		for try := 0; err != nil && try < 100; try++ {   // another program has that TCP port
			up = newResponder(t, "127.0.0.1:0", silence)
			ln, err = net.Listen("tcp", up.addr().String())
		}
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		a := startAsker(t, nil)
		s := a.NewServer(Address{Addr: up.addr()})
		o := newOwner()
		for range 100 {
			q := query(s)
			q.Transport = transport
			if err := o.ask(a, q); err != nil {
				t.Fatal(err)
			}
		}
		a.Stop()
		if n := a.sockets.open.Load(); n != 0 {
			t.Errorf("%d sockets are open after Stop", n)
		}
		q := query(s)
		q.Transport = transport
		if err := o.ask(a, q); err != errStopped {
			t.Errorf("after Stop, asking ends with %v", err)
		}
	}
}

// scripted returns an Asker in fake time whose server answers what answers says.
func scripted(t *testing.T, answers func(q *Query) bool) (*Asker, *Server) {
	a := startAsker(t, func(c *Config) {
		c.Exchange = func(ctx context.Context, q *Query, _ func(Hint)) (*message.Response, error) {
			if answers(q) {
				return &message.Response{}, nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}
	})
	return a, a.NewServer(Address{Addr: netip.MustParseAddrPort("192.0.2.53:53")})
}

// A server that is not healthy is always probed, whatever it answered while the
// next probe was due: a miss after the answer must start a new series.
func TestAServerThatIsNotHealthyIsProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, s := scripted(t, func(*Query) bool { return false })
		miss := func() {
			q := query(s)
			q.Sent = a.config.Clock.Now()
			time.Sleep(time.Millisecond)
			s.miss(q)
		}
		miss() // the first probe is sent at once
		time.Sleep(950 * time.Millisecond)
		synctest.Wait()
		s.hear(a.config.Clock.Now()) // while the next one is due
		for range SilentMisses {
			miss()
		}
		before := s.Stats.Probes.Load()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := s.Stats.Probes.Load() - before; n < 2 || s.State() != Dead {
			t.Errorf("in 3 s a silent server was probed %d times, and is %s; want 3 times and dead", n, s.State())
		}
	})
}

// At random: whenever a server is not healthy, a probe is under way or due.
func TestProbesAreUnderWayOrDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answers atomic.Bool
		a, s := scripted(t, func(q *Query) bool { return answers.Load() })
		var probes uint64
		for i := range 2000 {
			switch i * 7919 % 11 {
			case 0:
				answers.Store(true)
			case 1, 2:
				answers.Store(false)
			case 3:
				s.hear(a.config.Clock.Now())
			default:
				q := query(s)
				q.Sent = a.config.Clock.Now()
				time.Sleep(time.Duration(i%97) * time.Millisecond)
				s.miss(q)
			}
			synctest.Wait()
			s.mu.Lock()
			if s.State() != Healthy && !s.probing {
				t.Errorf("step %d: the server is %s, and no probe is under way or due", i, s.State())
			}
			s.mu.Unlock()
		}
		answers.Store(false)
		for range SilentMisses {
			time.Sleep(time.Millisecond)
			q := query(s)
			q.Sent = a.config.Clock.Now()
			s.miss(q)
		}
		probes = s.Stats.Probes.Load()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := s.Stats.Probes.Load() - probes; n < 9 || n > 11 {
			t.Errorf("a dead server was probed %d times in 10 s, want once a second", n)
		}
		s.Retire()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		probes = s.Stats.Probes.Load()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := s.Stats.Probes.Load() - probes; n != 0 {
			t.Errorf("a server that is no longer used was probed %d times", n)
		}
	})
}

// Stop waits for a connection that is being made, although no query waits for it any
// more.
func TestStopWaitsForAConnectionThatIsBeingMade(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for range 20 {
		a := startAsker(t, nil)
		o, q := newOwner(), query(a.NewServer(Address{Addr: netip.MustParseAddrPort(ln.Addr().String()), TLS: true}))
		q.Transport = metrics.OverTLS
		if err := o.ask(a, q); err != nil {
			t.Fatal(err)
		}
		conn, err := ln.Accept() // and no handshake
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		o.Lock()
		a.Cancel(q)
		o.Unlock()
		a.Stop()
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if bytes.Contains(stacks, []byte(".dialTLS(")) {
			t.Fatal("a goroutine makes a connection after Stop")
		}
	}
}

// A TLS connection without free IDs gets a successor.
func TestAFullTLSConnectionGetsASuccessor(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: web.TLS.Certificates, NextProtos: []string{"dot"}})
	if err != nil {
		t.Fatal(err)
	}
	var conns atomic.Int32
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			wg.Go(func() {
				defer conn.Close()
				for {
					msg, err := readFrame(conn)
					if err != nil {
						return
					}
					conn.Write(frame(answer(msg, 1)))
				}
			})
		}
	})
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	a := startAsker(t, func(c *Config) { c.RootCAs = roots })
	t.Cleanup(func() { ln.Close() })
	s := a.NewServer(Address{Addr: netip.MustParseAddrPort(ln.Addr().String()), TLS: true, Name: "example.com"})
	ask := func() {
		t.Helper()
		o, q := newOwner(), query(s)
		q.Transport = metrics.OverTLS
		if err := o.ask(a, q); err != nil {
			t.Fatal(err)
		}
		if ev := o.final(t); !isAnswer(ev, 1) {
			t.Errorf("%+v", ev)
		}
	}
	ask()
	full := s.streams.open
	full.mu.Lock()
	for id := range 1 << 16 {
		full.waiting[uint16(id)] = waiter{make(chan []byte, 1), a.config.Clock.Now()}
	}
	full.mu.Unlock()
	ask()
	if n := conns.Load(); n != 2 {
		t.Errorf("%d connections were made, want 2", n)
	}
	// A query that was given the connection before it was full must fail.
	if _, err := full.ask(t.Context(), message.NewQuery(message.Question{Name: "\x00", Type: wire.TypeA}, true, true), a.config.Clock.Now()); !Local(err) {
		t.Errorf("on a full connection, asking ends with %v", err)
	}
}
