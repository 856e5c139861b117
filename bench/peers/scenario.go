//go:build linux

package peers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/internaldns/internaldns/bench/harness"
	"github.com/internaldns/internaldns/bench/load"
	"github.com/internaldns/internaldns/bench/servers"
)

// Kind is the scenario.
var Kind = harness.Kind{
	Name:  "peers",
	Title: "Servers side by side",
	Short: "Measure DNS servers side by side",
	Long: "peers starts internaldns and other DNS servers, each bound to one CPU, sends them the same queries in\n" +
		"interleaved rounds, and measures the CPU time of an answered query. The report names servers that are\n" +
		"not installed.\n\n" +
		"Servers: " + strings.Join(names(), ", ") + "\n" +
		"Parts:   " + strings.Join(parts, ", "),
	Example: "  bench peers --install-coredns                                 # everything, as published\n" +
		"  bench peers --parts sets --sets 2000 --peers echo,internaldns,knot --rounds 3\n" +
		"  bench peers --peers echo,internaldns,internaldns=old/internaldns --parts sets,tcp   # two builds\n" +
		"  bench peers --parts overload --peers internaldns-admin\n" +
		"  bench peers --estimate                                        # how long that takes",
	New: func() harness.Scenario { return newScenario() },
}

// Scenario is the plan and the figures.
type Scenario struct {
	Plan    Plan     `json:"plan"`
	Servers []Server `json:"servers"`
	Series  []Series `json:"series"`
	// Overload has an entry for each server, way of overloading it, and round.
	Overload []Overload `json:"overload,omitempty"`
}

// A Plan says what is measured.
type Plan struct {
	Peers []string `json:"peers"` // names of servers, or NAME=FILE for another internaldns
	Parts []string `json:"parts"`
	// Sets are the numbers of machines of part sets; the other parts use the first.
	Sets []int `json:"sets"`
	// Everybody is the largest set that all servers are measured with; larger ones
	// are for the echo and internaldns.
	Everybody int `json:"everybody"`

	Rounds int `json:"rounds"`
	// Warmup comes before every measured time. Measure is the measured time of the
	// closed loop, Half that of the open loop at half of the peak.
	Warmup  time.Duration `json:"warmup_ns"`
	Measure time.Duration `json:"measure_ns"`
	Half    time.Duration `json:"half_ns"`

	Window  int    `json:"window"`
	Sockets int    `json:"sockets"`
	Queries int    `json:"queries"` // before they repeat
	Names   int    `json:"names"`   // that forwarders have in their caches
	Seed    uint64 `json:"seed"`

	// ServerCPU and LoadCPU are the CPUs of servers and generator; negative for
	// any.
	ServerCPU int `json:"server_cpu"`
	LoadCPU   int `json:"load_cpu"`

	Program        string `json:"program,omitempty"` // internaldns; "": built from this checkout
	CoreDNS        string `json:"coredns,omitempty"` // "": looked up in PATH
	InstallCoreDNS bool   `json:"install_coredns,omitempty"`
}

// The parts of a run.
const (
	partSets     = "sets"     // UDP, every server, each number of machines
	partCosts    = "costs"    // UDP, what single features of internaldns cost
	partTCP      = "tcp"      // TCP, pipelined and a connection for each query
	partForward  = "forward"  // UDP, forwarded names: from a cache, and new ones
	partOverload = "overload" // more queries than a server can answer
)

var parts = []string{partSets, partCosts, partTCP, partForward, partOverload}

func newScenario() *Scenario {
	return &Scenario{Plan: Plan{
		Peers: names(), Parts: slices.Clone(parts), Sets: []int{2000, 100_000, 1_000_000}, Everybody: 100_000,
		Rounds: 5, Warmup: 300 * time.Millisecond, Measure: 2 * time.Second, Half: 1500 * time.Millisecond,
		Window: 128, Sockets: 16, Queries: 200_000, Names: 10_000, Seed: 1, ServerCPU: 0, LoadCPU: 1,
	}}
}

