package forward

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// Many clients, upstreams that misbehave in every way at once, a cache that is
// flushed meanwhile, and an end in the middle: every client gets at most one
// response, which is the truth or SERVFAIL, and nothing is left behind.
func TestTroubleLeavesNothingBehind(t *testing.T) {
	trouble := func(r *request) {
		var n int
		fmt.Sscanf(strings.ToLower(r.msg.Question[0].Name), "n%d.", &n)
		switch m := r.truth(); (n + r.n) % 7 {
		case 0:
			if r.tcp || n%3 != 0 {
				r.sendMsg(m)
			} // else silent
		case 1:
			m.Rcode, m.Answer = dns.RcodeServerFailure, nil
			r.sendMsg(m)
		case 2:
			m.Truncated = !r.tcp
			r.sendMsg(m)
		case 3:
			r.send(r.raw)
			r.sendMsg(m)
		case 4:
			m.Question[0].Name = strings.ToLower(m.Question[0].Name)
			r.sendMsg(m)
		default:
			r.sendMsg(m)
			r.sendMsg(m) // twice
		}
	}
	f := newForwarder(t, Config{
		Upstreams:   []Upstream{newFake(t, trouble).upstream(), newFake(t, trouble).upstream()},
		CacheOctets: 50_000, MaxInFlight: 300, StaleAfter: 20 * time.Millisecond,
	})
	end := begin(t, f)
	all, names := suffix(t, "."), 400
	var wg sync.WaitGroup
	var good, failed, notTaken atomic.Int32
	for worker := range 80 {
		wg.Go(func() {
			for i := range 8 {
				name := fmt.Sprintf("n%d.example.", (i*80+worker)%names)
				q := wireQuery(t, stub, "A "+name)
				responses := make(chan string, 2)
				check := func(out []byte) {
					m := new(dns.Msg)
					if err := m.Unpack(out); err != nil {
						t.Error(err)
					}
					responses <- show(m)
				}
				if out := f.Cached(q, stub.Client, time.Now(), make([]byte, 0, 1232)); len(out) > 0 {
					check(out)
				} else if !f.Submit(q, stub.Client, check) {
					notTaken.Add(1)
					continue
				}
				if i == 5 {
					f.Flush(all, true)
				}
				if i%3 != 0 {
					continue // does not wait
				}
				select {
				case got := <-responses:
					if strings.HasPrefix(got, "NOERROR ["+name) && strings.Contains(got, " A 192.0.2.1]") {
						good.Add(1)
					} else if strings.HasPrefix(got, wire.ServFail.String()) {
						failed.Add(1)
					} else {
						t.Errorf("%s: %s", name, got)
					}
					if len(responses) > 0 {
						t.Errorf("%s: a second response", name)
					}
				case <-time.After(10 * time.Second):
					t.Errorf("%s: no response", name)
				}
			}
		})
	}
	wg.Wait()
	end()
	if waiting, open := f.flights.count(); waiting != 0 || open != 0 || len(f.flights.bySource) != 0 {
		t.Errorf("left behind: %d waiting, %d flights, %d sources", waiting, open, len(f.flights.bySource))
	}
	if good.Load() < failed.Load() {
		t.Errorf("%d good answers, %d SERVFAIL", good.Load(), failed.Load())
	}
	t.Logf("%d good answers, %d SERVFAIL, %d not taken", good.Load(), failed.Load(), notTaken.Load())
}
