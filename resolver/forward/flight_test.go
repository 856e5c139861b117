package forward

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/resolver/forward/upstream"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

const ms = time.Millisecond

func TestFailOver(t *testing.T) {
	t.Run("one after the other", func(t *testing.T) {
		inScript(t, Config{}, map[string]behavior{"A": blackHole, "B": after(2 * ms)}, func(t *testing.T, f *Forwarder, s *scripted) {
			for i := range 100 {
				name := fmt.Sprintf("n%d.example.", i)
				m, took := stub.ask(t, f, "A "+name)
				if show(m) != isTruth(name) || took > 150*ms {
					t.Errorf("query %d: %s after %v, want an answer within 150ms", i, show(m), took)
				}
			}
			if n := s.count("A"); n > 6 {
				t.Errorf("%d queries went to the black hole, want a few", n)
			}
		})
	})
	t.Run("all at once", func(t *testing.T) {
		inScript(t, Config{}, map[string]behavior{"A": blackHole, "B": after(2 * ms)}, func(t *testing.T, f *Forwarder, s *scripted) {
			began := time.Now()
			var came []<-chan *dns.Msg
			for i := range 100 {
				came = append(came, stub.send(t, f, fmt.Sprintf("A n%d.example.", i)))
			}
			for i, c := range came {
				if m := <-c; show(m) != isTruth(fmt.Sprintf("n%d.example.", i)) {
					t.Errorf("query %d: %s", i, show(m))
				}
			}
			if took := time.Since(began); took > 150*ms {
				t.Errorf("the last answer came after %v, want 150ms at most", took)
			}
		})
	})
	t.Run("after it has worked for long", func(t *testing.T) {
		inScript(t, Config{}, map[string]behavior{"A": after(2 * ms), "B": after(2 * ms)}, func(t *testing.T, f *Forwarder, s *scripted) {
			for i := range 200 {
				stub.ask(t, f, fmt.Sprintf("A before%d.example.", i))
			}
			s.now("A", blackHole)
			for i := range 100 {
				if _, took := stub.ask(t, f, fmt.Sprintf("A n%d.example.", i)); took > 150*ms {
					t.Errorf("query %d after the upstream died took %v, want 150ms at most", i, took)
				}
			}
		})
	})
	t.Run("a closed port costs no time", func(t *testing.T) {
		inScript(t, Config{}, map[string]behavior{"A": refusing, "B": after(2 * ms)}, func(t *testing.T, f *Forwarder, s *scripted) {
			expect(t, f, "A www.example.", isTruth("www.example."), 2*ms)
		})
	})
	for _, rcode := range []int{dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeNotAuth} {
		t.Run(dns.RcodeToString[rcode]+" moves on", func(t *testing.T) {
			inScript(t, Config{}, map[string]behavior{"A": saying(rcode), "B": after(2 * ms)}, func(t *testing.T, f *Forwarder, s *scripted) {
				expect(t, f, "A www.example.", isTruth("www.example."), 3*ms)
				s.now("B", saying(rcode))
				expect(t, f, "A other.example.", "SERVFAIL", 2*ms)
				expect(t, f, "A other.example.", "SERVFAIL", 0)
			})
		})
	}
}

// A slow upstream costs the other one a tenth more queries, not twice as many.
func TestHedgesAreBounded(t *testing.T) {
	inScript(t, Config{}, map[string]behavior{"A": after(150 * ms), "B": after(2 * ms)}, func(t *testing.T, f *Forwarder, s *scripted) {
		const n = 1000
		for i := range n {
			stub.send(t, f, fmt.Sprintf("A n%d.example.", i))
			time.Sleep(30 * ms)
		}
		synctest.Wait()
		if got := s.count("B"); got < n/20 || got > n/10+hedgeBurst {
			t.Errorf("%d of %d queries were hedged, want about a tenth", got, n)
		}
		if st := f.Status().Upstreams[0].State; st != "healthy" {
			t.Errorf("the slow upstream is %s, want healthy", st)
		}
	})
}

