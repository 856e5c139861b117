//go:build linux

package peers

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/internaldns/internaldns/bench/load"
)

// Plan says what a run measures.
type Plan struct {
	// Peers are the names of the servers, of Names.
	Peers []string `json:"peers"`
	// Parts are what is measured, of Parts.
	Parts []string `json:"parts"`
	// Sets are the numbers of machines of the part sets; the other parts use
	// the first.
	Sets []int `json:"sets"`
	// Everybody is the largest set that all servers are measured with; larger
	// ones are for the echo and internaldns.
	Everybody int `json:"everybody"`

	Rounds int `json:"rounds"`
	// Warmup comes before every measured time; Measure is that of the closed
	// loop, Half that of the open loop at half of the peak.
	Warmup  time.Duration `json:"warmup_ns"`
	Measure time.Duration `json:"measure_ns"`
	Half    time.Duration `json:"half_ns"`

	Window  int    `json:"window"`
	Sockets int    `json:"sockets"`
	Queries int    `json:"queries"` // before they repeat
	Names   int    `json:"names"`   // that forwarders have in their caches
	Seed    uint64 `json:"seed"`

	// ServerCPU and LoadCPU are the CPUs of servers and generator; negative
	// leaves them to the system.
	ServerCPU int `json:"server_cpu"`
	LoadCPU   int `json:"load_cpu"`
}

// The parts of a run.
const (
	PartSets     = "sets"     // UDP, every server, each number of machines
	PartCosts    = "costs"    // UDP, what single features of internaldns cost
	PartTCP      = "tcp"      // TCP, pipelined and a connection for each query
	PartForward  = "forward"  // UDP, names of others: from a cache, and new ones
	PartOverload = "overload" // more queries than a server can answer
)

// Parts returns all parts of a run, in their order.
func Parts() []string { return []string{PartSets, PartCosts, PartTCP, PartForward, PartOverload} }

// DefaultPlan returns the plan of the published figures.
func DefaultPlan() Plan {
	return Plan{
		Peers:     Names(),
		Parts:     Parts(),
		Sets:      []int{2000, 100_000, 1_000_000},
		Everybody: 100_000,
		Rounds:    5,
		Warmup:    300 * time.Millisecond,
		Measure:   2 * time.Second,
		Half:      1500 * time.Millisecond,
		Window:    128,
		Sockets:   16,
		Queries:   200_000,
		Names:     10_000,
		Seed:      1,
		ServerCPU: 0,
		LoadCPU:   1,
	}
}

// Validate returns every fault of the plan, each beginning with the field.
func (p *Plan) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, name := range p.Peers {
		if !slices.Contains(Names(), name) {
			fault("peers: %q is none of %s", name, strings.Join(Names(), ", "))
		}
	}
	for _, name := range p.Parts {
		if !slices.Contains(Parts(), name) {
			fault("parts: %q is none of %s", name, strings.Join(Parts(), ", "))
		}
	}
	if len(p.Peers) == 0 || len(p.Parts) == 0 || len(p.Sets) == 0 {
		fault("peers, parts, sets: must not be empty")
	}
	for _, n := range p.Sets {
		if n < 10 {
			fault("sets: must be 10 machines or more, got %d", n)
		}
	}
	if p.Rounds < 1 || p.Window < 1 || p.Sockets < 1 || p.Queries < 1 {
		fault("rounds, window, sockets, queries: must be positive, got %d, %d, %d and %d", p.Rounds, p.Window, p.Sockets, p.Queries)
	}
	if p.Names < 1 || p.Names > mostNames {
		fault("names: must be from 1 to %d, or caches would not hold them, got %d", mostNames, p.Names)
	}
	if p.Warmup < 0 || p.Measure < 10*time.Millisecond || p.Half < 10*time.Millisecond {
		fault("warmup, measure, half: must be 10ms or longer (warmup 0), got %v, %v and %v", p.Warmup, p.Measure, p.Half)
	}
	if p.ServerCPU >= 0 && p.ServerCPU == p.LoadCPU {
		fault("server-cpu, load-cpu: must differ, or the server is measured while it waits for the generator")
	}
	return errors.Join(faults...)
}

