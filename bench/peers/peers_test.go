//go:build linux

package peers

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/internaldns/internaldns/bench/harness"
	"github.com/internaldns/internaldns/bench/load"
)

var update = flag.Bool("update", false, "write golden files")

// TestMain is also the servers of the end-to-end tests, which are this program
// started again.
func TestMain(m *testing.M) {
	harness.RunHelper()
	if len(os.Args) > 3 && (os.Args[1] == selfForward || os.Args[1] == selfForget) {
		fmt.Fprintln(os.Stderr, serveForward(os.Args[2], os.Args[3], os.Args[1] == selfForward))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// golden compares with a file of testdata, or writes it with -update.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from what was made (go test -update writes it):\n%s", path, got)
	}
}

// The configurations that servers are measured with are shown whole, as the
// templates make them.
func TestConfigurations(t *testing.T) {
	where := site{Dir: "/site", Listen: netip.MustParseAddrPort("127.0.0.1:5300"), Master: "/facts/internal.zone", Upstream: netip.MustParseAddrPort("127.0.0.1:5301")}
	entries, err := templates.ReadDir("templates")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".tmpl")
		dir := t.TempDir()
		here := where
		here.Dir = dir
		if err := configure(&here, name); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, bytes.ReplaceAll(got, []byte(dir), []byte("/site")))
	}
}

func TestOursListensAsItIsNamed(t *testing.T) {
	where := site{
		Listen: netip.MustParseAddrPort("127.0.0.1:5300"), Admin: netip.MustParseAddrPort("127.0.0.1:5301"),
		Registry: "registry.json", Network: netip.MustParsePrefix("fdaa:0:18::/48"), Upstream: netip.MustParseAddrPort("127.0.0.1:5302"),
	}
	r := run{internaldns: "/new/internaldns"}
	for _, tt := range []struct{ name, program, listen, admin string }{
		{nameOurs, "/new/internaldns", "127.0.0.1:5300", "off"},
		{nameOurs + "=/old/internaldns", "/old/internaldns", "127.0.0.1:5300", "off"},
		{nameWildcard, "/new/internaldns", "[::]:5300", "off"},
		{nameMetrics, "/new/internaldns", "127.0.0.1:5300", "127.0.0.1:5301"},
		{nameForward, "/new/internaldns", "127.0.0.1:5300", "off --upstream 127.0.0.1:5302"},
		{nameForward + "=/old/internaldns", "/old/internaldns", "127.0.0.1:5300", "off --upstream 127.0.0.1:5302"},
	} {
		argv, err := r.peer(tt.name).command(&where)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(argv, " ")
		want := tt.program + " serve --registry registry.json --listen " + tt.listen +
			" --client 127.0.0.0/8=fdaa:0:18::/48,ams --client ::1/128=fdaa:0:18::/48,ams --admin " + tt.admin
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", tt.name, got, want)
		}
	}
}

func TestAnotherBuildIsMeasuredBesideTheFirst(t *testing.T) {
	p := newScenario().Plan
	p.Peers = []string{nameEcho, nameOurs, nameOurs + "=/old/internaldns", nameForward, nameForward + "=/old/internaldns"}
	for _, s := range p.series() {
		if ours := len(s.peers) - len(p.only(nameEcho)); s.Transport == load.UDP && ours != 2 || s.Transport != load.UDP && len(s.peers) != 2 {
			t.Errorf("%s: %q", s.Title, s.peers)
		}
	}
}

// measured makes a measurement of so many ns of CPU a query, at a rate that a
// CPU which is always busy reaches.
func measured(peer string, round int, ns float64) Measurement {
	m := Measurement{Peer: peer, Round: round, Memory: 10 << 20}
	n := uint64(2e9 / ns)
	m.Peak = load.Result{Elapsed: 2 * time.Second, Counts: load.Counts{Sent: n, Answered: n, Received: n, Within: n, Compared: n / 64}}
	m.CPU = 2 * time.Second
	m.Half = load.Result{Elapsed: time.Second, Counts: load.Counts{Sent: n / 4, Answered: n / 4}, Latency: load.Latency{P50: 40 * time.Microsecond, P99: 300 * time.Microsecond}}
	return m
}

