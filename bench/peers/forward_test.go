//go:build linux

package peers

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/internaldns/internaldns/bench/harness"
)

const (
	selfForward = "serve-forward" // ADDRESS:PORT UPSTREAM
	selfForget  = "serve-forget"  // the same, without a cache
)

// serveForward is the simplest forwarder, with or without a cache: one query at a
// time, and responses by all octets of a query but its ID.
func serveForward(listen, upstream string, caches bool) error {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(listen)))
	if err != nil {
		return err
	}
	up, err := net.Dial("udp", upstream)
	if err != nil {
		return err
	}
	known := map[string][]byte{}
	buf := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return err
		}
		key := string(buf[2:n])
		msg := known[key]
		if msg == nil {
			if _, err := up.Write(buf[:n]); err != nil {
				return err
			}
			msg = make([]byte, 4096)
			m, err := up.Read(msg)
			if err != nil {
				return err
			}
			msg = msg[:m]
			if caches {
				known[key] = msg
			}
		}
		copy(msg, buf[:2])
		conn.WriteToUDPAddrPort(msg, from)
	}
}

// testForwarder returns a server that the test program serves when it is started
// with that argument.
func testForwarder(arg string) peer {
	return peer{name: arg, forwards: true, command: func(s *site) ([]string, error) {
		self, err := os.Executable()
		return []string{self, arg, s.Listen.String(), s.Upstream.String()}, err
	}}
}

// briefly returns a run of the servers that takes seconds.
func briefly(t *testing.T, rounds int, servers ...peer) *run {
	t.Helper()
	r := &run{Scenario: newScenario(), env: harness.NewEnv(t.TempDir(), t.Output()), present: servers}
	p := &r.Plan
	p.Parts, p.Sets = []string{partForward}, []int{20}
	p.Rounds, p.Warmup, p.Measure, p.Half = rounds, 10*time.Millisecond, 200*time.Millisecond, 30*time.Millisecond
	p.Window, p.Queries, p.Names = 8, 10, 50
	p.ServerCPU, p.LoadCPU = -1, -1
	return r
}

func TestHitsStayInTheForwarderAndMissesReachTheUpstreamOnce(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	echo := (&run{self: self}).peer(nameEcho)
	r := briefly(t, 2, echo, testForwarder(selfForward))
	for _, s := range r.Plan.series() {
		s.peers = []string{nameEcho, selfForward}
		if err := r.series(t.Context(), &s); err != nil {
			t.Fatal(err)
		}
		for _, peer := range s.peers {
			if len(s.of(peer)) != 2 || s.sum(peer, func(m *Measurement) uint64 { return m.Peak.Wrong + m.Half.Wrong }) > 0 || !(s.toEcho(peer).Min > 0) {
				t.Errorf("%s: %s: %+v", s.Key, peer, s.of(peer))
			}
		}
		compared := s.sum(selfForward, func(m *Measurement) uint64 { return m.Peak.Compared })
		if compared == 0 || s.sum(nameEcho, func(m *Measurement) uint64 { return m.Upstream }) != 0 {
			t.Errorf("%s: %d responses were compared: %+v", s.Key, compared, s.Rounds)
		}
		switch upstream := s.upstream(selfForward); {
		case s.Key == keyHits && upstream != "0":
			t.Errorf("hits reached the upstream: %s", upstream)
		case s.Key == keyMisses:
			checkOnce(t, r, &s, selfForward)
		}
	}
}

// checkOnce fails the test unless each answer took one query to the upstream. Of
// the queries that are outstanding as the measured time begins or ends, one of the
// two is counted.
func checkOnce(t *testing.T, r *run, s *Series, peer string) {
	t.Helper()
	for _, m := range s.of(peer) {
		if d := int(m.Upstream) - int(m.Peak.Received); d < -2*r.Plan.Window || d > 2*r.Plan.Window {
			t.Errorf("%d queries reached the upstream for %d answers", m.Upstream, m.Peak.Received)
		}
	}
	if s.upstream(peer) == "0" {
		t.Error("no query reached the upstream")
	}
}

// The figures of a server that caches nothing show it.
func TestAForwarderThatCachesNothingIsMeasured(t *testing.T) {
	r := briefly(t, 1, testForwarder(selfForget))
	s := r.Plan.series()[0]
	s.peers = []string{selfForget}
	if err := r.series(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	checkOnce(t, r, &s, selfForget)
}

func TestForwardersAreAskedOnlyForForwardedNames(t *testing.T) {
	p := newScenario().Plan
	for _, s := range p.series() {
		for _, name := range s.peers {
			if s.forwards() != slices.Contains(forwarders(), name) && name != nameEcho {
				t.Errorf("%s is part of %q", name, s.Title)
			}
		}
	}
	for _, name := range p.overloaded() {
		if slices.Contains(forwarders(), name) {
			t.Errorf("%s is overloaded with names that it does not serve", name)
		}
	}
	p.Parts = []string{partForward}
	for _, name := range p.asked() {
		if name != nameEcho && !slices.Contains(forwarders(), name) {
			t.Errorf("%s is started, but not asked", name)
		}
	}
	if len(forwarders()) < 5 {
		t.Errorf("forwarders are %q", forwarders())
	}
}

func TestNewNamesNeverComeTwiceToAServer(t *testing.T) {
	w := &work{udpSize: 1232}
	s := &server{}
	seen := map[string]bool{}
	for _, q := range forwardedQueries(100, 1232) {
		seen[string(q.Message)] = true
	}
	for range 3 {
		q := forwardedQueries(1, 1232)[0]
		ask := w.ask(s)
		for n := range uint32(100) {
			for range 2 { // to send it, and to check its response
				ask(n, &q)
			}
			if seen[string(q.Message)] {
				t.Fatalf("%x again", q.Message)
			}
			seen[string(q.Message)] = true
		}
	}
	if s.asked != 300 {
		t.Errorf("%d names asked for", s.asked)
	}
}
