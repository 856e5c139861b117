package forward

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/resolver/forward/upstream"
	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// The tests of flight_test.go run in fake time, without sockets. These run over real
// sockets.

// A moody upstream changes what it does.
type moody struct {
	*fake
	do atomic.Pointer[func(*request)]
}

func newMoody(t testing.TB, do func(*request)) *moody {
	m := new(moody)
	m.now(do)
	m.fake = newFake(t, func(r *request) { (*m.do.Load())(r) })
	return m
}

func (m *moody) now(do func(*request)) { m.do.Store(&do) }

// Behaviors of a moody upstream.
func silence(*request) {}

func truthAfter(d time.Duration) func(*request) {
	return func(r *request) { time.AfterFunc(d, func() { truth(r) }) }
}

// probesTruth answers probes truly, and does do for the rest.
func probesTruth(do func(*request)) func(*request) {
	return func(r *request) {
		if r.msg.Question[0].Name == "." {
			truth(r)
		} else {
			do(r)
		}
	}
}

func onlySaying(rcode int) func(*request) {
	return func(r *request) {
		m := r.reply()
		m.Rcode = rcode
		r.sendMsg(m)
	}
}

// failOverTime is how long clients may wait because an upstream died. 150 ms are
// promised, which fake time shows. A busy machine takes longer. Without fail-over
// it would be 800 ms.
const failOverTime = 400 * ms

func TestFailOverBetweenSockets(t *testing.T) {
	slowest := func(t testing.TB, f *Forwarder, names string) (worst time.Duration) {
		for i := range 100 {
			name := fmt.Sprintf("%s%d.example.", names, i)
			m, took := stub.ask(t, f, "A "+name)
			if show(m) != isTruth(name) {
				t.Errorf("%s: %s", name, show(m))
			}
			worst = max(worst, took)
		}
		return worst
	}
	t.Run("a black hole", func(t *testing.T) {
		t.Parallel()
		inTime(t, 0, failOverTime, func(t testing.TB) time.Duration {
			a, b := newFake(t, silence), newFake(t, truth)
			f := start(t, Config{Upstreams: []Upstream{a.upstream(), b.upstream()}})
			return slowest(t, f, "n")
		})
	})
	t.Run("one that worked for long", func(t *testing.T) {
		t.Parallel()
		inTime(t, 0, failOverTime, func(t testing.TB) time.Duration {
			a, b := newMoody(t, truth), newFake(t, truth)
			f := start(t, Config{Upstreams: []Upstream{a.upstream(), b.upstream()}})
			slowest(t, f, "before")
			a.now(silence)
			return slowest(t, f, "n")
		})
	})
	t.Run("all at once", func(t *testing.T) {
		t.Parallel()
		inTime(t, 0, failOverTime, func(t testing.TB) time.Duration {
			a, b := newFake(t, silence), newFake(t, truth)
			f := start(t, Config{Upstreams: []Upstream{a.upstream(), b.upstream()}})
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
			return time.Since(began)
		})
	})
	t.Run("a closed port costs no time", func(t *testing.T) {
		t.Parallel()
		inTime(t, 0, failOverTime/2, func(t testing.TB) time.Duration {
			closed := listenAt(t, "127.0.0.1:0")
			closed.Close()
			f := start(t, Config{Upstreams: []Upstream{{Addr: addrPort(closed.LocalAddr().String())}, newFake(t, truth).upstream()}})
			worst := slowest(t, f, "n")
			if n := f.upstreams()[0].Stats.Errors.Load(); n == 0 {
				t.Errorf("no error is counted")
			}
			return worst
		})
	})
	for _, rcode := range []int{dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeNotAuth} {
		t.Run(dns.RcodeToString[rcode]+" moves on", func(t *testing.T) {
			t.Parallel()
			inTime(t, 0, failOverTime/2, func(t testing.TB) time.Duration {
				a, b := newFake(t, onlySaying(rcode)), newFake(t, truth)
				f := start(t, Config{Upstreams: []Upstream{a.upstream(), b.upstream()}})
				m, took := stub.ask(t, f, "A www.example.")
				if show(m) != isTruth("www.example.") || len(a.received("www.example.")) != 1 {
					t.Errorf("%s; the first was asked %d times, want once", show(m), len(a.received("www.example.")))
				}
				if n := f.upstreams()[0].Stats.Responses(uint16(rcode)); n != 1 {
					t.Errorf("%d such responses of the first upstream are counted, want 1", n)
				}
				return took
			})
		})
	}
}