func TestOneUpstreamIsAskedAgain(t *testing.T) {
	inScript(t, Config{}, map[string]behavior{"A": blackHole}, func(t *testing.T, f *Forwarder, s *scripted) {
		expect(t, f, "A www.example.", "SERVFAIL EDE 22", 1800*ms)
		for _, want := range []time.Duration{0, 800 * ms, 1400 * ms} {
			got := s.times("A A www.example.")
			if !slices.ContainsFunc(got, func(at time.Duration) bool { return at.Round(ms) == want }) {
				t.Errorf("asked at %v, want also at %v", got, want)
			}
		}
		expect(t, f, "A www.example.", "SERVFAIL EDE 22", 0)
		time.Sleep(500 * ms) // now probes have failed as well
		expect(t, f, "A other.example.", "SERVFAIL EDE 22", 0)
		if got := len(s.times("A A other.example.")); got != 0 {
			t.Errorf("a dead upstream was asked %d times, want never", got)
		}
	})
	inScript(t, Config{}, map[string]behavior{"A": refusing}, func(t *testing.T, f *Forwarder, s *scripted) {
		expect(t, f, "A www.example.", "SERVFAIL EDE 23", 1400*ms)
		expect(t, f, "A www.example.", "SERVFAIL EDE 23", 0)
	})
	inScript(t, Config{}, map[string]behavior{"A": func(q *dns.Question, n int) (time.Duration, *dns.Msg, error) {
		if n == 0 {
			return blackHole(q, n)
		}
		return after(5*ms)(q, n)
	}}, func(t *testing.T, f *Forwarder, s *scripted) {
		expect(t, f, "A lost.example.", isTruth("lost.example."), 805*ms)
	})
}

// A flight waits for a name that takes long, if its upstream answers probes.
func TestSlowNameIsWaitedFor(t *testing.T) {
	inScript(t, Config{}, map[string]behavior{"A": probesOr(after(3 * time.Second))}, func(t *testing.T, f *Forwarder, s *scripted) {
		expect(t, f, "A slow.example.", isTruth("slow.example."), 3*time.Second)
		if st := f.Status().Upstreams[0].State; st != "healthy" {
			t.Errorf("the upstream is %s, want healthy", st)
		}
	})
	inScript(t, Config{}, map[string]behavior{"A": probesOr(blackHole)}, func(t *testing.T, f *Forwarder, s *scripted) {
		expect(t, f, "A never.example.", "SERVFAIL EDE 22", 5*time.Second)
		expect(t, f, "A never.example.", "SERVFAIL EDE 22", 0)
		for i := range 20 {
			stub.send(t, f, fmt.Sprintf("A never%d.example.", i))
		}
		time.Sleep(4 * time.Second)
		s.now("A", after(ms))
		expect(t, f, "A good.example.", isTruth("good.example."), ms) // so it was not judged dead
	})
}

func TestDeadUpstreamComesBack(t *testing.T) {
	for name, down := range map[string]behavior{"silent": blackHole, "refusing": refusing} {
		t.Run(name, func(t *testing.T) {
			inScript(t, Config{}, map[string]behavior{"A": down}, func(t *testing.T, f *Forwarder, s *scripted) {
				for range 60 { // a minute of trouble
					m, took := stub.ask(t, f, "A www.example.")
					if show(m) != "SERVFAIL EDE 22" && show(m) != "SERVFAIL EDE 23" || took > 2*time.Second {
						t.Fatalf("got %s after %v", show(m), took)
					}
					time.Sleep(time.Second - took%time.Second)
				}
				if st := f.Status().Upstreams[0].State; st != "dead" {
					t.Errorf("the upstream is %s, want dead", st)
				}
				all := append(s.times("A NS ."), s.times("A A www.example.")...)
				slices.Sort(all)
				for i, at := range all {
					if at > 5*time.Second && at-all[i-1] < time.Second {
						t.Errorf("dead upstream asked at %v and %v, want once a second at most", all[i-1], at)
					}
				}
				if last := all[len(all)-1]; last < 58*time.Second {
					t.Errorf("the last probe was at %v, want one each second", last)
				}
				s.now("A", after(ms))
				time.Sleep(1100 * ms)
				if m, _ := stub.ask(t, f, "A www.example."); show(m) != isTruth("www.example.") {
					t.Errorf("1.1s after the upstream came back: %s", show(m))
				}
				before := len(s.times("A NS ."))
				time.Sleep(10 * time.Second)
				if n := len(s.times("A NS .")) - before; n != 0 {
					t.Errorf("a healthy upstream was probed %d times, want never", n)
				}
			})
		})
	}
}

