//go:build linux

package peers

import (
	"bytes"
	"context"
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

	"github.com/internaldns/internaldns/bench/echo"
	"github.com/internaldns/internaldns/bench/load"
	"github.com/internaldns/internaldns/bench/mapdns"
)

var update = flag.Bool("update", false, "write golden files")

// TestMain is also the servers of the end-to-end test, which are this program
// started again.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case SelfEcho:
			fmt.Fprintln(os.Stderr, echo.Serve(netip.MustParseAddrPort(os.Args[2]), 0))
			os.Exit(1)
		case SelfMap:
			os.Exit(serveMap(os.Args[2], os.Args[3]))
		case selfForward, selfForget:
			fmt.Fprintln(os.Stderr, serveForward(os.Args[2], os.Args[3], os.Args[1] == selfForward))
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func serveMap(addr, master string) int {
	f, err := os.Open(master)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer f.Close()
	zone, err := mapdns.Read(f)
	if err == nil {
		err = zone.Serve(context.Background(), addr)
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
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
		t.Errorf("%s differs from what was made (go test -update writes it anew):\n%s", path, got)
	}
}

// The configurations that servers are measured with are shown whole, so that
// nobody must guess from templates.
func TestConfigurations(t *testing.T) {
	site := Site{Dir: "/site", Listen: netip.MustParseAddrPort("127.0.0.1:5300"), Master: "/facts/internal.zone", Upstream: netip.MustParseAddrPort("127.0.0.1:5301")}
	entries, err := templates.ReadDir("templates")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".tmpl")
		dir := t.TempDir()
		here := site
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
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	site := Site{
		Listen: netip.MustParseAddrPort("127.0.0.1:5300"), Admin: netip.MustParseAddrPort("127.0.0.1:5301"),
		Registry: "registry.json", Network: netip.MustParsePrefix("fdaa:0:18::/48"), Upstream: netip.MustParseAddrPort("127.0.0.1:5302"),
	}
	for _, tt := range []struct{ name, listen, admin string }{
		{nameOurs, "127.0.0.1:5300", "off"},
		{nameWildcard, "[::]:5300", "off"},
		{nameMetrics, "127.0.0.1:5300", "127.0.0.1:5301"},
		{nameForward, "127.0.0.1:5300", "off --upstream 127.0.0.1:5302"},
	} {
		argv, err := ours(Tools{InternalDNS: self}, tt.name).Command(&site)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(argv[1:], " ")
		want := "serve --registry registry.json --listen " + tt.listen +
			" --client 127.0.0.0/8=fdaa:0:18::/48,ams --client ::1/128=fdaa:0:18::/48,ams --admin " + tt.admin
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", tt.name, got, want)
		}
	}
}