// series returns the series of the plan without figures, and the names of the
// servers of each.
func (p *Plan) series() (all []Series, servers [][]string) {
	add := func(s Series, names ...string) {
		names = slices.DeleteFunc(names, func(n string) bool { return !slices.Contains(p.Peers, n) })
		if len(names) > 0 {
			all, servers = append(all, s), append(servers, names)
		}
	}
	everybody := slices.DeleteFunc(Names(), func(n string) bool {
		return n == nameSized || n == nameWildcard || n == nameMetrics || slices.Contains(forwarders(), n)
	})
	if slices.Contains(p.Parts, PartSets) {
		for _, machines := range p.Sets {
			names := slices.Clone(everybody)
			if machines > p.Everybody {
				names = []string{nameEcho, nameOurs}
			}
			add(Series{Key: fmt.Sprintf("udp-%d", machines), Title: "UDP, " + thousands(machines) + " machines", Machines: machines, Transport: load.UDP, UDPSize: 1232}, names...)
		}
	}
	if slices.Contains(p.Parts, PartCosts) {
		add(Series{Key: "costs", Title: "What features cost", Machines: p.Sets[0], Transport: load.UDP, UDPSize: 1232},
			nameEcho, nameSized, nameOurs, nameWildcard, nameMetrics)
		add(Series{Key: "no-edns", Title: "Queries without EDNS", Machines: p.Sets[0], Transport: load.UDP},
			nameEcho, nameOurs)
	}
	if slices.Contains(p.Parts, PartTCP) {
		add(Series{Key: "tcp", Title: "TCP, pipelined", Machines: p.Sets[0], Transport: load.TCP, UDPSize: 1232}, nameOurs, nameKnot, nameCoreDNS)
		add(Series{Key: "tcp-once", Title: "TCP, a connection for each query", Machines: p.Sets[0], Transport: load.TCPOnce, UDPSize: 1232}, nameOurs, nameKnot, nameCoreDNS)
	}
	if slices.Contains(p.Parts, PartForward) {
		names := append([]string{nameEcho}, forwarders()...)
		add(Series{Key: keyHits, Title: "Forwarding: " + thousands(p.Names) + " names in the cache", Machines: p.Sets[0], Transport: load.UDP, UDPSize: 1232}, slices.Clone(names)...)
		add(Series{Key: keyMisses, Title: "Forwarding: every name is new", Machines: p.Sets[0], Transport: load.UDP, UDPSize: 1232}, names...)
	}
	return all, servers
}

// asked returns the names of the servers that some part of the plan asks.
func (p *Plan) asked() []string {
	asked := p.overloaded()
	_, series := p.series()
	for _, names := range series {
		asked = append(asked, names...)
	}
	return asked
}

// overloaded returns the names of the servers that are sent more than they can
// answer. Of internaldns it is the one whose goroutines can be counted.
func (p *Plan) overloaded() []string {
	if !slices.Contains(p.Parts, PartOverload) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(p.Peers), func(n string) bool {
		return n == nameSized || n == nameWildcard || slices.Contains(forwarders(), n) || n == nameOurs && slices.Contains(p.Peers, nameMetrics)
	})
}

const (
	// responseTimeout is when a query is lost: long after any server that
	// keeps up has answered, and short enough that a run which loses some does
	// not wait for long.
	responseTimeout = 500 * time.Millisecond

	// capacityTime and overloadTime are the measured times before and in
	// overload; the latter is long enough for a queue to show in memory.
	capacityTime = 1500 * time.Millisecond
	overloadTime = 3 * time.Second

	// overloadRounds is how often each server is overloaded, one time after
	// another: the median is shown, and memory shows what stays.
	overloadRounds = 3
)

// onceWindow is the number of connections at once where each has one query. A
// handful keeps any server busy, and more would not fit the queue of 10
// connections that some listen with: those wait a second, which would measure
// the queue and not the server.
const onceWindow = 8

// startTime is how long a server takes to load a set, and startLimit how long
// it may.
func startTime(machines int) time.Duration {
	return 500*time.Millisecond + time.Duration(machines)*40*time.Microsecond
}

func startLimit(machines int) time.Duration {
	return 20*time.Second + time.Duration(machines)*150*time.Microsecond
}

// Estimate returns how long the run will take, and how long it can take at
// most: then it ends, with what it has.
func (p *Plan) Estimate() (likely, limit time.Duration) {
	all, servers := p.series()
	one := 2*p.Warmup + p.Measure + p.Half + 50*time.Millisecond
	for i, s := range all {
		n := time.Duration(len(servers[i]))
		rounds := n * time.Duration(p.Rounds) * one
		likely += n*startTime(s.Machines) + rounds
		limit += n*(startLimit(s.Machines)+patience) + rounds + n*time.Duration(2*p.Rounds)*responseTimeout
		if s.Key == keyHits {
			likely += n * 2 * p.warmTime()
			limit += n * warmLimit * (p.warmTime() + responseTimeout)
		}
	}
	for range p.overloaded() {
		likely += 2 * (startTime(p.Sets[0]) + overloadRounds*(2*p.Warmup+capacityTime+overloadTime+responseTimeout))
		limit += 2 * (startLimit(p.Sets[0]) + patience + overloadRounds*(2*p.Warmup+capacityTime+overloadTime+2*responseTimeout))
	}
	return likely, limit + limit/10
}

// thousands writes n with a comma before every three digits.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