// While the first of two is dead, only the other is asked. When the first is back,
// it is asked again.
func TestFirstIsPreferredAgain(t *testing.T) {
	inScript(t, Config{}, map[string]behavior{"A": blackHole, "B": after(2 * ms)}, func(t *testing.T, f *Forwarder, s *scripted) {
		for i := range 20 {
			stub.ask(t, f, fmt.Sprintf("A n%d.example.", i))
			time.Sleep(200 * ms)
		}
		s.now("A", after(ms))
		time.Sleep(2 * time.Second)
		before := s.count("B")
		expect(t, f, "A back.example.", isTruth("back.example."), ms)
		if s.count("B") != before {
			t.Error("the second upstream was asked although the first is back")
		}
	})
}

func TestStale(t *testing.T) {
	fresh, stale := isTruth("www.example."), "NOERROR [www.example. 30 A 192.0.2.1] EDE 3"
	answered := map[string]behavior{"A": after(ms)}
	expired := func(t *testing.T, f *Forwarder) {
		t.Helper()
		expect(t, f, "A www.example.", fresh, ms)
		time.Sleep(61 * time.Second)
	}
	t.Run("what is out of date is given when the fresh answer takes long, and replaced", func(t *testing.T) {
		inScript(t, Config{}, answered, func(t *testing.T, f *Forwarder, s *scripted) {
			expired(t, f)
			s.now("A", probesOr(after(2*time.Second)))
			expect(t, f, "A www.example.", stale, 300*ms)
			expect(t, f, "A www.example.", stale, 0) // the second client need not wait
			time.Sleep(2 * time.Second)
			expect(t, f, "A www.example.", "NOERROR [www.example. 60 A 192.0.2.1]", 0)
		})
	})
	t.Run("a client that asks while others get it gets it at once, too", func(t *testing.T) {
		inScript(t, Config{}, answered, func(t *testing.T, f *Forwarder, s *scripted) {
			expired(t, f)
			s.now("A", probesOr(after(2*time.Second)))
			var q wire.Query
			q.Parse(stub.query(t, "A www.example."))
			second := make(chan time.Duration, 1)
			began := time.Now()
			f.Submit(&q, stub.Client, func([]byte) {
				f.Submit(&q, stub.Client, func([]byte) { second <- time.Since(began) })
			})
			if took := <-second; took != 300*ms {
				t.Errorf("the second client got a response after %v, want 300ms", took)
			}
		})
	})
	t.Run("it is not given when the fresh answer comes soon", func(t *testing.T) {
		inScript(t, Config{}, answered, func(t *testing.T, f *Forwarder, s *scripted) {
			expired(t, f)
			s.now("A", after(200*ms))
			expect(t, f, "A www.example.", fresh, 200*ms)
		})
	})
	t.Run("it is given when the upstream fails, and then at once", func(t *testing.T) {
		inScript(t, Config{}, answered, func(t *testing.T, f *Forwarder, s *scripted) {
			expired(t, f)
			s.now("A", saying(dns.RcodeServerFailure))
			expect(t, f, "A www.example.", stale, ms)
			expect(t, f, "A www.example.", stale, 0)
			time.Sleep(3 * time.Second)
			expect(t, f, "A www.example.", stale, ms)
		})
	})
	t.Run("it is given at once while all upstreams are dead", func(t *testing.T) {
		inScript(t, Config{}, answered, func(t *testing.T, f *Forwarder, s *scripted) {
			expired(t, f)
			s.now("A", blackHole)
			stub.ask(t, f, "A other.example.")
			time.Sleep(500 * ms)
			expect(t, f, "A www.example.", stale, 0)
		})
	})
	t.Run("a name that did not exist is said to be out of date in its own way", func(t *testing.T) {
		none := func(q *dns.Question, _ int) (time.Duration, *dns.Msg, error) {
			m := answerTo(q, 60)
			m.Rcode, m.Answer, m.Ns = dns.RcodeNameError, nil, records("example. 60 IN SOA a. b. 1 2 3 4 60")
			return ms, m, nil
		}
		inScript(t, Config{}, map[string]behavior{"A": none}, func(t *testing.T, f *Forwarder, s *scripted) {
			expect(t, f, "A no.example.", "NXDOMAIN authority [example. 60 SOA]", ms)
			time.Sleep(61 * time.Second)
			s.now("A", saying(dns.RcodeServerFailure))
			expect(t, f, "A no.example.", "NXDOMAIN authority [example. 30 SOA] EDE 19", ms)
		})
	})
	t.Run("it is given for a day", func(t *testing.T) {
		inScript(t, Config{}, answered, func(t *testing.T, f *Forwarder, s *scripted) {
			expect(t, f, "A www.example.", fresh, ms)
			s.now("A", saying(dns.RcodeServerFailure))
			time.Sleep(24*time.Hour + 59*time.Second)
			expect(t, f, "A www.example.", stale, ms)
			time.Sleep(5 * time.Second)
			expect(t, f, "A www.example.", "SERVFAIL", ms)
		})
	})
	t.Run("it is not given if that is switched off", func(t *testing.T) {
		inScript(t, Config{StaleAge: -1}, answered, func(t *testing.T, f *Forwarder, s *scripted) {
			expired(t, f)
			s.now("A", saying(dns.RcodeServerFailure))
			expect(t, f, "A www.example.", "SERVFAIL", ms)
		})
	})
}

