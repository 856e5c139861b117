package resolver

import (
	"io"
	"testing"

	"github.com/miekg/dns"
)

// Queries that wait in the sockets at the order to stop are answered. Here both come
// before the server runs.
func TestStopAnswersWhatHasArrived(t *testing.T) {
	r := listen(t, Config{})
	const each = 60 // one socket holds those of all clients
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

// At the order to stop, queries that are on their way are answered. Then connections
// are closed: the client reads all responses and the end of the stream.
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

// Neither a client that continues to ask nor one that does not read its responses keeps
// the server from stopping.
func TestStopWaitsForNoClient(t *testing.T) {
	r := start(t, Config{TCPIdle: 2 * patience, TCPTotal: 2 * patience})
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
	// Much more than the buffers of both sides hold.
	large := framed(question(t, 6, dns.TypeAAAA, "most.internal"))
	for range 400 {
		deaf.write(large)
	}
	deaf.receive()
	r.stop()
	if err := <-ended; err == nil {
		t.Error("the connection is still open")
	}
}