// sample has figures that can be worked out in the head.
func sample() *Scenario {
	r := &Scenario{
		Plan: newScenario().Plan,
		Servers: []Server{
			{Name: nameEcho, Version: "recvmmsg and sendmmsg by 32, C"}, {Name: nameOurs, Version: "internaldns 1"},
			{Name: nameKnot, Version: "Knot DNS 3"}, {Name: "nsd", Missing: "nsd is not installed", Get: "apt-get install nsd"},
		},
	}
	r.Plan.Rounds = 3
	for i, machines := range []int{2000, 100_000} {
		s := Series{Key: fmt.Sprintf("udp-%d", machines), Title: "UDP, " + harness.Count(machines) + " machines", Machines: machines, Transport: load.UDP, UDPSize: 1232}
		for _, peer := range []string{nameEcho, nameOurs, nameKnot} {
			s.Started = append(s.Started, Started{Peer: peer, Command: peer + " --config x", Loaded: 50 * time.Millisecond, Memory: 5 << 20})
		}
		for round, base := range []float64{1000, 2000, 1250} { // the machine was slower in the second round
			s.Rounds = append(s.Rounds, measured(nameEcho, round, base), measured(nameOurs, round, base*(1.1+float64(i)/10)), measured(nameKnot, round, base*1.5))
		}
		r.Series = append(r.Series, s)
	}
	costs := Series{Key: "costs", Title: "What features cost", Machines: 2000}
	for _, peer := range []string{nameEcho, nameOurs, nameWildcard} {
		costs.Started = append(costs.Started, Started{Peer: peer})
	}
	costs.Rounds = []Measurement{measured(nameEcho, 0, 1000), measured(nameOurs, 0, 1100), measured(nameWildcard, 0, 1400)}
	tcp := Series{Key: "tcp", Title: "TCP, pipelined", Machines: 2000, Transport: load.TCP}
	for _, peer := range []string{nameOurs, nameKnot} {
		tcp.Started = append(tcp.Started, Started{Peer: peer})
	}
	tcp.Rounds = []Measurement{measured(nameOurs, 0, 3000), measured(nameKnot, 0, 2500)}
	tcp.Rounds[0].Peak.Wrong, tcp.Rounds[0].Peak.Wrongs = 1, []string{"web.internal. AAAA: wanted NOERROR"}
	r.Series = append(r.Series, costs, tcp)
	for _, s := range []Series{{Key: keyHits, Title: "Forwarding: 10,000 names in the cache"}, {Key: keyMisses, Title: "Forwarding: every name is new"}} {
		for i, peer := range []string{nameEcho, nameForward, "unbound", "dnsdist"} {
			s.Started = append(s.Started, Started{Peer: peer})
			m := measured(peer, 0, 1000+float64(i)*250)
			if s.Key == keyMisses && i > 0 {
				m = measured(peer, 0, 5000-float64(i)*1000)
				m.Upstream = m.Peak.Received + 1
			}
			s.Rounds = append(s.Rounds, m)
		}
		r.Series = append(r.Series, s)
	}
	r.Overload = []Overload{{
		Peer: nameMetrics, Kind: kindFlood, Memory: [2]uint64{50 << 20, 51 << 20}, Goroutines: [2]int{12, 12},
		Capacity: load.Result{Elapsed: time.Second, Counts: load.Counts{Received: 100_000}},
		Load:     load.Result{Elapsed: time.Second, Counts: load.Counts{Sent: 900_000, Within: 97_000}, Latency: load.Latency{P99: 2 * time.Millisecond}},
	}, {Peer: nameKnot, Kind: kindQuota, Error: "knot ended"}}
	return r
}

func TestRatiosAreToTheEchoOfTheSameRound(t *testing.T) {
	s := &sample().Series[0]
	for peer, want := range map[string]float64{nameEcho: 1, nameOurs: 1.1, nameKnot: 1.5} {
		if got := s.toEcho(peer); math.Abs(got.Median-want) > 0.001 || got.Max-got.Min > 0.001 {
			t.Errorf("%s: ratio %v, want %v in every round", peer, got, want)
		}
	}
	if got := s.cpu(nameOurs).Median; math.Abs(got-1375) > 1 {
		t.Errorf("median CPU per query is %v ns, want 1375", got)
	}
}