func TestPrefetch(t *testing.T) {
	inScript(t, Config{}, map[string]behavior{"A": after(ms)}, func(t *testing.T, f *Forwarder, s *scripted) {
		stub.ask(t, f, "A hot.example.")
		stub.ask(t, f, "A cold.example.")
		for range 600 { // two minutes
			time.Sleep(200 * ms)
			if stub.cached(t, f, "A hot.example.") == nil {
				t.Fatal("a name asked for five times a second went out of date")
			}
		}
		for i, at := range s.times("A A hot.example.")[1:] {
			if since := at - s.times("A A hot.example.")[i]; since < 53*time.Second || since > 60*time.Second {
				t.Errorf("the hot name was refreshed after %v, want in the last tenth of 60s", since)
			}
		}
		if n := len(s.times("A A cold.example.")); n != 1 {
			t.Errorf("the cold name was asked for %d times, want once", n)
		}
		if n := f.stats.Total(metrics.CachePrefetch); n != 2 {
			t.Errorf("%d prefetches were counted, want 2", n)
		}
	})
}

// RFC 9520: failures are remembered, for longer each time, and 5 minutes at most.
func TestFailuresAreRemembered(t *testing.T) {
	inScript(t, Config{}, map[string]behavior{"A": saying(dns.RcodeServerFailure)}, func(t *testing.T, f *Forwarder, s *scripted) {
		for time.Since(s.began) < 30*time.Minute {
			stub.ask(t, f, "A broken.example.")
			time.Sleep(500 * ms)
		}
		times := s.times("A A broken.example.")
		want := []time.Duration{2, 4, 8, 16, 32, 64, 128, 256, 300, 300}
		for i, w := range want {
			if gap := times[i+1] - times[i]; gap < w*time.Second || gap > (w+1)*time.Second {
				t.Errorf("failure %d was remembered for %v, want %ds", i+1, gap, w)
			}
		}
		s.now("A", after(ms))
		time.Sleep(5 * time.Minute)
		stub.ask(t, f, "A broken.example.")
		s.now("A", saying(dns.RcodeServerFailure))
		f.Flush(suffix(t, "broken.example"), false)
		before := len(s.times("A A broken.example."))
		for range 40 {
			stub.ask(t, f, "A broken.example.")
			time.Sleep(100 * ms)
		}
		if n := len(s.times("A A broken.example.")) - before; n != 2 {
			t.Errorf("after it had worked, a failing name was asked for %d times in 4s, want 2", n)
		}
	})
}