func TestMedianIsTheMiddleAndNoNumbersAreLeftOut(t *testing.T) {
	nan := math.NaN()
	for _, tt := range []struct {
		figures []float64
		want    Spread
	}{
		{[]float64{3, 1, 2}, Spread{2, 1, 3}},
		{[]float64{4, 1, 2, 3}, Spread{2.5, 1, 4}},
		{[]float64{nan, 7, nan}, Spread{7, 7, 7}},
	} {
		if got := spread(tt.figures); got != tt.want {
			t.Errorf("spread(%v) = %v, want %v", tt.figures, got, tt.want)
		}
	}
	if got := spread(nil); !math.IsNaN(got.Median) {
		t.Errorf("spread of nothing is %v", got)
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

// sample is a record with figures that can be worked out in the head.
func sample() *Record {
	r := &Record{
		Date: time.Date(2026, 10, 31, 2, 30, 0, 0, time.UTC), Took: 5 * time.Minute, Command: "peers --rounds 3", Commit: "abc1234", Plan: DefaultPlan(),
		Host: Host{CPU: "Example CPU", Cores: 2, Memory: 8 << 30, System: "Example System 1", Kernel: "Linux 6.1", Go: "go1.26"},
		Servers: []Server{
			{Name: nameEcho, Version: "recvmmsg and sendmmsg by 32, C"}, {Name: nameOurs, Version: "internaldns 1"},
			{Name: nameKnot, Version: "Knot DNS 3"}, {Name: "nsd", Missing: "nsd is not installed", Get: "apt-get install nsd"},
		},
		Notes: []string{"The tenth of a CPU is a quota."},
	}
	r.Plan.Rounds = 3
	for i, machines := range []int{2000, 100_000} {
		s := Series{Key: fmt.Sprintf("udp-%d", machines), Title: "UDP, " + thousands(machines) + " machines", Machines: machines, Transport: load.UDP, UDPSize: 1232}
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
		for i, peer := range []string{nameEcho, nameForward, unbound.Name, dnsdist.Name} {
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
	rows := sample().Series[0].rows()
	for i, want := range []float64{1, 1.1, 1.5} {
		if got := rows[i].Ratio; math.Abs(got.Median-want) > 0.001 || got.Max-got.Min > 0.001 {
			t.Errorf("%s: ratio %v, want %v in every round", rows[i].Peer, got, want)
		}
	}
	if got := rows[1].CPUPerQuery.Median; math.Abs(got-1375) > 1 {
		t.Errorf("median CPU per query is %v ns, want 1375", got)
	}
}

func TestARoundWithoutAnEchoHasNoRatio(t *testing.T) {
	s := sample().Series[0]
	s.Rounds[0].Error = "the echo ended"
	row := s.rows()[1]
	if row.Rounds != 3 || math.Abs(row.Ratio.Median-1.1) > 0.001 {
		t.Errorf("%d rounds with ratio %v", row.Rounds, row.Ratio)
	}
	for i := range s.Rounds {
		s.Rounds[i].Error = "gone"
	}
	if row := s.rows()[1]; !math.IsNaN(row.Ratio.Median) || len(row.Errors) != 3 {
		t.Errorf("without any echo the ratio is %v, errors %q", row.Ratio, row.Errors)
	}
}

func TestReportOfASample(t *testing.T) {
	var b bytes.Buffer
	if err := sample().WriteReport(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "RESULTS.md", b.Bytes())
}

func TestChartShowsEveryServerOnce(t *testing.T) {
	for i, wants := range [][]string{
		{nameEcho, nameOurs, nameKnot, "1.10", "1.20", "100,000 machines"},
		{nameEcho, nameForward, unbound.Name, dnsdist.Name, "1.25", "4.00", "from the cache", "from upstream"},
	} {
		checkChart(t, &Charts[i], wants)
	}
	if err := new(Record).WriteChart(io.Discard, &Charts[0]); err != ErrNoRatios {
		t.Errorf("a record without figures: %v", err)
	}
}

func checkChart(t *testing.T, c *Chart, wants []string) {
	t.Helper()
	var b bytes.Buffer
	if err := sample().WriteChart(&b, c); err != nil {
		t.Fatal(err)
	}
	var texts []string
	d := xml.NewDecoder(bytes.NewReader(b.Bytes()))
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := tok.(xml.CharData); ok {
			texts = append(texts, strings.TrimSpace(string(c)))
		}
	}
	for _, want := range wants {
		n := 0
		for _, s := range texts {
			if s == want {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%q stands %d times in %s", want, n, c.File)
		}
	}
}

func TestRecordsSurviveTheirFileAndAreMerged(t *testing.T) {
	dir := t.TempDir()
	first := sample()
	path1, err := first.Save(dir)
	if err != nil {
		t.Fatal(err)
	}
	second := sample()
	second.Date = second.Date.Add(time.Hour)
	second.Commit = "def5678"
	second.Series = second.Series[:1]
	second.Series[0].Title = "measured again"
	second.Series = append(second.Series, Series{Key: "udp-1000000", Title: "new"})
	path2, err := second.Save(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Open(path1, path2)
	if err != nil {
		t.Fatal(err)
	}
	var titles []string
	for _, s := range got.Series {
		titles = append(titles, s.Title)
	}
	want := []string{"measured again", "UDP, 100,000 machines", "What features cost", "TCP, pipelined", "Forwarding: 10,000 names in the cache", "Forwarding: every name is new", "new"}
	if strings.Join(titles, ", ") != strings.Join(want, ", ") {
		t.Errorf("merged series are %q, want %q", titles, want)
	}
	if got.Commit != "abc1234, def5678" {
		t.Errorf("merged commits are %q", got.Commit)
	}
	if len(got.Servers) != 4 || len(got.Overload) != 2 {
		t.Errorf("%d servers, %d overloads", len(got.Servers), len(got.Overload))
	}
}

func TestPlanFaultsAreAllNamed(t *testing.T) {
	p := Plan{Peers: []string{"nobody"}, Parts: []string{"nothing"}, Sets: []int{1}, Measure: 1, ServerCPU: 1, LoadCPU: 1}
	err := p.Validate()
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, field := range []string{"peers:", "parts:", "sets:", "rounds,", "names:", "warmup,", "server-cpu,"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("faults do not name %s\n%v", field, err)
		}
	}
	good := DefaultPlan()
	if err := good.Validate(); err != nil {
		t.Errorf("the default plan: %v", err)
	}
}

func TestTheEstimateGrowsWithWhatIsMeasured(t *testing.T) {
	p := DefaultPlan()
	likely, limit := p.Estimate()
	if limit < likely || limit > 2*time.Hour {
		t.Errorf("all of it takes %v, at most %v", likely, limit)
	}
	p.Parts, p.Sets, p.Rounds = []string{PartSets}, []int{2000}, 1
	if less, _ := p.Estimate(); less > likely/5 {
		t.Errorf("a round of one set takes %v, all of it %v", less, likely)
	}
}

func TestLargeSetsAreForTheEchoAndOurs(t *testing.T) {
	p := DefaultPlan()
	all, servers := p.series()
	for i, s := range all {
		if s.Machines > p.Everybody && len(servers[i]) != 2 {
			t.Errorf("%s is measured with %q", s.Title, servers[i])
		}
	}
}

func TestCommandsAreShownWithoutDirectories(t *testing.T) {
	pr := process{argv: []string{"/opt/x/internaldns", "serve", "--registry", "/tmp/a/registry.json", "--client", "127.0.0.0/8=fdaa:0:18::/48,ams", "--config-dir=/tmp/a/pdns"}}
	want := "internaldns serve --registry registry.json --client 127.0.0.0/8=fdaa:0:18::/48,ams --config-dir=pdns"
	if got := pr.shown(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestMissingServersAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	r := Runner{Plan: DefaultPlan(), Tools: Tools{InternalErr: fmt.Errorf("it does not compile")}}
	r.Plan.Peers = []string{nameCoreDNS, nameOurs}
	rec := &Record{}
	if there := r.present(t.Context(), rec); len(there) != 0 {
		t.Errorf("%d servers are there", len(there))
	}
	if len(rec.Servers) != 2 {
		t.Fatalf("servers: %+v", rec.Servers)
	}
	for _, s := range rec.Servers {
		if s.Missing == "" || s.Get == "" {
			t.Errorf("%s is not named as missing: %+v", s.Name, s)
		}
	}
	if !strings.Contains(rec.Servers[0].Missing, "it does not compile") {
		t.Errorf("why ours is missing: %q", rec.Servers[0].Missing)
	}
}

// One short run of the whole: the echo and the map server, over UDP.
func TestARunFromPlanToPage(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	plan := DefaultPlan()
	plan.Peers = []string{nameEcho, "miekg-map"}
	plan.Parts = []string{PartSets}
	plan.Sets = []int{200}
	plan.Rounds, plan.Warmup, plan.Measure, plan.Half = 2, 10*time.Millisecond, 100*time.Millisecond, 50*time.Millisecond
	plan.Window, plan.Queries = 16, 1000
	plan.ServerCPU, plan.LoadCPU = -1, -1
	var lines []string
	r := Runner{Plan: plan, Tools: Tools{Self: self}, Dir: t.TempDir(), Progress: func(s string) { lines = append(lines, s) }}
	rec, err := r.Run(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
	}
	rows := rec.Series[0].rows()
	if len(rows) != 2 {
		t.Fatalf("rows: %+v\n%s", rows, strings.Join(lines, "\n"))
	}
	for _, row := range rows {
		if row.Rounds != 2 || row.Wrong > 0 || row.QPS.Median <= 0 || row.Ratio.Median <= 0 || row.Memory == 0 {
			t.Errorf("%+v", row)
		}
	}
	if rows[1].Compared == 0 || rows[1].Ratio.Median <= rows[0].Ratio.Median {
		t.Errorf("the map server: %+v", rows[1])
	}
	var page bytes.Buffer
	if err := rec.WriteReport(&page); err != nil || !strings.Contains(page.String(), "miekg-map") {
		t.Errorf("%v\n%s", err, page.String())
	}
}

func TestAServerThatEndsIsNotReady(t *testing.T) {
	p := Peer{Name: "short-lived", Command: func(*Site) ([]string, error) { return []string{"/bin/sh", "-c", "echo no such zone; exit 1"}, nil }}
	r := Runner{Plan: DefaultPlan(), Dir: t.TempDir()}
	r.Plan.Queries, r.Plan.ServerCPU = 10, -1
	site, queries, err := r.facts(100, 1232, []Peer{p})
	if err != nil {
		t.Fatal(err)
	}
	running, started := r.start(t.Context(), site, []Peer{p}, 100, probe(queries))
	if len(running) != 0 || len(started) != 1 || !strings.Contains(started[0].Error, "no such zone") {
		t.Errorf("%d running: %+v", len(running), started)
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
	names := Names()
	slices.Sort(names)
	if len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("names: %q", names)
	}
}