func TestARoundWithoutAnEchoHasNoRatio(t *testing.T) {
	s := sample().Series[0]
	s.Rounds[0].Error = "the echo ended"
	if got := s.toEcho(nameOurs).Median; len(s.of(nameOurs)) != 3 || math.Abs(got-1.1) > 0.001 {
		t.Errorf("%d rounds with ratio %v", len(s.of(nameOurs)), got)
	}
	for i := range s.Rounds {
		s.Rounds[i].Error = "gone"
	}
	if got := s.toEcho(nameOurs).Median; !math.IsNaN(got) {
		t.Errorf("without any echo the ratio is %v", got)
	}
	var p harness.Page
	s.failures(&p)
	if !strings.Contains(p.String(), "internaldns failed in 3 of 3 rounds: gone") {
		t.Error(p.String())
	}
}

func TestAnotherBuildIsComparedWithTheFirst(t *testing.T) {
	old := nameOurs + "=old"
	s := Scenario{Series: []Series{{Key: "tcp", Started: []Started{{Peer: nameOurs}, {Peer: old}},
		Rounds: []Measurement{measured(nameOurs, 0, 1000), measured(old, 0, 1100), measured(nameOurs, 1, 2000), measured(old, 1, 2200)}}}}
	var p harness.Page
	s.Report(&p)
	for _, want := range []string{"| internaldns | – | ", "| internaldns=old | **1.10** (1.10–1.10) | "} {
		if !strings.Contains(p.String(), want) {
			t.Errorf("the report has no %q:\n%s", want, p.String())
		}
	}
	if len(s.goals()) > 0 {
		t.Errorf("goals between two builds: %+v", s.goals())
	}
}

func TestReportOfASample(t *testing.T) {
	var p harness.Page
	sample().Report(&p)
	golden(t, "report.md", []byte(p.String()))
}

func TestChartShowsEveryServerOnce(t *testing.T) {
	for i, wants := range [][]string{
		{nameEcho, nameOurs, nameKnot, "1.10", "1.20", "100,000 machines"},
		{nameEcho, nameForward, "unbound", "dnsdist", "1.25", "4.00", "from the cache", "from upstream"},
	} {
		sets, servers, bars := sample().bars(charts[i])
		svg, err := draw(charts[i].title, sets, servers, bars)
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
			token, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if text, ok := token.(xml.CharData); ok {
				texts = append(texts, strings.TrimSpace(string(text)))
			}
		}
		for _, want := range wants {
			if n := len(slices.DeleteFunc(slices.Clone(texts), func(s string) bool { return s != want })); n != 1 {
				t.Errorf("%q is %d times in %s", want, n, charts[i].file)
			}
		}
	}
	var p harness.Page
	new(Scenario).chart(&p, charts[0])
	if p.Len() > 0 {
		t.Errorf("a scenario without figures has a chart: %s", p.String())
	}
}

func TestPlanFaultsAreAllNamed(t *testing.T) {
	s := Scenario{Plan: Plan{Peers: []string{"nosuch", "knot=/usr/sbin/knotd"}, Parts: []string{"nothing"}, Sets: []int{1}, Measure: 1, ServerCPU: 1, LoadCPU: 1}}
	err := s.Validate()
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, want := range []string{`peers: "nosuch"`, "peers: only internaldns", "parts:", "sets:", "rounds:", "window:", "sockets:", "queries:", "names:", "warmup,", "server-cpu,"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("faults do not name %s\n%v", want, err)
		}
	}
	if err := newScenario().Validate(); err != nil {
		t.Errorf("the default plan: %v", err)
	}
}

func TestTheEstimateGrowsWithThePlan(t *testing.T) {
	p := newScenario().Plan
	all := p.estimate()
	p.Parts, p.Sets, p.Rounds = []string{partSets}, []int{2000}, 1
	if less := p.estimate(); all > 2*time.Hour || less > all/5 {
		t.Errorf("a round of one set takes %v, all of it %v", less, all)
	}
}