func TestLimits(t *testing.T) {
	other := netip.MustParseAddr("10.0.0.2")
	count := func(t *testing.T, f *Forwarder, c client, n int, name string) (taken int) {
		for i := range n {
			if c.send(t, f, fmt.Sprintf("A "+name, i)) != nil {
				taken++
			}
		}
		return taken
	}
	inScript(t, Config{MaxInFlight: 50, MaxPerSource: 30}, map[string]behavior{"A": probesOr(blackHole)}, func(t *testing.T, f *Forwarder, s *scripted) {
		second := stub
		second.Addr = other
		if n := count(t, f, stub, 40, "n%d.example."); n != 30 {
			t.Errorf("%d queries of one client were taken, want 30", n)
		}
		if n := count(t, f, second, 40, "m%d.example."); n != 20 {
			t.Errorf("%d queries of the second client were taken, want the remaining 20", n)
		}
		st, source, full := f.state(), f.stats.Total(metrics.RefusedSource), f.stats.Total(metrics.RefusedFull)
		if st.Waiting != 50 || st.Questions != 50 || source != 10 || full != 20 {
			t.Errorf("counted %d queries waiting for %d questions, %d and %d refused", st.Waiting, st.Questions, source, full)
		}
		time.Sleep(6 * time.Second)
		if st := f.state(); st.Waiting != 0 || st.Questions != 0 {
			t.Errorf("after all have failed, %d queries wait for %d questions", st.Waiting, st.Questions)
		}
		s.now("A", after(ms))
		expect(t, f, "A n35.example.", isTruth("n35.example."), ms) // the refusal was not cached
		if n := count(t, f, stub, 40, "o%d.example."); n != 30 {
			t.Errorf("%d queries were taken afterwards, want 30 again", n)
		}
	})
}

// A machine that asks from all its addresses is one client, and its neighbors are
// others.
func TestAMachineIsOneSource(t *testing.T) {
	inScript(t, Config{MaxInFlight: 50, MaxPerSource: 20}, map[string]behavior{"A": blackHole}, func(t *testing.T, f *Forwarder, s *scripted) {
		taken := func(prefix string) (n int) {
			for i := range 25 {
				c := stub
				c.Addr = netip.MustParseAddr(fmt.Sprintf("%s%x", prefix, i+2))
				if c.send(t, f, fmt.Sprintf("A n%d.example.", i)) != nil {
					n++
				}
			}
			return n
		}
		for _, tt := range []struct {
			prefix string
			want   int
		}{{"fdaa:0:18:a7b:7d:f066:b83b:", 20}, {"fdaa:0:18:a7b:7d:f066:b83c:", 20}, {"fdab:0:18:a7b:7d:f066:b83b:", 10}} {
			if n := taken(tt.prefix); n != tt.want {
				t.Errorf("of 25 addresses %s…, %d queries were taken, want %d", tt.prefix, n, tt.want)
			}
		}
	})
}

// A failure whose cause is on this machine says nothing about a name, nor about an
// upstream.
func TestOurLimitsAreNotRemembered(t *testing.T) {
	for _, err := range []error{upstream.ErrNoSocket, &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}} {
		inScript(t, Config{}, map[string]behavior{"A": func(q *dns.Question, n int) (time.Duration, *dns.Msg, error) { return 0, nil, err }}, func(t *testing.T, f *Forwarder, s *scripted) {
			expect(t, f, "A www.example.", "SERVFAIL", 0)
			s.now("A", after(ms))
			expect(t, f, "A www.example.", isTruth("www.example."), ms)
			if n := len(s.times("A NS .")); n != 0 {
				t.Errorf("the upstream was probed %d times, want never", n)
			}
		})
	}
}

// An upstream that comes and goes is used while it answers.
func TestFlappingUpstream(t *testing.T) {
	inScript(t, Config{}, map[string]behavior{"A": after(ms), "B": after(20 * ms)}, func(t *testing.T, f *Forwarder, s *scripted) {
		answeredByA := 0
		for i := range 600 { // a minute; A is up for three seconds and down for three
			if i%60 == 0 {
				s.now("A", after(ms))
			}
			if i%60 == 30 {
				s.now("A", blackHole)
			}
			name := fmt.Sprintf("n%d.example.", i)
			m, took := stub.ask(t, f, "A "+name)
			if show(m) != isTruth(name) || took > 150*ms {
				t.Errorf("query %d: %s after %v, want an answer within 150ms", i, show(m), took)
			}
			if took == ms {
				answeredByA++
			}
			time.Sleep(100*ms - took%(100*ms))
		}
		if answeredByA < 150 {
			t.Errorf("the first upstream, up for half of the time, gave %d of 600 answers", answeredByA)
		}
	})
}

