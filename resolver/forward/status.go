package forward

import (
	"time"

	"github.com/internaldns/internaldns/metrics"
)

// Status is the state of a Forwarder, for the status page and its JSON.
type Status struct {
	Upstreams []UpstreamStatus `json:"upstreams"`
	Cache     CacheStatus      `json:"cache"`
	InFlight  int              `json:"in_flight"` // queries waiting for upstreams
}

// UpstreamStatus is the state of one upstream in one group.
type UpstreamStatus struct {
	Suffix   string  `json:"suffix"` // the names that it is asked for; ".": those that no other suffix covers
	Upstream string  `json:"upstream"`
	State    string  `json:"state"` // "healthy", "silent" or "dead"
	MedianMS float64 `json:"median_ms"`
	P95MS    float64 `json:"p95_ms"`
	Requests uint64  `json:"requests"`
	Timeouts uint64  `json:"timeouts"`
	Errors   uint64  `json:"errors"`
	// Faults of the upstream, which is asked accordingly for 10 minutes.
	WithoutEDNS bool `json:"without_edns,omitempty"`
	ChangesCase bool `json:"changes_case,omitempty"`
}

// CacheStatus is the state of the cache, and what it was used for.
type CacheStatus struct {
	Entries   int    `json:"entries"`
	Octets    uint64 `json:"octets"`
	MaxOctets int    `json:"max_octets"`
	Hits      uint64 `json:"hits"` // negative ones included
	Stale     uint64 `json:"stale"`
	Misses    uint64 `json:"misses"`
	Evictions uint64 `json:"evictions"`
}

// Metrics returns what f counts, for scrapes.
func (f *Forwarder) Metrics() *metrics.Forward { return &f.stats }

// state returns the figures that f measures at this moment.
func (f *Forwarder) state() metrics.ForwardState {
	s := metrics.ForwardState{CacheEntries: f.cache.Len(), CacheOctets: f.cache.Octets(), Evictions: f.cache.Evicted()}
	s.Waiting, s.Questions = f.flights.count()
	for _, u := range f.upstreams() {
		s.Upstreams = append(s.Upstreams, u.Stats)
	}
	return s
}

// Status returns the state of f.
func (f *Forwarder) Status() Status {
	state, now := f.state(), f.clock.Now()
	s := Status{
		InFlight:  state.Waiting,
		Upstreams: []UpstreamStatus{},
		Cache: CacheStatus{
			Entries: state.CacheEntries, Octets: state.CacheOctets, MaxOctets: f.config.CacheOctets,
			Hits:  f.stats.Total(metrics.CacheHit) + f.stats.Total(metrics.CacheDenial),
			Stale: f.stats.Total(metrics.CacheStale), Misses: f.stats.Total(metrics.CacheMiss), Evictions: state.Evictions,
		},
	}
	for _, g := range f.routes.Load().groups() {
		for _, u := range g.upstreams {
			s.Upstreams = append(s.Upstreams, UpstreamStatus{
				Suffix: g.suffix, Upstream: u.String(), State: u.State(),
				MedianMS: milliseconds(u.Median()),
				P95MS:    milliseconds(u.P95()),
				Requests: u.Stats.Requests(metrics.OverUDP) + u.Stats.Requests(metrics.OverTCP) + u.Stats.Requests(metrics.OverTLS),
				Timeouts: u.Stats.Timeouts.Load(), Errors: u.Stats.Errors.Load(),
				WithoutEDNS: !u.EDNS(now), ChangesCase: !u.MixedCase(now),
			})
		}
	}
	return s
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}
