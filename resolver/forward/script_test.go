package forward

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/resolver/forward/upstream"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// A scripted upstream takes the place of the network. Tests in fake time set what
// each upstream does.
type scripted struct {
	t  testing.TB
	mu sync.Mutex
	// do is what an upstream does when it is asked. Guarded by mu, as all that
	// follows.
	do    map[string]behavior
	asked map[string][]time.Duration // by upstream and question, since the start
	began time.Time
}

// A behavior returns the response to a question, and the time until it comes. n is
// how often the upstream was asked that question before. If message and error are
// nil, there is no response.
type behavior func(q *dns.Question, n int) (time.Duration, *dns.Msg, error)

// Behaviors of upstreams.
var (
	blackHole behavior = func(*dns.Question, int) (time.Duration, *dns.Msg, error) { return 0, nil, nil }
	refusing  behavior = func(*dns.Question, int) (time.Duration, *dns.Msg, error) {
		return 0, nil, errors.New("connection refused")
	}
)

// after answers truly after d.
func after(d time.Duration) behavior {
	return func(q *dns.Question, _ int) (time.Duration, *dns.Msg, error) { return d, answerTo(q, 60), nil }
}

// saying answers with an RCODE.
func saying(rcode int) behavior {
	return func(q *dns.Question, _ int) (time.Duration, *dns.Msg, error) {
		m := answerTo(q, 60)
		m.Rcode, m.Answer = rcode, nil
		return time.Millisecond, m, nil
	}
}

// probesOr answers probes truly, and behaves like b otherwise.
func probesOr(b behavior) behavior {
	return func(q *dns.Question, n int) (time.Duration, *dns.Msg, error) {
		if q.Name == "." {
			return time.Millisecond, answerTo(q, 60), nil
		}
		return b(q, n)
	}
}

// answerTo returns a response with one record.
func answerTo(q *dns.Question, ttl int) *dns.Msg {
	m := &dns.Msg{Question: []dns.Question{*q}}
	m.Response = true
	rr := fmt.Sprintf("%s %d IN A 192.0.2.1", q.Name, ttl)
	if q.Qtype == dns.TypeNS {
		rr = fmt.Sprintf("%s %d IN NS a.root-servers.net.", q.Name, ttl)
	}
	m.Answer = records(rr)
	return m
}

// upstreamA and upstreamB are two that scripts know as "A" and "B".
var (
	upstreamA = Upstream{Addr: addrPort("192.0.2.53:53")}
	upstreamB = Upstream{Addr: addrPort("198.51.100.53:53")}
	nameOf    = map[Upstream]string{upstreamA: "A", upstreamB: "B"}
)

// inScript runs test in fake time, with a Forwarder whose upstreams behave as do
// says. They are those in do, unless c has others.
func inScript(t *testing.T, c Config, do map[string]behavior, test func(t *testing.T, f *Forwarder, s *scripted)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if c.Upstreams == nil {
			c.Upstreams = []Upstream{upstreamA, upstreamB}[:len(do)]
		}
		s := &scripted{t: t, do: maps.Clone(do), asked: make(map[string][]time.Duration), began: time.Now()}
		c.exchange = s.exchange
		f := newForwarder(t, c)
		run(t, f)
		test(t, f, s)
	})
}

func (s *scripted) exchange(ctx context.Context, uq *upstream.Query, _ func(upstream.Hint)) (*message.Response, error) {
	q, server := uq.Question, nameOf[uq.Server.Address]
	name, _, _ := dns.UnpackDomainName([]byte(q.Name), 0)
	dq := &dns.Question{Name: name, Qtype: q.Type, Qclass: dns.ClassINET}
	key := server + " " + dns.TypeToString[q.Type] + " " + name
	s.mu.Lock()
	n := len(s.asked[key])
	s.asked[key] = append(s.asked[key], time.Since(s.began))
	do := s.do[server]
	s.mu.Unlock()
	d, m, err := do(dq, n)
	if m == nil && err == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	r, err := message.Clean(pack(m), q, isLocal)
	if err == message.ErrMalformed {
		s.t.Errorf("the script's response to %s is malformed", key)
	}
	return r, err
}

// now changes the behavior of an upstream.
func (s *scripted) now(upstream string, b behavior) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.do[upstream] = b
}

// times returns when an upstream was asked a question, since the start.
func (s *scripted) times(question string) []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Duration(nil), s.asked[question]...)
}

// count returns how often an upstream was asked anything but probes.
func (s *scripted) count(upstream string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, times := range s.asked {
		if strings.HasPrefix(key, upstream+" ") && !strings.HasSuffix(key, " NS .") {
			n += len(times)
		}
	}
	return n
}

// expect asks, and checks the response and the time that it took.
func expect(t *testing.T, f *Forwarder, question, want string, wait time.Duration) {
	t.Helper()
	m, took := stub.ask(t, f, question)
	if got := show(m); got != want {
		t.Errorf("%s: got %s, want %s", question, got, want)
	}
	if took != wait {
		t.Errorf("%s: answered after %v, want %v", question, took, wait)
	}
}

// wireQuery returns the parsed query of a stub.
func wireQuery(t testing.TB, c client, question string) *wire.Query {
	t.Helper()
	q := new(wire.Query)
	if v := q.Parse(c.query(t, question)); v != wire.Answer {
		t.Fatalf("%s: verdict %v", question, v)
	}
	return q
}
