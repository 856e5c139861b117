package resolver

import (
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/miekg/dns"
)

// A connection that brings nothing, or never a whole query, is closed when it
// has been idle for as long as it may, and not before.
func TestAnIdleConnectionIsClosed(t *testing.T) {
	const idle = 300 * time.Millisecond // in which even a busy machine asks once
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

// To send an octet now and then does not make a connection less idle.
func TestATricklingConnectionIsClosed(t *testing.T) {
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
	if took := time.Since(began); took < total || n == 0 {
		t.Errorf("after %v and %d queries, the connection is closed; it may last %v", took, n, total)
	}
	wantCounts(t, r.counts(), map[string]float64{"tcp_connections_closed_total old": 1})
}

// At the number that may be open, whoever comes is served, and the connection that
// has been idle for longest is closed: nobody keeps others out by holding all.
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

// A client that does not take its responses is left when it has had as long as
// it may be idle. What it finds when it reads at last is whole responses, and
// perhaps the beginning of one: nothing comes after that.
func TestAClientThatDoesNotReadIsLeft(t *testing.T) {
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
			t.Errorf("the connection ended because of %v, want %v", why, metrics.ClosedWrite)
		}
	case <-time.After(patience):
		t.Fatal("the connection does not end")
	}
	for n := 0; ; n++ {
		got, err := readFrame(client.conn)
		if err != nil {
			if err != io.EOF && err != io.ErrUnexpectedEOF {
				t.Logf("the end: %v", err) // a reset, for the queries that nobody read
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

// An idle connection does not outlast the time that any may.
func TestAnIdleConnectionIsClosedWhenItIsOld(t *testing.T) {
	r := start(t, Config{TCPTotal: 50 * time.Millisecond, TCPIdle: 2 * patience})
	dialTCP(t, r.Addrs()[0]).closed()
	wantCounts(t, r.counts(), map[string]float64{"tcp_connections_closed_total old": 1})
}

// A client may ask for far more at once than a server should hold for it.
func TestResponsesToPipelinedQueriesAreNotHeaped(t *testing.T) {
	r := listen(t, Config{TCPWorkers: 1})
	client, serve := r.connect(t)
	// The first query makes room for all the others in the buffer for queries.
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
		t.Errorf("%d octets came, of %d responses", octets, n)
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 4<<20 {
		t.Errorf("for %d large responses, %d octets were allocated", n, allocated)
	}
}
