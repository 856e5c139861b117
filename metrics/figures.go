package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Figures are what others count. Its functions are called at every scrape, by
// any goroutine, and one that is nil reports nothing.
type Figures struct {
	Build   Build
	States  []string       // states that machines are known to have: the values of the label state
	Facts   func() Facts   // what is in the registry
	Source  func() Source  // where it came from
	Keep    func() Keep    // how keeping the facts goes
	API     func() API     // what became of requests to the control API
	Forward func() Forward // forwarded names
	// Certificates are those that we show to others.
	Certificates func() []Certificate
}

// Build says which program runs.
type Build struct{ Version, Revision, GoVersion string }

// Facts is the size of the registry and of what was made from it.
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
	LastGood        time.Time // when it last said what is in effect; zero: never
	Reads, Failures uint64
}

// New returns a registry that scrapes dns, the figures, the Go runtime and the
// process.
func New(dns *DNS, figures Figures) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(dns, figures, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Describe implements prometheus.Collector.
func (f Figures) Describe(ch chan<- *prometheus.Desc) {
	ch <- buildInfo.desc
	if f.Facts != nil {
		for _, m := range []metric{registryIndex, registryObjects, registryMachines, zoneUnformed} {
			ch <- m.desc
		}
	}
	if f.Source != nil {
		for _, m := range []metric{sourceAge, sourceReads, sourceFailures} {
			ch <- m.desc
		}
	}
	if f.Keep != nil {
		describeKeep(ch)
	}
	if f.API != nil {
		describeAPI(ch)
	}
	if f.Forward != nil {
		describeForward(ch)
	}
	if f.Certificates != nil {
		describeCertificates(ch)
	}
}

// Collect implements prometheus.Collector.
func (f Figures) Collect(ch chan<- prometheus.Metric) {
	buildInfo.send(ch, 1, f.Build.Version, f.Build.Revision, f.Build.GoVersion)
	if f.Facts != nil {
		f.collectFacts(ch, f.Facts())
	}
	if f.Source != nil {
		collectSource(ch, f.Source())
	}
	if f.Keep != nil {
		f.Keep().collect(ch)
	}
	if f.API != nil {
		f.API().collect(ch)
	}
	if f.Forward != nil {
		f.Forward().collect(ch)
	}
	if f.Certificates != nil {
		for _, c := range f.Certificates() {
			c.collect(ch)
		}
	}
}

func (f Figures) collectFacts(ch chan<- prometheus.Metric, facts Facts) {
	registryIndex.send(ch, float64(facts.Index))
	zoneUnformed.send(ch, float64(facts.Unformed))
	unknown := 0
	for _, n := range facts.Machines {
		unknown += n
	}
	machines := unknown
	for _, state := range f.States {
		n := facts.Machines[state]
		unknown -= n
		registryMachines.send(ch, float64(n), state)
	}
	registryMachines.send(ch, float64(unknown), stateUnknown)
	for _, k := range []struct {
		kind string
		n    int
	}{
		{"network", facts.Networks}, {"app", facts.Apps}, {"machine", machines},
		{"peer", facts.Peers}, {"flycast", facts.Flycast}, {"region", facts.Regions},
	} {
		registryObjects.send(ch, float64(k.n), k.kind)
	}
}

func collectSource(ch chan<- prometheus.Metric, s Source) {
	if !s.LastGood.IsZero() {
		sourceAge.send(ch, time.Since(s.LastGood).Seconds())
	}
	sourceReads.send(ch, float64(s.Reads))
	sourceFailures.send(ch, float64(s.Failures))
}
