package forward

import (
	"testing"

	"github.com/miekg/dns"
)

// Questions that hang must take neither the last socket of those that would be
// answered, nor the probe's: the upstream seemed dead then.
func TestSocketsAreLeftForWhatCountsMore(t *testing.T) {
	s := &sockets{limit: 4}
	for i, tt := range []struct {
		a    ask
		want bool
	}{
		{ask{}, true}, {ask{again: true}, true},
		{ask{again: true}, false}, // half are left for the others
		{ask{}, true}, {ask{}, true}, {ask{}, false},
		{ask{probe: true}, true},
	} {
		if got := s.take(tt.a); got != tt.want {
			t.Errorf("of 4 sockets, number %d is had for %+v: %v, want %v", i, tt.a, got, tt.want)
		}
	}
	if got := s.open.Load(); got != 5 {
		t.Errorf("%d sockets are open, want 5", got)
	}
}

// For want of a socket a question fails, and the upstream stays what it was.
func TestWithoutSocketsAnUpstreamIsNotDead(t *testing.T) {
	up := newFake(t, truth)
	f := start(t, Config{Upstreams: []Upstream{up.upstream()}})
	u := f.upstreams()[0]
	f.sockets.open.Store(f.sockets.limit)
	defer f.sockets.open.Store(0)
	if m, _ := stub.ask(t, f, "A www.example.com."); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("without a socket, a client gets %s", show(m))
	}
	if !f.probeOnce(u, 1) || u.dead.Load() || u.silent() {
		t.Errorf("without a socket, the upstream seems %s", u.state())
	}
	f.sockets.open.Store(0)
	if m, _ := stub.ask(t, f, "A www.example.com."); show(m) != isTruth("www.example.com.") {
		t.Errorf("with sockets again, a client gets %s", show(m))
	}
}
