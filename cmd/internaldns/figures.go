package main

import (
	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/registry"
	"github.com/prometheus/client_golang/prometheus"
)

// collectors returns everything that scrapes read.
func (s *server) collectors() []prometheus.Collector {
	list := []prometheus.Collector{&s.dns, s.figures()}
	if s.config.API != off {
		list = append(list, s.api.Metrics())
	}
	if s.config.forwards() {
		list = append(list, s.forwarder.Metrics())
	}
	return list
}

// figures returns what scrapes read of what the server counts elsewhere.
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
	if len(s.certificates) > 0 {
		figures.Certificates = func() []metrics.Certificate {
			var list []metrics.Certificate
			for _, c := range s.certificates {
				list = append(list, metrics.Certificate{Setting: c.setting, Expires: c.expires(), Failures: c.files.Status().Failures})
			}
			return list
		}
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
