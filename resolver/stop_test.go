package resolver

import (
	"io"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// What waits in the sockets when the order to stop comes is still answered: so
// here the server runs only after both.
func TestStopAnswersWhatHasArrived(t *testing.T) {
	r := listen(t, Config{})
	const each = 60 // of all together less than one socket holds
	var clients []*client
	for range 3 {
		for _, addr := range r.Addrs() {
			c := dialUDP(t, addr)
			for id := range uint16(each) {
				c.send(question(t, id, dns.TypeAAAA, "web.internal"))
			}
			clients = append(clients, c)
		}
	}
	for _, w := range r.workers {
		w.batch.Stop()
	}
	r.run()
	r.stop()
	for _, c := range clients {
		seen := make(map[uint16]bool)
		for range each {
			m := unpack(t, c.receive())
			if len(m.Answer) != 3 || seen[m.Id] {
				t.Errorf("query %d, twice: %v: %v", m.Id, seen[m.Id], m)
			}
			seen[m.Id] = true
		}
	}
	wantCounts(t, r.counts(), map[string]float64{"dns_responses_total NOERROR": float64(len(clients) * each)})
}

// Connections may bring what is on its way, and are then closed in order: the
// client reads all responses, and an end.
func TestStopAnswersWhatConnectionsHaveSent(t *testing.T) {
	r := start(t, Config{})
	idle, busy := dialTCP(t, r.Addrs()[0]), dialTCP(t, r.Addrs()[1])
	msg := question(t, 5, dns.TypeAAAA, "web.internal")
	idle.ask(msg)
	busy.ask(msg)
	const n = 50
	for range n {
		busy.write(framed(msg))
	}
	r.stop()
	for i := range n {
		if m := unpack(t, busy.receive()); len(m.Answer) != 3 {
			t.Errorf("query %d: %v", i, m)
		}
	}
	busy.closed()
	idle.closed()
	wantCounts(t, r.counts(), map[string]float64{
		"dns_responses_total NOERROR":       n + 2,
		"tcp_connections_closed_total stop": 2,
		"tcp_connections_total":             2,
		"tcp_connections_open":              0,
	})
}

// A client that goes on asking does not keep the server from stopping, and one
// that does not read its responses does not either.
func TestStopWaitsForNoClient(t *testing.T) {
	r := start(t, Config{})
	asking, deaf := dialTCP(t, r.Addrs()[0]), dialTCP(t, r.Addrs()[0])
	ended := make(chan error)
	msg := framed(question(t, 5, dns.TypeAAAA, "web.internal"))
	go func() {
		for {
			if _, err := asking.conn.Write(msg); err != nil {
				ended <- err
				return
			}
		}
	}()
	go io.Copy(io.Discard, asking.conn)
	// Far more than the buffers of both sides hold.
	large := framed(question(t, 6, dns.TypeAAAA, "most.internal"))
	for range 400 {
		deaf.write(large)
	}
	deaf.receive()
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > r.config.TCPIdle/2 {
		t.Errorf("stopping took %v", took)
	}
	if err := <-ended; err == nil {
		t.Error("the connection is still open")
	}
}
