package resolver

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// Many clients ask for local and forwarded names over both transports. The forwarder's
// responses have all sizes and come from many goroutines, at once or later, in any
// order. Each client gets exactly the responses to its queries.
func TestForwardedResponsesUnderLoad(t *testing.T) {
	const clients, rounds, flight = 8, 20, 40
	seed := rand.Uint64()
	t.Logf("seed %#x", seed)
	sizeOf := func(query []byte) int { return int(query[0])<<3 | int(query[1])<<5 } // up to 10,000
	d := newFakeForwarder()
	d.cached = func(q *wire.Query, c wire.Client, out []byte) []byte {
		if q.ID%5 != 0 {
			return out
		}
		return appendForwarded(out, q, c, sizeOf([]byte{byte(q.ID >> 8), byte(q.ID)}))
	}
	d.submit = func(k *task) bool {
		switch delay := time.Duration(rand.IntN(3000)) * time.Microsecond; {
		case delay < 100*time.Microsecond:
			return false
		case delay < 500*time.Microsecond:
			go k.answer(sizeOf(k.query))
		default:
			time.AfterFunc(delay, func() { k.answer(sizeOf(k.query)) })
		}
		return true
	}
	r := start(t, Config{Forward: d, Listen: []string{"127.0.0.1:0", "[::1]:0", "[::]:0"}})
	var wg sync.WaitGroup
	for i := range clients {
		g := rand.New(rand.NewPCG(seed, uint64(i)))
		tr := transports[i%2]
		a := tr.dial(t, r.Addrs()[i/2%len(r.Addrs())])
		if c, ok := a.(*client); ok {
			c.conn.SetReadBuffer(1 << 20)
		}
		wg.Go(func() {
			for round := range rounds {
				pending := make(map[uint16][]byte)
				for len(pending) < flight {
					id := uint16(g.Uint32())
					if pending[id] != nil {
						continue
					}
					name, qtype := fmt.Sprintf("c%d.r%d.Example", i, round), uint16(dns.TypeTXT)
					if g.IntN(3) == 0 {
						name, qtype = "web.internal", dns.TypeAAAA
					}
					options := []func(*dns.Msg){}
					if g.IntN(2) == 0 {
						options = append(options, edns([]uint16{512, 1232, 4096}[g.IntN(3)]))
					}
					pending[id] = question(t, id, qtype, name, options...)
					a.query(pending[id])
				}
				for len(pending) > 0 {
					got := a.receive()
					m := unpack(t, got)
					query, ok := pending[m.Id]
					delete(pending, m.Id)
					switch {
					case !ok:
						t.Errorf("client %d, round %d: got a response to a query that it did not send: %v", i, round, m.Question)
						return
					case m.Question[0] != unpack(t, query).Question[0]:
						t.Errorf("client %d asked %v, got a response to %v", i, unpack(t, query).Question, m.Question)
					case m.Question[0].Qtype == dns.TypeAAAA:
						if len(m.Answer) != 3 {
							t.Errorf("client %d: a local query gets %v", i, m)
						}
					case m.Rcode == dns.RcodeRefused:
					case !bytes.Equal(got, forwarded(query, tr.stream, sizeOf(query))):
						t.Errorf("client %d asked %v, got %d other octets", i, m.Question, len(got))
					}
				}
			}
		})
	}
	wg.Wait()
	counts := r.counts()
	wantCounts(t, counts, map[string]float64{"dns_dropped_total udp send": 0, "dns_dropped_total tcp send": 0})
	total := 0.0
	for _, rcode := range []string{"NOERROR", "REFUSED"} {
		total += counts["dns_responses_total "+rcode]
	}
	if total != clients*rounds*flight {
		t.Errorf("%v responses are counted, want %d", total, clients*rounds*flight)
	}
}

// While 10,000 forwarded queries wait for responses, local names are answered.
func TestPendingForwardedQueriesDoNotDelayLocalOnes(t *testing.T) {
	const hanging = 10_000
	d := newFakeForwarder()
	r := start(t, Config{Forward: d})
	c := dialUDP(t, r.Addrs()[0])
	web := question(t, 7, dns.TypeAAAA, "web.internal")
	for i := range hanging {
		c.send(question(t, uint16(i), dns.TypeTXT, "www.example.com"))
		if i%100 == 99 { // so that the socket's buffer holds them
			if m := c.ask(web); m.Id != 7 || len(m.Answer) != 3 {
				t.Fatalf("after %d forwarded queries, a local one gets %v", i, m)
			}
		}
	}
	if m := dialTCP(t, r.Addrs()[1]).ask(web); len(m.Answer) != 3 {
		t.Errorf("over TCP, a local query gets %v", m)
	}
	tasks := make(map[uint16]int)
	for range hanging {
		k := d.next(t)
		tasks[uint16(k.query[0])<<8|uint16(k.query[1])]++
		if k.client.Addr.String() != "127.0.0.1" {
			t.Fatalf("a query comes from %v", k.client.Addr)
		}
	}
	if len(tasks) != hanging {
		t.Errorf("%d queries have reached the forwarder, want %d", len(tasks), hanging)
	}
	r.pending.done(hanging) // so that the server does not wait for them when it stops
}