// Flags adds a flag for each field of the plan.
func (s *Scenario) Flags(f *pflag.FlagSet) {
	p := &s.Plan
	f.StringSliceVar(&p.Peers, "peers", p.Peers, "`SERVERS` to measure; internaldns=FILE adds another build of it. Without echo there are no ratios")
	f.StringSliceVar(&p.Parts, "parts", p.Parts, "`PARTS` to measure")
	f.IntSliceVar(&p.Sets, "sets", p.Sets, "numbers of `MACHINES`; parts other than sets use the first")
	f.IntVar(&p.Everybody, "everybody", p.Everybody, "largest set of `MACHINES` for all servers; larger ones are for echo and internaldns")
	f.IntVar(&p.Rounds, "rounds", p.Rounds, "`ROUNDS` over all servers")
	f.DurationVar(&p.Warmup, "warmup", p.Warmup, "`TIME` before every measured time")
	f.DurationVar(&p.Measure, "measure", p.Measure, "measured `TIME` at the peak")
	f.DurationVar(&p.Half, "half", p.Half, "measured `TIME` at half of the peak")
	f.IntVar(&p.Window, "window", p.Window, "`QUERIES` outstanding at the peak")
	f.IntVar(&p.Sockets, "sockets", p.Sockets, "`SOCKETS` or connections of the generator")
	f.IntVar(&p.Queries, "queries", p.Queries, "`QUERIES` before they repeat")
	f.IntVar(&p.Names, "names", p.Names, "`NAMES` in the caches of forwarders")
	f.Uint64Var(&p.Seed, "seed", p.Seed, "`SEED` of facts and queries")
	f.IntVar(&p.ServerCPU, "server-cpu", p.ServerCPU, "`CPU` of the servers, -1 for any")
	f.IntVar(&p.LoadCPU, "load-cpu", p.LoadCPU, "`CPU` of the generator, -1 for any")
	harness.ProgramFlag(f, &p.Program)
	f.StringVar(&p.CoreDNS, "coredns", "", "the CoreDNS `FILE` to measure (default: the one in PATH)")
	f.BoolVar(&p.InstallCoreDNS, "install-coredns", false, "build CoreDNS "+coreDNSVersion+" with go install, into a cache directory")
}

// Validate returns every fault of the plan.
func (s *Scenario) Validate() error {
	var f harness.Faults
	p := &s.Plan
	for _, name := range p.Peers {
		known, _, build := strings.Cut(name, "=")
		if !slices.Contains(names(), known) {
			f.Add("peers: %q is not one of %s", known, strings.Join(names(), ", "))
		} else if build && !strings.HasPrefix(known, nameOurs) {
			f.Add("peers: only internaldns can be given as NAME=FILE, got %q", name)
		}
	}
	for _, name := range p.Parts {
		if !slices.Contains(parts, name) {
			f.Add("parts: %q is not one of %s", name, strings.Join(parts, ", "))
		}
	}
	if len(p.Peers) == 0 || len(p.Parts) == 0 || len(p.Sets) == 0 {
		f.Add("peers, parts, sets: must not be empty")
	}
	f.Least("sets", 10, p.Sets...)
	f.Least("rounds", 1, p.Rounds)
	f.Least("window", 1, p.Window)
	f.Least("sockets", 1, p.Sockets)
	f.Least("queries", 1, p.Queries)
	if p.Names < 1 || p.Names > mostNames {
		f.Add("names: must be from 1 to %d, or caches would not hold them, got %d", mostNames, p.Names)
	}
	if p.Warmup < 0 || p.Measure < 10*time.Millisecond || p.Half < 10*time.Millisecond {
		f.Add("warmup, measure, half: must be 10ms or longer (warmup 0), got %v, %v and %v", p.Warmup, p.Measure, p.Half)
	}
	if p.ServerCPU >= 0 && p.ServerCPU == p.LoadCPU {
		f.Add("server-cpu, load-cpu: must differ, or the server is measured while it waits for the generator")
	}
	return f.Err()
}

// series returns the series of the plan, with their servers and without figures.
func (p *Plan) series() (all []Series) {
	has := func(part string) bool { return slices.Contains(p.Parts, part) }
	add := func(s Series, names ...string) {
		if s.peers = p.only(names...); len(s.peers) > 0 {
			s.UDPSize = 1232
			if s.Key == keyPlain {
				s.UDPSize = 0
			}
			all = append(all, s)
		}
	}
	for _, machines := range p.Sets {
		names := authoritative()
		if machines > p.Everybody {
			names = []string{nameEcho, nameOurs}
		}
		if has(partSets) {
			add(Series{Key: fmt.Sprintf("udp-%d", machines), Title: "UDP, " + harness.Count(machines) + " machines", Machines: machines, Transport: load.UDP}, names...)
		}
	}
	first := p.Sets[0]
	if has(partCosts) {
		add(Series{Key: keyCosts, Title: "What features cost", Machines: first, Transport: load.UDP}, nameEcho, nameSized, nameOurs, nameWildcard, nameMetrics)
		add(Series{Key: keyPlain, Title: "Queries without EDNS", Machines: first, Transport: load.UDP}, nameEcho, nameOurs)
	}
	if has(partTCP) {
		add(Series{Key: "tcp", Title: "TCP, pipelined", Machines: first, Transport: load.TCP}, nameOurs, nameKnot, nameCoreDNS)
		add(Series{Key: "tcp-once", Title: "TCP, a connection for each query", Machines: first, Transport: load.TCPOnce}, nameOurs, nameKnot, nameCoreDNS)
	}
	if has(partForward) {
		names := append(forwarders(), nameEcho)
		add(Series{Key: keyHits, Title: "Forwarding: " + harness.Count(p.Names) + " names in the cache", Machines: first, Transport: load.UDP}, names...)
		add(Series{Key: keyMisses, Title: "Forwarding: every name is new", Machines: first, Transport: load.UDP}, names...)
	}
	return all
}