func TestLargeSetsAreForTheEchoAndOurs(t *testing.T) {
	p := newScenario().Plan
	for _, s := range p.series() {
		if s.Machines > p.Everybody && len(s.peers) != 2 {
			t.Errorf("%s is measured with %q", s.Title, s.peers)
		}
	}
}

func TestMissingServersAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	s := newScenario()
	s.Plan.Peers, s.Plan.Parts = []string{nameCoreDNS, nameOurs}, []string{partTCP}
	if err := s.Run(t.Context(), harness.NewEnv(t.TempDir(), t.Output())); err != nil {
		t.Fatal(err)
	}
	if len(s.Servers) != 2 || len(s.Series) != 2 || len(s.Series[0].Started) != 0 {
		t.Fatalf("servers %+v, series %+v", s.Servers, s.Series)
	}
	for _, x := range s.Servers {
		if x.Missing == "" || x.Get == "" {
			t.Errorf("%s is not named as missing: %+v", x.Name, x)
		}
	}
	if !strings.Contains(s.Servers[0].Missing, "go build") {
		t.Errorf("internaldns is missing because %q", s.Servers[0].Missing)
	}
}

// A short run of everything: the echo and the map server, over UDP.
func TestARunFromPlanToPage(t *testing.T) {
	s := newScenario()
	s.Plan.Peers, s.Plan.Parts, s.Plan.Sets = []string{nameEcho, nameMap}, []string{partSets}, []int{200}
	s.Plan.Rounds, s.Plan.Warmup, s.Plan.Measure, s.Plan.Half = 2, 10*time.Millisecond, 200*time.Millisecond, 50*time.Millisecond
	s.Plan.Window, s.Plan.Queries = 16, 1000
	s.Plan.ServerCPU, s.Plan.LoadCPU = -1, -1
	s.Plan.Program = "not-measured"
	if err := s.Run(t.Context(), harness.NewEnv(t.TempDir(), t.Output())); err != nil {
		t.Fatal(err)
	}
	x := &s.Series[0]
	for _, peer := range s.Plan.Peers {
		if ms := x.of(peer); len(ms) != 2 || x.sum(peer, func(m *Measurement) uint64 { return m.Peak.Wrong }) > 0 || x.cpu(peer).Min <= 0 || !(x.toEcho(peer).Min > 0) || ms[0].Memory == 0 {
			t.Errorf("%s: %+v", peer, ms)
		}
	}
	if x.sum(nameMap, func(m *Measurement) uint64 { return m.Peak.Compared }) == 0 {
		t.Errorf("no response of the map server was compared: %+v", x.of(nameMap))
	}
	var p harness.Page
	s.Report(&p)
	if !strings.Contains(p.String(), nameMap) {
		t.Error(p.String())
	}
}

func TestAServerThatEndsIsNotStarted(t *testing.T) {
	p := peer{name: "short-lived", command: func(*site) ([]string, error) {
		return []string{"/bin/sh", "-c", "echo no such zone; exit 1"}, nil
	}}
	r := run{Scenario: newScenario(), env: harness.NewEnv(t.TempDir(), t.Output())}
	r.Plan.Queries, r.Plan.ServerCPU = 10, -1
	where, queries, err := r.facts(100, 1232)
	if err != nil {
		t.Fatal(err)
	}
	if server, note := r.start(t.Context(), p, where, 100, probeOf(queries)); server != nil || !strings.Contains(note.Error, "no such zone") {
		t.Errorf("%v: %+v", server, note)
	}
}

func TestAQuotaHoldsAndIsRemoved(t *testing.T) {
	q, err := newQuota()
	if err != nil {
		t.Skipf("control groups cannot be used here: %v", err)
	}
	if err := q.hold(nil); err != nil {
		t.Error(err)
	}
	q.remove()
	if _, err := os.Stat(q.dir); err == nil {
		t.Errorf("%s is still there", q.dir)
	}
}

func TestNamesAreDistinct(t *testing.T) {
	all := names()
	slices.Sort(all)
	if len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Errorf("names: %q", all)
	}
}