// A response that must not be cached is passed to the clients that wait. The next
// client causes another query.
func TestUncacheableAnswersArePassed(t *testing.T) {
	zero := func(q *dns.Question, _ int) (time.Duration, *dns.Msg, error) { return ms, answerTo(q, 0), nil }
	noSOA := func(q *dns.Question, _ int) (time.Duration, *dns.Msg, error) {
		m := answerTo(q, 0)
		m.Answer, m.Rcode = nil, dns.RcodeNameError
		return ms, m, nil
	}
	inScript(t, Config{}, map[string]behavior{"A": zero}, func(t *testing.T, f *Forwarder, s *scripted) {
		for range 2 {
			expect(t, f, "A www.example.", "NOERROR [www.example. 0 A 192.0.2.1]", ms)
		}
		s.now("A", noSOA)
		for range 2 {
			expect(t, f, "A other.example.", "NXDOMAIN", ms)
		}
	})
}

// Negative responses are cached for the time in their SOA.
func TestNegativeResponsesAreCached(t *testing.T) {
	no := func(q *dns.Question, _ int) (time.Duration, *dns.Msg, error) {
		m := answerTo(q, 0)
		m.Answer, m.Rcode, m.Ns = nil, dns.RcodeNameError, records("example. 600 IN SOA a. b. 1 2 3 4 30")
		return ms, m, nil
	}
	inScript(t, Config{}, map[string]behavior{"A": no}, func(t *testing.T, f *Forwarder, s *scripted) {
		expect(t, f, "A no.example.", "NXDOMAIN authority [example. 30 SOA]", ms)
		time.Sleep(29 * time.Second)
		expect(t, f, "A no.example.", "NXDOMAIN authority [example. 1 SOA]", 0)
		time.Sleep(time.Second)
		expect(t, f, "A no.example.", "NXDOMAIN authority [example. 30 SOA]", ms)
		denials, hits, misses := f.stats.Total(metrics.CacheDenial), f.stats.Total(metrics.CacheHit), f.stats.Total(metrics.CacheMiss)
		if denials != 1 || hits != 0 || misses != 2 {
			t.Errorf("counted %d denials, %d hits, %d misses; want 1, 0 and 2", denials, hits, misses)
		}
	})
}

// The extended error of an upstream is passed on.
func TestExtendedErrorPasses(t *testing.T) {
	bogus := func(q *dns.Question, _ int) (time.Duration, *dns.Msg, error) {
		m := answerTo(q, 60)
		m.Rcode, m.Answer = dns.RcodeServerFailure, nil
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus})
		return ms, m, nil
	}
	inScript(t, Config{}, map[string]behavior{"A": bogus}, func(t *testing.T, f *Forwarder, s *scripted) {
		expect(t, f, "A bogus.example.", "SERVFAIL EDE 6", ms)
		expect(t, f, "A bogus.example.", "SERVFAIL EDE 6", 0)
	})
}

// A client that waits is an entry in a list.
func TestWaitingTakesNoGoroutine(t *testing.T) {
	inScript(t, Config{}, map[string]behavior{"A": probesOr(after(time.Second))}, func(t *testing.T, f *Forwarder, s *scripted) {
		stub.send(t, f, "A www.example.")
		time.Sleep(500 * ms)
		synctest.Wait()
		before := runtime.NumGoroutine()
		var came []<-chan *dns.Msg
		for range 1000 {
			came = append(came, stub.send(t, f, "A www.example."))
		}
		synctest.Wait()
		if n := runtime.NumGoroutine(); n > before+5 {
			t.Errorf("1000 more clients took %d goroutines", n-before)
		}
		for _, c := range came {
			if m := <-c; show(m) != isTruth("www.example.") {
				t.Fatal(show(m))
			}
		}
	})
}

// Run ends all flights at once, and no query is taken afterwards.
func TestRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := func(ctx context.Context, _ *upstream.Query, _ func(upstream.Hint)) (*message.Response, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		f := newForwarder(t, Config{Upstreams: []Upstream{upstreamA}, exchange: never})
		if stub.send(t, f, "A www.example.") != nil {
			t.Error("a query was taken before Run")
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		<-f.Running() // from now on queries are taken
		for i := range 100 {
			if stub.send(t, f, fmt.Sprintf("A n%d.example.", i)) == nil {
				t.Fatal("a query was refused after Running")
			}
		}
		time.Sleep(500 * ms)
		began := time.Now()
		cancel()
		if err := <-ended; err != nil || time.Since(began) != 0 {
			t.Errorf("Run returned %v after %v, want nil at once", err, time.Since(began))
		}
		if stub.send(t, f, "A www.example.") != nil {
			t.Error("a query was taken after Run")
		}
	})
}

