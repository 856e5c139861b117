package main

import (
	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api"
	"github.com/internaldns/internaldns/resolver/forward"
)

// figures returns what scrapes read from the server, apart from counts of queries.
func (s *server) figures() metrics.Figures {
	figures := metrics.Figures{
		Build:  build(),
		States: registry.States[:],
		Facts: func() metrics.Facts {
			snap, stats := s.store.Snapshot(), s.store.Snapshot().Stats()
			machines := make(map[string]int, len(registry.States)+1)
			for i, state := range registry.States {
				machines[state] = stats.Machines[i]
			}
			machines[""] = stats.Machines[len(registry.States)]
			return metrics.Facts{
				Index: snap.Index, Networks: stats.Networks, Apps: stats.Apps, Peers: stats.Peers, Flycast: stats.Flycast,
				Regions:  len(snap.Geography().Codes()),
				Machines: machines,
				Unformed: s.publisher.Table().Unnamed(),
			}
		},
		Source: func() metrics.Source {
			st := s.source.status()
			return metrics.Source{LastGood: st.CheckedAt, Reads: st.Loads, Failures: st.Failures}
		},
	}
	if s.config.kept() {
		figures.Keep = func() metrics.Keep { return s.source.status().figures() }
	}
	if s.config.API != off {
		figures.API = func() metrics.API { return apiFigures(s.api.Stats()) }
	}
	if len(s.certificates) > 0 {
		figures.Certificates = func() []metrics.Certificate {
			var list []metrics.Certificate
			for _, c := range s.certificates {
				list = append(list, metrics.Certificate{Setting: c.setting, Expires: c.expires(), Failures: c.files.Status().Failures})
			}
			return list
		}
	}
	if s.config.forwards() {
		figures.Forward = func() metrics.Forward { return forwardFigures(s.forwarder) }
	}
	return figures
}

// figures returns what scrapes read about storing the facts.
func (s sourceStatus) figures() metrics.Keep {
	if e := s.Etcd; e != nil {
		return metrics.Keep{Writes: e.Writes, Failures: e.Refused, Available: e.Connected && e.Held == "", Leases: -1, Quarantined: e.Quarantined}
	}
	return metrics.Keep{Writes: s.Disk.Writes, Failures: s.Disk.Failures, Available: s.Disk.Writable, Leases: s.Disk.Leases}
}

// apiFigures returns what scrapes read about an API.
func apiFigures(s api.Stats) metrics.API {
	figures := metrics.API{InFlight: s.InFlight, Waiting: s.Waiting}
	for _, r := range s.Routes {
		figures.Routes = append(figures.Routes, metrics.Route{
			Name: r.Route, Codes: r.Codes, Buckets: r.Buckets, Bounds: api.DurationBuckets, Seconds: r.Seconds,
		})
	}
	return figures
}

// forwardFigures returns what f has counted, for scrapes.
func forwardFigures(f *forward.Forwarder) metrics.Forward {
	s := f.Stats()
	figures := metrics.Forward{
		Hits: s.Hits, Denials: s.NegativeHits, FailureHits: s.FailureHits, Stale: s.StaleHits, Home: s.HomeHits,
		Misses: s.Misses, Joined: s.Joined, Failed: s.Failed, Truncated: s.Truncated,
		Prefetches: s.Prefetches, Evictions: s.Evictions,
		Refused: counts(forward.Refusals[:], s.Refused[:]),
		Waiting: s.InFlight, Flights: s.Flights, CacheEntries: s.CacheEntries, CacheOctets: s.CacheOctets,
	}
	for i := range s.Upstreams {
		u := &s.Upstreams[i]
		figures.Upstreams = append(figures.Upstreams, metrics.Upstream{
			Name:         u.Upstream,
			Requests:     counts(forward.Transports[:], u.Requests[:]),
			Responses:    u.Responses[:],
			Mismatches:   counts(forward.Mismatches[1:], u.Mismatches[1:]), // the first is none
			Latency:      u.Latency[:],
			LatencyBound: forward.LatencyBound,
			LatencySum:   u.LatencySum,
			Timeouts:     u.Timeouts,
			Errors:       u.Errors,
			Hedges:       u.Hedges,
			Probes:       u.Probes,
			Healthy:      u.Healthy,
		})
	}
	return figures
}

// counts gives each of ns its label.
func counts(labels []string, ns []uint64) []metrics.Count {
	list := make([]metrics.Count, len(ns))
	for i, n := range ns {
		list[i] = metrics.Count{Label: labels[i], N: n}
	}
	return list
}