// An upstream that has become slow costs the other a tenth more, and some that were
// saved up.
func TestHedgesOverSocketsAreBounded(t *testing.T) {
	t.Parallel()
	a, b := newMoody(t, truth), newFake(t, truth)
	f := start(t, Config{Upstreams: []Upstream{a.upstream(), b.upstream()}})
	for i := range 100 {
		stub.ask(t, f, fmt.Sprintf("A before%d.example.", i))
	}
	before := len(b.received(""))
	a.now(truthAfter(80 * ms)) // less than SilentAfter
	const n = 200
	var came []<-chan *dns.Msg
	for i := range n {
		came = append(came, stub.send(t, f, fmt.Sprintf("A n%d.example.", i)))
		time.Sleep(10 * ms) // the real clock is meant: the budget counts flights, which must overlap
	}
	for _, c := range came {
		<-c
	}
	hedges := f.upstreams()[1].Stats.Hedges.Load()
	if got := len(b.received("")) - before; got == 0 || hedges == 0 || hedges > (n+100)/hedgeCost+hedgeBurst {
		t.Errorf("%d of %d queries went to the second upstream, %d as hedges; want some, and a tenth at most beside %d saved up", got, n, hedges, hedgeBurst)
	}
}

func TestOneUpstreamIsAskedAgainOverSockets(t *testing.T) {
	t.Parallel()
	inTime(t, 1800*ms, 2200*ms, func(t testing.TB) time.Duration {
		began := time.Now()
		asked := make(chan time.Duration, 100)
		up := newFake(t, func(r *request) {
			if r.msg.Question[0].Name != "." {
				asked <- time.Since(began)
			}
		})
		f := start(t, Config{Upstreams: []Upstream{up.upstream()}})
		m, took := stub.ask(t, f, "A www.example.")
		if show(m) != "SERVFAIL EDE 22" {
			t.Errorf("got %s", show(m))
		}
		if m := stub.cached(t, f, "A www.example."); show(m) != "SERVFAIL EDE 22" {
			t.Errorf("asked again: %s at once", show(m))
		}
		missing := []time.Duration{0, 800 * ms, 1400 * ms}
		for len(asked) > 0 {
			at := <-asked
			missing = slices.DeleteFunc(missing, func(want time.Duration) bool { return at >= want && at < want+100*ms })
		}
		if len(missing) > 0 {
			t.Logf("not asked at %v", missing)
			return 0
		}
		return took
	})
}

func TestDeadUpstreamComesBackOverSockets(t *testing.T) {
	t.Parallel()
	inTime(t, 0, 2500*ms, func(t testing.TB) time.Duration {
		up := newMoody(t, silence)
		f := start(t, Config{Upstreams: []Upstream{up.upstream()}})
		began := time.Now()
		for range 40 {
			stub.send(t, f, "A www.example.")
			time.Sleep(100 * ms) // the real clock is meant: four seconds of trouble
		}
		if st := f.Status().Upstreams[0].State; st != "dead" {
			t.Errorf("the upstream is %s, want dead", st)
		}
		if n := f.upstreams()[0].Stats.Probes.Load(); n < 3 || n > 1+uint64(time.Since(began)/time.Second) {
			t.Errorf("it was probed %d times in %v, want once a second", n, time.Since(began))
		}
		up.now(truth)
		back := time.Now()
		for i := 0; time.Since(back) < 10*time.Second; i++ {
			if m, _ := stub.ask(t, f, fmt.Sprintf("A back%d.example.", i)); m.Rcode == dns.RcodeSuccess {
				break
			}
			time.Sleep(10 * ms) // the real clock is meant: a client that asks again
		}
		return time.Since(back)
	})
}

// A question that has failed between Cached and Submit is not asked again.
func TestAQuestionThatJustFailedIsNotAsked(t *testing.T) {
	up := newFake(t, truth)
	f := start(t, Config{Upstreams: []Upstream{up.upstream()}})
	q := wireQuery(t, stub, "A www.example.")
	f.cache.Fail(message.QuestionOf(q), f.clock.Now(), 0, 0)
	rcodes := make(chan byte, 1)
	if !f.Submit(q, stub.Client, func(msg []byte) { rcodes <- msg[3] & 0xF }) {
		t.Fatal("not taken")
	}
	if rcode := <-rcodes; rcode != dns.RcodeServerFailure || len(up.received("")) != 0 {
		t.Errorf("RCODE %d, and the upstream was asked %d times", rcode, len(up.received("")))
	}
}

