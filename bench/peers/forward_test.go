//go:build linux

package peers

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	selfForward = "serve-forward" // ADDRESS:PORT UPSTREAM
	selfForget  = "serve-forget"  // the same, without a cache
)

// serveForward is the least that forwards and may cache: one query at a time, and
// responses by all of a query but its ID.
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

var testForwarder = Peer{
	Name: "test-forwarder", Forwards: true,
	Version: func(context.Context) (string, error) { return "1", nil },
	Command: func(s *Site) ([]string, error) {
		self, err := os.Executable()
		return []string{self, selfForward, s.Listen.String(), s.Upstream.String()}, err
	},
}

// brief returns a plan that takes a second.
func brief() Plan {
	p := DefaultPlan()
	p.Parts, p.Sets = []string{PartForward}, []int{20}
	p.Rounds, p.Warmup, p.Measure, p.Half = 2, 10*time.Millisecond, 60*time.Millisecond, 30*time.Millisecond
	p.Window, p.Queries, p.Names = 8, 10, 50
	p.ServerCPU, p.LoadCPU = -1, -1
	return p
}

func TestHitsStayInTheForwarderAndMissesReachTheUpstreamOnce(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	r := Runner{Plan: brief(), Tools: Tools{Self: self}, Dir: t.TempDir(), Progress: func(s string) { lines = append(lines, s) }}
	all, _ := r.Plan.series()
	rec := &Record{Plan: r.Plan}
	for _, s := range all {
		if err := r.series(t.Context(), &s, []Peer{echoPeer(r.Tools, 0), testForwarder}); err != nil {
			t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
		}
		rec.Series = append(rec.Series, s)
		rows := s.rows()
		if len(rows) != 2 {
			t.Fatalf("%s: rows %+v\n%s", s.Key, rows, strings.Join(lines, "\n"))
		}
		for _, row := range rows {
			if row.Rounds != 2 || row.Wrong > 0 || row.QPS.Median <= 0 || row.Ratio.Median <= 0 {
				t.Errorf("%s: %+v", s.Key, row)
			}
		}
		row := rows[1]
		switch {
		case row.Compared == 0 || rows[0].Upstream != 0:
			t.Errorf("%s: %+v", s.Key, rows)
		case s.Key == keyHits && row.Upstream != 0:
			t.Errorf("hits reached the upstream: %+v", row)
		// Those on their way as the measured time begins and ends make up for
		// each other, but for as many as are outstanding.
		case s.Key == keyMisses && (row.Upstream < 0.8 || row.Upstream > 1.2):
			t.Errorf("misses reached the upstream %v times\n%s", row.Upstream, strings.Join(lines, "\n"))
		}
	}
	if len(all) != 2 {
		t.Errorf("%d series", len(all))
	}
	var page strings.Builder
	if err := rec.WriteReport(&page); err != nil || strings.Count(page.String(), testForwarder.Name) != 2 {
		t.Errorf("%v\n%s", err, &page)
	}
}

// A server that keeps nothing is measured all the same: the figures show it.
func TestAForwarderThatKeepsNothingIsMeasured(t *testing.T) {
	r := Runner{Plan: brief(), Tools: Tools{}, Dir: t.TempDir()}
	r.Plan.Rounds = 1
	all, _ := r.Plan.series()
	forgetful := testForwarder
	forgetful.Command = func(s *Site) ([]string, error) {
		self, err := os.Executable()
		return []string{self, selfForget, s.Listen.String(), s.Upstream.String()}, err
	}
	if err := r.series(t.Context(), &all[0], []Peer{forgetful}); err != nil {
		t.Fatal(err)
	}
	if row := all[0].row1(forgetful.Name); row == nil || row.Upstream < 0.8 || row.Upstream > 1.2 {
		t.Errorf("%+v", row)
	}
}

func TestForwardersAreAskedOnlyForNamesOfOthers(t *testing.T) {
	p := DefaultPlan()
	all, servers := p.series()
	for i, s := range all {
		for _, name := range servers[i] {
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
	p.Parts = []string{PartForward}
	for _, name := range p.asked() {
		if name != nameEcho && !slices.Contains(forwarders(), name) {
			t.Errorf("%s is looked for, but not asked", name)
		}
	}
	if len(forwarders()) < 5 {
		t.Errorf("forwarders are %q", forwarders())
	}
}

func TestNewNamesNeverComeTwiceToAServer(t *testing.T) {
	w := &work{udpSize: 1232}
	pr := &process{}
	seen := map[string]bool{}
	for _, q := range names(100, 1232) {
		seen[string(q.Message)] = true
	}
	for range 3 {
		q := names(1, 1232)[0]
		ask := w.ask(pr)
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
	if pr.asked != 300 {
		t.Errorf("%d names asked for", pr.asked)
	}
}
