package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Figures are what other packages count already. It is a prometheus.Collector. Its
// functions are called at every scrape, from any goroutine; one that is nil
// reports nothing.
type Figures struct {
	unchecked
	Build        Build
	States       []string // states that machines are known to have: the values of the label state
	Facts        func() Facts
	Source       func() Source
	Keep         func() Keep
	Certificates func() []Certificate
}

// Build is the version of the program.
type Build struct{ Version, Revision, GoVersion string }

// Facts is the size of the registry.
type Facts struct {
	Index                                   uint64
	Networks, Apps, Peers, Flycast, Regions int
	// Machines counts machines by state, in whatever words the facts use.
	Machines map[string]int
	// Unformed counts the process groups and metadata entries that give no
	// name, because none can be formed.
	Unformed int
}

// Source counts how often the facts were read.
type Source struct {
	LastGood        time.Time // when its content was last found to be in effect; zero: never
	Reads, Failures uint64
}

// Keep counts changes of the facts, where they can be changed through this server.
type Keep struct {
	Writes      uint64 // made
	Failures    uint64 // not made, because the disk or etcd failed
	Available   bool   // changes can be made now
	Leases      int    // machines that have a lease; -1: not known
	Quarantined int    // keys that are not in effect
}

// Certificate is one that this server presents.
type Certificate struct {
	Setting  string // that names its file
	Expires  time.Time
	Failures uint64 // times that its files were at fault
}

// New returns a registry that scrapes all, the Go runtime and the process.
func New(all ...prometheus.Collector) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.MustRegister(all...)
	return r
}

// Collect implements prometheus.Collector.
func (f Figures) Collect(ch chan<- prometheus.Metric) {
	buildInfo.send(ch, 1, f.Build.Version, f.Build.Revision, f.Build.GoVersion)
	if f.Facts != nil {
		f.collectFacts(ch, f.Facts())
	}
	if f.Source != nil {
		s := f.Source()
		if !s.LastGood.IsZero() {
			sourceAge.send(ch, time.Since(s.LastGood).Seconds())
		}
		sourceReads.send(ch, float64(s.Reads))
		sourceFailures.send(ch, float64(s.Failures))
	}
	if f.Keep != nil {
		k := f.Keep()
		keepWrites.send(ch, float64(k.Writes))
		keepFailures.send(ch, float64(k.Failures))
		keepAvailable.send(ch, oneIf(k.Available))
		if k.Leases >= 0 {
			keepLeases.send(ch, float64(k.Leases))
		}
		keepQuarantined.send(ch, float64(k.Quarantined))
	}
	if f.Certificates != nil {
		for _, c := range f.Certificates() {
			certExpiry.send(ch, float64(c.Expires.Unix()), c.Setting)
			certFailures.send(ch, float64(c.Failures), c.Setting)
		}
	}
}

func (f Figures) collectFacts(ch chan<- prometheus.Metric, facts Facts) {
	registryIndex.send(ch, float64(facts.Index))
	zoneUnformed.send(ch, float64(facts.Unformed))
	machines, known := 0, 0
	for _, n := range facts.Machines {
		machines += n
	}
	for _, state := range f.States {
		n := facts.Machines[state]
		known += n
		registryMachines.send(ch, float64(n), state)
	}
	registryMachines.send(ch, float64(machines-known), stateUnknown)
	registryObjects.send(ch, float64(facts.Networks), "network")
	registryObjects.send(ch, float64(facts.Apps), "app")
	registryObjects.send(ch, float64(machines), "machine")
	registryObjects.send(ch, float64(facts.Peers), "peer")
	registryObjects.send(ch, float64(facts.Flycast), "flycast")
	registryObjects.send(ch, float64(facts.Regions), "region")
}