// If there is an entry out of date, clients do not wait for a silent upstream.
func TestStaleOverSockets(t *testing.T) {
	t.Parallel()
	stale := "NOERROR [www.example. 30 A 192.0.2.1] EDE 3"
	inTime(t, 300*ms, 700*ms, func(t testing.TB) time.Duration {
		up := newMoody(t, func(r *request) { r.sendMsg(r.reply(r.msg.Question[0].Name + " 1 IN A 192.0.2.1")) })
		f := start(t, Config{Upstreams: []Upstream{up.upstream()}})
		stub.ask(t, f, "A www.example.")
		up.now(silence)
		time.Sleep(1100 * ms) // the real clock is meant: the entry expires
		m, took := stub.ask(t, f, "A www.example.")
		if show(m) != stale {
			t.Errorf("got %s, want %s", show(m), stale)
		}
		return took
	})
}

// Queries in flight count until they are answered, and not longer.
func TestQueriesInFlightAreBounded(t *testing.T) {
	held := make(chan *request, 1000)
	hold := probesTruth(func(r *request) { held <- r })
	up := newMoody(t, hold)
	f := start(t, Config{Upstreams: []Upstream{up.upstream()}, MaxInFlight: 20, MaxPerSource: 10})
	for round := range 3 {
		up.now(hold)
		var came []<-chan *dns.Msg
		for source := range 3 {
			c := stub
			c.Addr = netip.AddrFrom4([4]byte{127, 0, 0, byte(source + 1)})
			taken := 0
			for i := range 15 {
				if came1 := c.send(t, f, fmt.Sprintf("A n%d-%d-%d.example.", round, source, i)); came1 != nil {
					came = append(came, came1)
					taken++
				}
			}
			if want := []int{10, 10, 0}[source]; taken != want {
				t.Errorf("of client %d, %d queries were taken, want %d", source+1, taken, want)
			}
		}
		up.now(truth)
		for len(held) > 0 {
			truth(<-held)
		}
		for _, c := range came {
			if m := <-c; m.Rcode != dns.RcodeSuccess {
				t.Errorf("got %s", show(m))
			}
		}
	}
}

// An upstream that is removed may still answer the queries that it was sent.
func TestAnUpstreamIsRemovedWhileItIsAsked(t *testing.T) {
	held := make(chan *request, 10)
	a, b := newFake(t, func(r *request) { held <- r }), newFake(t, truth)
	f := start(t, Config{ResolvConf: "/nonexistent/resolv.conf"})
	f.setUpstreams([]Upstream{a.upstream()})
	came := stub.send(t, f, "A first.example.")
	r := <-held
	f.setUpstreams([]Upstream{b.upstream()})
	if m, _ := stub.ask(t, f, "A second.example."); show(m) != isTruth("second.example.") || len(b.received("second.example.")) == 0 {
		t.Errorf("the new upstream: %s", show(m))
	}
	truth(r)
	if m := <-came; show(m) != isTruth("first.example.") {
		t.Errorf("the old upstream: %s", show(m))
	}
}

// Run ends a thousand flights at any stage, and leaves neither a goroutine nor a
// descriptor.
func TestThousandsOfFlightsEndWithRun(t *testing.T) {
	before, files := runtime.NumGoroutine(), openNow(t)
	n := 1000
	for _, wait := range []time.Duration{0, 50 * ms, upstream.SilentAfter, 250 * ms} {
		f := newForwarder(t, Config{Upstreams: []Upstream{{Addr: addrPort(listenAt(t, "127.0.0.1:0").LocalAddr().String())}}, MaxPerSource: 10_000})
		end := begin(t, f)
		for i := range n {
			if !f.Submit(wireQuery(t, stub, fmt.Sprintf("A n%d.example.", i)), stub.Client, func([]byte) {}) {
				t.Fatal("not taken")
			}
		}
		time.Sleep(wait) // the real clock is meant: some or all have missed their time, or were asked again
		end()
		if waiting, open := f.flights.count(); waiting != 0 || open != 0 {
			t.Errorf("after %v: left behind: %d waiting, %d flights", wait, waiting, open)
		}
	}
	files += 4 // the upstreams' sockets
	for range 500 {
		if runtime.NumGoroutine() <= before && openNow(t) <= files {
			return
		}
		time.Sleep(10 * ms) // the real clock is meant: goroutines that have just ended still count
	}
	t.Errorf("%d goroutines and %d files, before %d and %d", runtime.NumGoroutine(), openNow(t), before, files)
}

// openNow returns how many files the process has open.
func openNow(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(list)
}