// An upstream is never asked for a local name, even if package resolver submits one.
func TestLocalNamesAreNotForwarded(t *testing.T) {
	inScript(t, Config{}, map[string]behavior{"A": after(ms)}, func(t *testing.T, f *Forwarder, s *scripted) {
		for _, question := range []string{"AAAA web.internal.", "DS internal.", "A WEB.INTERNAL."} {
			q := wireQuery(t, stub, question)
			if f.Submit(q, stub.Client, func([]byte) {}) {
				t.Errorf("%s was taken", question)
			}
		}
		if s.count("A") != 0 {
			t.Error("the upstream was asked for local names")
		}
	})
}

// The longest suffix decides which upstream is asked.
func TestForwards(t *testing.T) {
	c := Config{
		Upstreams: []Upstream{upstreamA},
		Forwards: []Forward{
			{suffix(t, "corp.example"), []Upstream{upstreamB}},
			{suffix(t, "public.corp.example"), []Upstream{upstreamA}},
			{suffix(t, "10.in-addr.arpa"), []Upstream{upstreamB}},
		},
	}
	inScript(t, c, map[string]behavior{"A": after(ms), "B": after(2 * ms)}, func(t *testing.T, f *Forwarder, s *scripted) {
		for name, wait := range map[string]time.Duration{
			"corp.example.": 2 * ms, "a.b.corp.example.": 2 * ms, "notcorp.example.": ms, "example.": ms,
			"www.public.corp.example.": ms, "1.0.0.10.in-addr.arpa.": 2 * ms,
		} {
			expect(t, f, "A "+name, isTruth(name), wait)
		}
		expect(t, f, "A cOrP.eXaMpLe.", isTruth("corp.example."), 0)
	})
}

// Each client gets what it can take.
func TestClientsDiffer(t *testing.T) {
	many := func(q *dns.Question, _ int) (time.Duration, *dns.Msg, error) {
		m := answerTo(q, 60)
		for i := range 99 {
			m.Answer = append(m.Answer, records(fmt.Sprintf("%s 60 IN A 192.0.2.%d", q.Name, i+2))...)
		}
		m.AuthenticatedData = true
		return ms, m, nil
	}
	inScript(t, Config{}, map[string]behavior{"A": many}, func(t *testing.T, f *Forwarder, s *scripted) {
		for _, tt := range []struct {
			name string
			c    client
			want string
		}{
			{"one without EDNS gets 512 octets and TC", client{Client: wire.Client{Addr: local, Limit: wire.MinUDPSize}, rd: true}, "30 TC"},
			{"one that takes 1232 octets gets those and TC", stub, "74 TC"},
			{"one that takes 4096 octets gets all", client{Client: wire.Client{Addr: local, Limit: 4096}, rd: true, opt: true, udpSize: 4096}, "100"},
			{"one over TCP gets all", client{Client: wire.Client{Addr: local, Limit: 65535, Stream: true}, rd: true}, "100"},
			{"one that says AD learns that it was validated", client{Client: wire.Client{Addr: local, Limit: 4096}, rd: true, ad: true}, "100 AD"},
			{"one that says DO learns that it was validated", client{Client: wire.Client{Addr: local, Limit: 4096}, rd: true, opt: true, do: true, udpSize: 4096}, "100 AD"},
		} {
			for _, from := range []string{"upstream", "the cache"} {
				m, _ := tt.c.ask(t, f, "A many.example.")
				got := fmt.Sprint(len(m.Answer))
				if m.Truncated {
					got += " TC"
				}
				if m.AuthenticatedData {
					got += " AD"
				}
				if got != tt.want {
					t.Errorf("%s: got %s from %s, want %s", tt.name, got, from, tt.want)
				}
			}
		}
		if n := s.count("A"); n != 2 { // DO is another question
			t.Errorf("upstream was asked %d times, want 2", n)
		}
		cd := stub
		cd.cd = true
		cd.ask(t, f, "A many.example.")
		if n := s.count("A"); n != 3 {
			t.Errorf("with CD, upstream was asked %d times, want 3: a validated answer is none for CD", n)
		}
	})
}

func suffix(t testing.TB, name string) Suffix {
	t.Helper()
	s, err := ParseSuffix(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
