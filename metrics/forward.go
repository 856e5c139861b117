package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Forward counts forwarded names and their queries.
type Forward struct {
	Upstreams []Upstream // each once

	Hits, Denials, FailureHits uint64 // queries answered from the cache
	Stale                      uint64 // … out of date
	Home                       uint64 // queries answered here because no upstream may be asked
	Misses, Joined             uint64 // queries that had to wait; and of those, for a question already asked
	Failed                     uint64 // questions that no upstream answered
	Truncated                  uint64
	Prefetches, Evictions      uint64
	Refused                    []Count // by reason

	Waiting, Flights int // queries that wait, and questions being asked
	CacheEntries     int
	CacheOctets      uint64
}

// Upstream counts what one upstream did.
type Upstream struct {
	Name         string   // as it is set
	Requests     []Count  // by transport
	Responses    []uint64 // by RCODE; the last counts all others
	Mismatches   []Count  // by what was wrong
	Latency      []uint64 // responses by LatencyBound; the last bucket has no bound
	LatencyBound func(i int) time.Duration
	LatencySum   time.Duration
	Timeouts     uint64
	Errors       uint64
	Hedges       uint64
	Probes       uint64
	Healthy      bool
}

// A Count is a count and the value of its label, which is of a closed set.
type Count struct {
	Label string
	N     uint64
}

func describeForward(ch chan<- *prometheus.Desc) {
	for _, m := range []metric{
		forwardRequests, forwardResponses, forwardDuration, forwardMismatches, forwardTimeouts, forwardErrors,
		forwardHedges, forwardProbes, forwardHealthy, forwardRefused, forwardHome, forwardJoined, forwardFailed,
		forwardTruncated, forwardWaiting, forwardFlights,
		cacheHits, cacheMisses, cacheStale, cachePrefetches, cacheEvictions, cacheEntries, cacheSize,
	} {
		ch <- m.desc
	}
}

func (f Forward) collect(ch chan<- prometheus.Metric) {
	for _, u := range f.Upstreams {
		u.collect(ch)
	}
	for _, c := range f.Refused {
		forwardRefused.send(ch, float64(c.N), c.Label)
	}
	forwardHome.send(ch, float64(f.Home))
	forwardJoined.send(ch, float64(f.Joined))
	forwardFailed.send(ch, float64(f.Failed))
	forwardTruncated.send(ch, float64(f.Truncated))
	forwardWaiting.send(ch, float64(f.Waiting))
	forwardFlights.send(ch, float64(f.Flights))
	cacheHits.send(ch, float64(f.Hits), "success")
	cacheHits.send(ch, float64(f.Denials), "denial")
	cacheHits.send(ch, float64(f.FailureHits), "failure")
	cacheMisses.send(ch, float64(f.Misses))
	cacheStale.send(ch, float64(f.Stale))
	cachePrefetches.send(ch, float64(f.Prefetches))
	cacheEvictions.send(ch, float64(f.Evictions))
	cacheEntries.send(ch, float64(f.CacheEntries))
	cacheSize.send(ch, float64(f.CacheOctets))
}

func (u *Upstream) collect(ch chan<- prometheus.Metric) {
	for _, c := range u.Requests {
		forwardRequests.send(ch, float64(c.N), u.Name, c.Label)
	}
	for i, n := range u.Responses {
		rcode := rcodes[rcodeAt[i]]
		if i == len(u.Responses)-1 {
			rcode = rcodes[len(rcodes)-1]
		}
		forwardResponses.send(ch, float64(n), u.Name, rcode)
	}
	for _, c := range u.Mismatches {
		forwardMismatches.send(ch, float64(c.N), u.Name, c.Label)
	}
	bound := func(i int) float64 { return u.LatencyBound(i).Seconds() }
	forwardDuration.sendBuckets(ch, u.Latency, u.LatencySum.Seconds(), bound, u.Name)
	forwardTimeouts.send(ch, float64(u.Timeouts), u.Name)
	forwardErrors.send(ch, float64(u.Errors), u.Name)
	forwardHedges.send(ch, float64(u.Hedges), u.Name)
	forwardProbes.send(ch, float64(u.Probes), u.Name)
	healthy := 0.0
	if u.Healthy {
		healthy = 1
	}
	forwardHealthy.send(ch, healthy, u.Name)
}