// Without free descriptors a question fails, a kept socket goes on working, and the
// upstream stays healthy. With descriptors again, all works.
func TestWithoutDescriptors(t *testing.T) {
	held := make(chan *request, 10)
	up := newMoody(t, truth)
	f := start(t, Config{Upstreams: []Upstream{up.upstream()}})
	stub.ask(t, f, "A first.example.")
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 3 // less than are open
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	if m, _ := stub.ask(t, f, "A kept.example."); show(m) != isTruth("kept.example.") {
		t.Errorf("with the socket that is kept: %s", show(m))
	}
	up.now(func(r *request) { held <- r })
	came := stub.send(t, f, "A taken.example.")
	r := <-held
	if m, _ := stub.ask(t, f, "A none.example."); show(m) != "SERVFAIL" {
		t.Errorf("without a socket: %s", show(m))
	}
	truth(r)
	if m := <-came; show(m) != isTruth("taken.example.") {
		t.Errorf("what was on its way: %s", show(m))
	}
	if u := f.upstreams()[0]; u.Dead() || u.Silent() {
		t.Errorf("the upstream seems %s", u.State())
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	up.now(truth)
	if m, _ := stub.ask(t, f, "A none.example."); show(m) != isTruth("none.example.") {
		t.Errorf("with sockets again: %s", show(m))
	}
}

// An upstream that answers is alive, and a question that it takes long for is not
// held against it.
func TestAnswersAreHeard(t *testing.T) {
	held := make(chan *request, 10)
	up := newFake(t, func(r *request) {
		if len(r.msg.Question[0].Name) == len("slow.example.") {
			held <- r
		} else {
			truth(r)
		}
	})
	f := start(t, Config{Upstreams: []Upstream{up.upstream()}})
	u := f.upstreams()[0]
	f.budget.flights.Store(0)
	began := time.Now()
	slow := stub.send(t, f, "A slow.example.")
	stub.ask(t, f, "A n.example.")
	inTime := time.Since(began) < upstream.SilentAfter
	if !u.HeardSince(0) {
		t.Error("nothing was heard")
	}
	time.Sleep(2 * upstream.SilentAfter) // the real clock is meant: the slow one's time is over
	if n := u.Stats.Probes.Load(); inTime && n != 0 || u.State() != upstream.Healthy {
		t.Errorf("the upstream is %s and was probed %d times, although it has answered meanwhile", u.State(), n)
	}
	truth(<-held)
	<-slow
	sent, answered := u.Stats.Requests(metrics.OverUDP), u.Stats.Responses(dns.RcodeSuccess)
	if sent != 2 || answered != 2 || f.budget.flights.Load() != 2 {
		t.Errorf("of 2 questions, %d are counted, %d responses, and %d towards hedges", sent, answered, f.budget.flights.Load())
	}
}

// A second response may wait in the socket when the next question gets it.
func TestLeftoversOfAnEarlierQuestionAreNotBelieved(t *testing.T) {
	up := newFake(t, func(r *request) {
		truth(r)
		truth(r)
		lie := r.truth()
		lie.Answer = records(r.msg.Question[0].Name + " 60 IN A 192.0.2.66")
		r.sendMsg(lie)
	})
	f := start(t, Config{Upstreams: []Upstream{up.upstream()}})
	for i := range 200 {
		name := fmt.Sprintf("n%d.example.", i)
		if m, _ := stub.ask(t, f, "A "+name); show(m) != isTruth(name) {
			t.Fatalf("%s: %s", name, show(m))
		}
	}
}

// A question that takes longer than the upstream may is not asked again for that.
func TestASlowAnswerComesToTheSocketThatAsked(t *testing.T) {
	up := newFake(t, func(r *request) {
		time.AfterFunc(2*upstream.SilentAfter, func() { truth(r) })
	})
	f := start(t, Config{Upstreams: []Upstream{up.upstream()}})
	m, took := stub.ask(t, f, "A slow.example.")
	if show(m) != isTruth("slow.example.") || took < 2*upstream.SilentAfter {
		t.Errorf("after %v: %s", took, show(m))
	}
	if n := len(up.received("slow.example.")); n != 1 && took < retries[0] {
		t.Errorf("it was asked %d times", n)
	}
}

// Flights end with Run, and their clients get nothing afterwards.
func TestFlightsEndWithRun(t *testing.T) {
	f := newForwarder(t, Config{Upstreams: []Upstream{newFake(t, func(*request) {}).upstream()}})
	end := begin(t, f)
	for i := range 50 {
		if !f.Submit(wireQuery(t, stub, fmt.Sprintf("A n%d.example.", i)), stub.Client, func([]byte) { t.Error("a client gets a response") }) {
			t.Fatal("not taken")
		}
	}
	end()
	if waiting, open := f.flights.count(); waiting != 0 || open != 0 {
		t.Errorf("left behind: %d waiting, %d flights", waiting, open)
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