// overloaded returns the names of the servers that are sent more than they can
// answer. Of internaldns it is the one whose goroutines can be counted.
func (p *Plan) overloaded() []string {
	if !slices.Contains(p.Parts, partOverload) {
		return nil
	}
	names := append(authoritative(), nameMetrics)
	if len(p.only(nameMetrics)) > 0 {
		names = slices.DeleteFunc(names, func(n string) bool { return n == nameOurs })
	}
	return p.only(names...)
}

// only returns the peers of the plan that have one of the names, in the order in
// which servers are shown.
func (p *Plan) only(allowed ...string) (chosen []string) {
	for _, known := range names() {
		for _, name := range p.Peers {
			if base, _, _ := strings.Cut(name, "="); base == known && slices.Contains(allowed, known) {
				chosen = append(chosen, name)
			}
		}
	}
	return chosen
}

// asked returns the names of the servers that some part of the plan measures.
func (p *Plan) asked() []string {
	asked := p.overloaded()
	for _, s := range p.series() {
		asked = append(asked, s.peers...)
	}
	return asked
}

// Estimate returns the time that Run takes.
func (s *Scenario) Estimate() string {
	return fmt.Sprintf("about %v", s.Plan.estimate().Round(time.Second))
}

func (p *Plan) estimate() (t time.Duration) {
	start := func(machines int) time.Duration {
		return 500*time.Millisecond + time.Duration(machines)*40*time.Microsecond
	}
	for _, s := range p.series() {
		one := start(s.Machines) + time.Duration(p.Rounds)*(2*p.Warmup+p.Measure+p.Half+50*time.Millisecond)
		if s.Key == keyHits {
			one += 2 * p.warmTime()
		}
		t += time.Duration(len(s.peers)) * one
	}
	return t + time.Duration(len(p.overloaded()))*2*(start(p.Sets[0])+overloadRounds*(2*p.Warmup+capacityTime+overloadTime+responseTimeout))
}

// Run measures.
func (s *Scenario) Run(ctx context.Context, env *harness.Env) error {
	r := &run{Scenario: s, env: env}
	r.tools(ctx)
	asked := s.Plan.asked()
	for _, name := range s.Plan.only(names()...) {
		if !slices.Contains(asked, name) {
			continue
		}
		p := r.peer(name)
		version, err := p.version(ctx)
		if err != nil {
			s.Servers = append(s.Servers, Server{Name: name, Missing: err.Error(), Get: p.get})
			env.Say("%s is missing: %v (%s)", name, err, p.get)
			continue
		}
		s.Servers = append(s.Servers, Server{Name: name, Version: version})
		r.present = append(r.present, p)
	}
	for _, series := range s.Plan.series() {
		err := r.series(ctx, &series)
		s.Series = append(s.Series, series)
		if err != nil {
			return fmt.Errorf("%s: %w", series.Title, err)
		}
	}
	return r.overload(ctx)
}

// A run is a scenario while it measures.
type run struct {
	*Scenario
	env     *harness.Env
	present []peer // the servers that are installed

	self           string // this program, with the commands of harness.Helpers
	echo           string // in C; "" for the one in Go
	internaldns    string
	internaldnsErr error // why internaldns could not be built
	coredns        string
}

// tools builds what can be built. Servers that cannot be built are missing.
func (r *run) tools(ctx context.Context) {
	var err error
	if r.self, err = os.Executable(); err != nil {
		r.self = os.Args[0]
	}
	if r.echo, err = servers.BuildEcho(ctx, r.env.Dir); err != nil {
		r.env.Note("The echo is the one in Go: %v.", err)
	}
	r.internaldns, r.internaldnsErr = harness.Program(ctx, r.Plan.Program, r.env.Dir)
	if r.coredns = r.Plan.CoreDNS; r.Plan.InstallCoreDNS {
		if r.coredns, err = installCoreDNS(ctx, r.env); err != nil {
			r.env.Say("CoreDNS will be missing: %v", err)
		}
	}
}

const coreDNSVersion = "v1.15.0"

// installCoreDNS builds CoreDNS once for all runs.
func installCoreDNS(ctx context.Context, env *harness.Env) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "internaldns-bench", coreDNSVersion)
	bin := filepath.Join(dir, "coredns")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	env.Say("building CoreDNS %s, which takes minutes", coreDNSVersion)
	cmd := exec.CommandContext(ctx, "go", "install", "github.com/coredns/coredns@"+coreDNSVersion)
	cmd.Dir = os.TempDir() // outside of this module
	cmd.Env = append(os.Environ(), "GOBIN="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go install: %w: %s", err, out)
	}
	return bin, nil
}
