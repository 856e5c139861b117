package resolver

import (
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/miekg/dns"
)

// A connection on which no whole query arrives for TCPIdle is closed, and not before.
func TestAnIdleConnectionIsClosed(t *testing.T) {
	const idle = time.Second // the real clock; even a busy machine asks once in it
	r := start(t, Config{TCPIdle: idle})
	began := time.Now()
	silent, asked, slow := dialTCP(t, r.Addrs()[0]), dialTCP(t, r.Addrs()[0]), dialTCP(t, r.Addrs()[1])
	asked.ask(question(t, 1, dns.TypeAAAA, "web.internal"))
	slow.write(framed(question(t, 1, dns.TypeAAAA, "web.internal"))[:30])
	for _, s := range []*stream{silent, asked, slow} {
		s.closed()
	}
	if took := time.Since(began); took < idle {
		t.Errorf("connections that may be idle for %v are closed after %v", idle, took)
	}
	wantCounts(t, r.counts(), map[string]float64{"tcp_connections_closed_total idle": 3, "tcp_connections_open": 0})
}

// A client that sends one octet each millisecond is idle until its query is whole.
func TestAConnectionThatSendsSlowlyIsClosed(t *testing.T) {
	r := start(t, Config{TCPIdle: 50 * time.Millisecond})
	s := dialTCP(t, r.Addrs()[0])
	msg := framed(question(t, 1, dns.TypeAAAA, "web.internal", edns(1232, &dns.EDNS0_LOCAL{Code: 65001, Data: make([]byte, 60_000)})))
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for i := range msg {
		<-tick.C
		if _, err := s.conn.Write(msg[i : i+1]); err != nil {
			break
		}
		if time.Since(began) > patience {
			t.Fatal("the connection stays open")
		}
	}
	if got := r.counts()["tcp_connections_closed_total idle"]; got != 1 {
		t.Errorf("%v connections are counted as idle, want 1", got)
	}
}

func TestABusyConnectionIsClosedWhenItIsOld(t *testing.T) {
	const total = 300 * time.Millisecond
	r := start(t, Config{TCPTotal: total})
	began, msg := time.Now(), framed(question(t, 1, dns.TypeAAAA, "web.internal"))
	s := dialTCP(t, r.Addrs()[0])
	n := 0
	for ; ; n++ {
		if _, err := s.conn.Write(msg); err != nil {
			break
		}
		if _, err := readFrame(s.conn); isTimeout(err) {
			t.Fatal("the connection stays open")
		} else if err != nil {
			break
		}
	}
	if took := time.Since(began); took < total {
		t.Errorf("after %v and %d queries, the connection is closed, want %v", took, n, total)
	}
	wantCounts(t, r.counts(), map[string]float64{"tcp_connections_closed_total old": 1})
}

// If as many connections are open as may be, a new one replaces the one that has been
// idle for longest. So a client that holds all of them keeps no other out.
func TestTheIdlestConnectionMakesRoom(t *testing.T) {
	r := start(t, Config{TCPConns: 3, TCPWorkers: 1})
	first, second, third := dialTCP(t, r.Addrs()[0]), dialTCP(t, r.Addrs()[1]), dialTCP(t, r.Addrs()[0])
	first.wantOpen()
	second.wantOpen()
	third.wantOpen()
	first.wantOpen() // so that the second is idle for longest

	next := dialTCP(t, r.Addrs()[1])
	next.wantOpen()
	second.closed()
	first.wantOpen()
	last := dialTCP(t, r.Addrs()[0])
	last.wantOpen()
	third.closed()
	for _, s := range []*stream{first, next, last} {
		s.wantOpen()
	}
	wantCounts(t, r.counts(), map[string]float64{"tcp_connections_closed_total full": 2, "tcp_connections_closed_total stop": 3})
}

// A connection whose client takes no responses for TCPIdle is closed. When the client
// reads after all, it gets whole responses and perhaps the beginning of one.
func TestAConnectionWhoseResponsesAreNotReadIsClosed(t *testing.T) {
	const asked = 300 // responses of 64 KB: more than the buffers of both sides hold
	r := listen(t, Config{TCPIdle: 50 * time.Millisecond, TCPWorkers: 1})
	client, serve := r.connect(t)
	msg := framed(question(t, 1, dns.TypeAAAA, "most.internal"))
	for range asked {
		client.write(msg)
	}
	ended := make(chan string)
	go func() { ended <- serve() }()
	select {
	case why := <-ended:
		if why != metrics.ClosedWrite.String() {
			t.Errorf("the connection was closed for %v, want %v", why, metrics.ClosedWrite)
		}
	case <-time.After(patience):
		t.Fatal("the connection is not closed")
	}
	for n := 0; ; n++ {
		got, err := readFrame(client.conn)
		if err != nil {
			if err != io.EOF && err != io.ErrUnexpectedEOF {
				t.Logf("the end: %v", err) // a reset, because of queries that were not read
			}
			if n == 0 || n == asked {
				t.Errorf("the client gets %d responses of %d", n, asked)
			}
			return
		}
		if m := unpack(t, got); m.Id != 1 || m.Question[0].Name != "most.internal." {
			t.Fatalf("response %d: %v", n, m.MsgHdr)
		}
	}
}

// An idle connection is closed after TCPTotal, even if TCPIdle is longer.
func TestAnIdleConnectionIsClosedWhenItIsOld(t *testing.T) {
	r := start(t, Config{TCPTotal: 50 * time.Millisecond, TCPIdle: 2 * patience})
	dialTCP(t, r.Addrs()[0]).closed()
	wantCounts(t, r.counts(), map[string]float64{"tcp_connections_closed_total old": 1})
}

// A client may ask for more at once than the server should hold for it.
func TestResponsesToPipelinedQueriesAreBounded(t *testing.T) {
	r := listen(t, Config{TCPWorkers: 1})
	client, serve := r.connect(t)
	// The first query makes the buffer large enough for all others.
	all := framed(question(t, 1, dns.TypeAAAA, "web.internal", edns(1232, &dns.EDNS0_LOCAL{Code: 65001, Data: make([]byte, 60_000)})))
	n := 0
	for msg := framed(question(t, 2, dns.TypeAAAA, "most.internal")); n < 300; n++ {
		all = append(all, msg...)
	}
	go func() {
		client.conn.Write(all)
		client.conn.CloseWrite()
	}()
	got := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, client.conn)
		got <- n
	}()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	serve()
	runtime.ReadMemStats(&after)
	if octets := <-got; octets < int64(n)*65_000 {
		t.Errorf("the client got %d octets of %d responses", octets, n)
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 4<<20 {
		t.Errorf("for %d large responses, %d octets were allocated", n, allocated)
	}
}
