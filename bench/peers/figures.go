//go:build linux

package peers

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/internaldns/internaldns/bench/harness"
)

// cpuPerQuery returns the CPU time of an answered query at the peak, in ns; NaN if
// none was answered.
func (m *Measurement) cpuPerQuery() float64 { return float64(m.CPU) / positive(m.Peak.Received) }

// busy returns the share of its CPU that the server used at the peak. Well below 1,
// the generator or the network was the limit and not the server.
func (m *Measurement) busy() float64 { return float64(m.CPU) / positive(m.Peak.Elapsed) }

// positive returns n, or NaN unless it is positive.
func positive[T uint64 | float64 | time.Duration](n T) float64 {
	if n <= 0 {
		return math.NaN()
	}
	return float64(n)
}

// of returns the measurements of the peer that did not fail.
func (s *Series) of(peer string) (all []*Measurement) {
	if s == nil {
		return nil
	}
	for i := range s.Rounds {
		if m := &s.Rounds[i]; m.Peer == peer && m.Error == "" {
			all = append(all, m)
		}
	}
	return all
}

// spread returns the spread of a figure of the peer over the rounds.
func (s *Series) spread(peer string, figure func(*Measurement) float64) harness.Spread {
	var figures []float64
	for _, m := range s.of(peer) {
		figures = append(figures, figure(m))
	}
	return harness.SpreadOf(figures)
}

// sum returns the sum of a count of the peer over the rounds.
func (s *Series) sum(peer string, count func(*Measurement) uint64) (sum uint64) {
	for _, m := range s.of(peer) {
		sum += count(m)
	}
	return sum
}

// ratio returns the CPU time of an answered query as a multiple of that of the
// other server in the same round; NaN without the other.
func (s *Series) ratio(peer, other string) harness.Spread {
	base := map[int]float64{}
	for _, m := range s.of(other) {
		base[m.Round] = m.cpuPerQuery()
	}
	return s.spread(peer, func(m *Measurement) float64 { return m.cpuPerQuery() / positive(base[m.Round]) })
}

// toEcho returns the ratio to the echo.
func (s *Series) toEcho(peer string) harness.Spread { return s.ratio(peer, nameEcho) }

// firstBuild returns NAME if the peer is another build, NAME=FILE, or "".
func firstBuild(peer string) string {
	name, _, other := strings.Cut(peer, "=")
	if !other {
		return ""
	}
	return name
}

// cpu returns the CPU time of an answered query, in ns.
func (s *Series) cpu(peer string) harness.Spread {
	return s.spread(peer, (*Measurement).cpuPerQuery)
}

// started returns the names of the servers that were started.
func (s *Series) started() (all []string) {
	if s == nil {
		return nil
	}
	for _, st := range s.Started {
		if st.Error == "" {
			all = append(all, st.Peer)
		}
	}
	return all
}

// find returns the series with that key, or nil.
func (s *Scenario) find(key string) *Series {
	if i := slices.IndexFunc(s.Series, func(x Series) bool { return x.Key == key }); i >= 0 {
		return &s.Series[i]
	}
	return nil
}

// share returns the goodput under overload as a share of the throughput before.
func (o *Overload) share() float64 { return o.Load.Goodput() / positive(o.Capacity.QPS()) }

// overloads returns the rounds of that kind that did not fail, by server, the
// servers in order, and the error of each server that failed.
func (s *Scenario) overloads(kind string) (peers []string, rounds map[string][]*Overload, failed map[string]string) {
	rounds, failed = map[string][]*Overload{}, map[string]string{}
	for i := range s.Overload {
		o := &s.Overload[i]
		switch {
		case o.Kind != kind:
			continue
		case o.Error != "":
			failed[o.Peer] = o.Error
		default:
			rounds[o.Peer] = append(rounds[o.Peer], o)
		}
		if !slices.Contains(peers, o.Peer) {
			peers = append(peers, o.Peer)
		}
	}
	return peers, rounds, failed
}

// spreadOf returns the spread of a figure over rounds.
func spreadOf(rounds []*Overload, figure func(*Overload) float64) harness.Spread {
	var figures []float64
	for _, o := range rounds {
		figures = append(figures, figure(o))
	}
	return harness.SpreadOf(figures)
}
