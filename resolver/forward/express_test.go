//go:build linux

package forward

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// The express of f, which must have carried something.
func expressOf(t *testing.T, f *Forwarder) *express {
	t.Helper()
	if f.express == nil || !f.express.works {
		t.Fatal("nothing went by express")
	}
	return f.express
}

// Reusing a socket must not mean reusing its port: that is half of what someone
// who forges responses has to guess.
func TestOneSocketHasANewPortForEachQuestion(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		up := newFakeAt(t, at, truth)
		f := start(t, Config{Upstreams: []Upstream{up.upstream()}})
		const n = 300
		for i := range n {
			name := fmt.Sprintf("n%d.example.", i)
			if m, _ := stub.ask(t, f, "A "+name); show(m) != isTruth(name) {
				t.Fatalf("%s: %s", name, show(m))
			}
		}
		ports := map[uint16]bool{}
		for _, r := range up.received("") {
			ports[r.from.Port()] = true
		}
		if len(ports) < n-10 { // of 28,000, two in 300 are the same on average
			t.Errorf("%s: %d questions came from %d ports", at, n, len(ports))
		}
		if open := f.sockets.open.Load(); open > 3 { // a slow answer takes one for itself
			t.Errorf("%s: one question at a time took %d sockets", at, open)
		}
		e := expressOf(t, f)
		e.mu.Lock()
		if len(e.parcels) == 0 || len(e.parcels) != len(e.idle[0])+len(e.idle[1]) {
			t.Errorf("%s: %d sockets, without a question %d and %d", at, len(e.parcels), len(e.idle[0]), len(e.idle[1]))
		}
		e.mu.Unlock()
	}
}

// What an upstream says twice, or too late, waits in the socket when the next
// question has it.
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
	expressOf(t, f)
}

// A question that takes long is not asked again for that: its socket is waited on
// by whoever takes the flight over.
func TestASlowAnswerComesToTheSocketThatAsked(t *testing.T) {
	up := newFake(t, func(r *request) {
		time.AfterFunc(2*silentAfter, func() { truth(r) })
	})
	f := start(t, Config{Upstreams: []Upstream{up.upstream()}})
	m, took := stub.ask(t, f, "A slow.example.")
	if show(m) != isTruth("slow.example.") || took < 2*silentAfter {
		t.Errorf("after %v: %s", took, show(m))
	}
	if n := len(up.received("slow.example.")); n != 1 && took < retries[0] {
		t.Errorf("it was asked %d times", n)
	}
	if len(expressOf(t, f).parcels) != 0 {
		t.Errorf("the socket is still the express's")
	}
}

// What an upstream is asked that does not answer ends without express in any case. So
// it begins without: the goroutine of the caller has others to answer meanwhile.
func TestASilentUpstreamIsNotAskedByExpress(t *testing.T) {
	up := newFake(t, func(r *request) {
		if !strings.HasPrefix(strings.ToLower(r.msg.Question[0].Name), "hang") {
			truth(r)
		}
	})
	f := start(t, Config{Upstreams: []Upstream{up.upstream()}})
	stub.ask(t, f, "A warm0.example.")
	e, u := expressOf(t, f), f.upstreams()[0]
	idle := func() int {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.idle[0])
	}
	for i := 1; idle() == 0; i++ { // a slow answer takes the socket with it
		stub.ask(t, f, fmt.Sprintf("A warm%d.example.", i))
	}
	before := idle()
	u.missed.Store(silentMisses)
	stub.send(t, f, "A hang1.example.")
	if n := idle(); n != before {
		t.Errorf("a question to a silent upstream took one of the express's %d sockets", before)
	}
	u.missed.Store(0)
	stub.send(t, f, "A hang2.example.")
	if n := idle(); n != before-1 {
		t.Errorf("a question to one that answers took %d of the express's %d sockets", before-n, before)
	}
}

// Where few sockets may be open, few are kept, and questions go without express.
func TestTheExpressKeepsAnEighthOfTheSockets(t *testing.T) {
	f := newForwarder(t, Config{Upstreams: []Upstream{newFake(t, truth).upstream()}})
	f.sockets.limit = 32
	run(t, f)
	came := make([]<-chan string, 0, 24)
	for i := range cap(came) {
		name := fmt.Sprintf("n%d.example.", i)
		c, told := stub.send(t, f, "A "+name), make(chan string, 1)
		go func() { told <- show(<-c) }()
		came = append(came, told)
	}
	for i, c := range came {
		if got, want := <-c, isTruth(fmt.Sprintf("n%d.example.", i)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	e := expressOf(t, f)
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := len(e.idle[0]); n == 0 || n > 4 {
		t.Errorf("%d sockets are kept, want 4 at most", n)
	}
}

// Flights that an express carries end with Run, and their sockets are closed.
func TestWhatIsCarriedEndsWithRun(t *testing.T) {
	f := newForwarder(t, Config{Upstreams: []Upstream{newFake(t, func(*request) {}).upstream()}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	for !f.flights.goWith(func() {}) {
		time.Sleep(time.Microsecond) // until Run has begun
	}
	for i := range 50 {
		if !f.Submit(wireQuery(t, stub, fmt.Sprintf("A n%d.example.", i)), stub.Client, func([]byte) { t.Error("a client is told something") }) {
			t.Fatal("not taken")
		}
	}
	e := expressOf(t, f)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if waiting, open := f.flights.count(); waiting != 0 || open != 0 || f.sockets.open.Load() != 0 || len(e.parcels) != 0 {
		t.Errorf("left behind: %d waiting, %d flights, %d sockets, %d of them the express's", waiting, open, f.sockets.open.Load(), len(e.parcels))
	}
}
