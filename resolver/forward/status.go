package forward

import "time"

// Status is how the Forwarder is doing, for people and for JSON.
type Status struct {
	Upstreams []UpstreamStatus `json:"upstreams"`
	Cache     CacheStatus      `json:"cache"`
	InFlight  int              `json:"in_flight"` // queries waiting for upstreams
}

// UpstreamStatus is how one upstream is doing in one group.
type UpstreamStatus struct {
	Suffix   string  `json:"suffix"` // what it is asked for; "." is the rest
	Upstream string  `json:"upstream"`
	State    string  `json:"state"` // "healthy", "silent" or "dead"
	MedianMS float64 `json:"median_ms"`
	P95MS    float64 `json:"p95_ms"`
	Requests uint64  `json:"requests"`
	Timeouts uint64  `json:"timeouts"`
	Errors   uint64  `json:"errors"`
	// What it was found not to do; these times are tried again after a while.
	WithoutEDNS bool `json:"without_edns,omitempty"`
	ChangesCase bool `json:"changes_case,omitempty"`
}

// CacheStatus is how full and how useful the cache is.
type CacheStatus struct {
	Entries   int    `json:"entries"`
	Octets    uint64 `json:"octets"`
	MaxOctets int    `json:"max_octets"`
	Hits      uint64 `json:"hits"` // negative ones included
	Stale     uint64 `json:"stale"`
	Misses    uint64 `json:"misses"`
	Evictions uint64 `json:"evictions"`
}

// Status returns how the Forwarder is doing.
func (f *Forwarder) Status() Status {
	stats, now := f.Stats(), f.now()
	s := Status{
		InFlight:  stats.InFlight,
		Upstreams: []UpstreamStatus{},
		Cache: CacheStatus{
			Entries: stats.CacheEntries, Octets: stats.CacheOctets, MaxOctets: f.config.CacheOctets,
			Hits: stats.Hits + stats.NegativeHits, Stale: stats.StaleHits, Misses: stats.Misses, Evictions: stats.Evictions,
		},
	}
	for _, g := range f.routes.Load().groups() {
		for _, u := range g.upstreams {
			st := UpstreamStatus{
				Suffix: g.suffix, Upstream: u.String(), State: u.state(),
				MedianMS: milliseconds(time.Duration(u.rtt.median.Load())),
				P95MS:    milliseconds(u.rtt.p95()),
				Timeouts: u.stats.timeouts.Load(), Errors: u.stats.errors.Load(),
				WithoutEDNS: !u.edns(now), ChangesCase: !u.mixed(now),
			}
			for i := range u.stats.requests {
				st.Requests += u.stats.requests[i].Load()
			}
			s.Upstreams = append(s.Upstreams, st)
		}
	}
	return s
}

// state says how u is doing in a word.
func (u *upstream) state() string {
	switch {
	case u.dead.Load():
		return "dead"
	case u.silent():
		return "silent"
	}
	return "healthy"
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}
