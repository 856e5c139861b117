//go:build linux

package peers

import (
	"math"
	"slices"
	"time"
)

// CPUPerQuery returns the CPU time that the server took for a query answered
// at its peak, in ns; NaN if it answered none.
func (m *Measurement) CPUPerQuery() float64 {
	if m.Peak.Received == 0 {
		return math.NaN()
	}
	return float64(m.CPU) / float64(m.Peak.Received)
}

// PerAnswer returns the queries that the upstream heard for each answered one at
// the peak; NaN if none was answered.
func (m *Measurement) PerAnswer() float64 {
	if m.Peak.Received == 0 {
		return math.NaN()
	}
	return float64(m.Upstream) / float64(m.Peak.Received)
}

// Busy returns the share of its one CPU that the server took at its peak. Well
// below 1, the generator or the network was the limit and not the server.
func (m *Measurement) Busy() float64 {
	if m.Peak.Elapsed <= 0 {
		return 0
	}
	return float64(m.CPU) / float64(m.Peak.Elapsed)
}

// Share returns the goodput under overload as a share of the throughput before it.
func (o *Overload) Share() float64 {
	if qps := o.Capacity.QPS(); qps > 0 {
		return o.Load.Goodput() / qps
	}
	return math.NaN()
}

// Spread is the median of several figures, with the least and the greatest.
type Spread struct{ Median, Min, Max float64 }

// spread returns the spread of the figures, without those that are not
// numbers. Without any, all three are NaN.
func spread(figures []float64) Spread {
	figures = slices.DeleteFunc(slices.Clone(figures), math.IsNaN)
	if len(figures) == 0 {
		return Spread{math.NaN(), math.NaN(), math.NaN()}
	}
	slices.Sort(figures)
	n := len(figures)
	return Spread{Median: (figures[(n-1)/2] + figures[n/2]) / 2, Min: figures[0], Max: figures[n-1]}
}

// Row is what a table says of one server in one series.
type Row struct {
	Peer string
	// Ratio is the CPU time of an answered query as a multiple of the echo's
	// in the same round; NaN without an echo.
	Ratio       Spread
	CPUPerQuery Spread // ns
	QPS         Spread // at the peak, on one CPU
	Busy        float64
	Upstream    float64       // queries that reached the upstream, for each answer
	P50, P99    time.Duration // at half of the peak, medians
	HalfLoss    float64
	PeakLoss    float64
	Memory      uint64 // at the end, the most of any round
	Loaded      time.Duration
	Rounds      int
	Compared    uint64
	Wrong       uint64
	Truncated   uint64
	Wrongs      []string
	Errors      []string
}

// rows returns a row for each server that was measured in the series, in the
// order in which they were started.
func (s *Series) rows() []Row {
	echo := map[int]float64{} // ns of the echo in each round
	for i := range s.Rounds {
		if m := &s.Rounds[i]; m.Peer == nameEcho && m.Error == "" {
			echo[m.Round] = m.CPUPerQuery()
		}
	}
	var rows []Row
	for _, st := range s.Started {
		if st.Error == "" {
			rows = append(rows, s.row(st, echo))
		}
	}
	return rows
}

func (s *Series) row(st Started, echo map[int]float64) Row {
	row := Row{Peer: st.Peer, Loaded: st.Loaded, Memory: st.Memory}
	var ratios, cpu, qps, busy, p50, p99 []float64
	var sent, lost, halfSent, halfLost, received, upstream uint64
	for i := range s.Rounds {
		m := &s.Rounds[i]
		if m.Peer != st.Peer {
			continue
		}
		if m.Error != "" {
			row.Errors = append(row.Errors, m.Error)
			continue
		}
		row.Rounds++
		if base, ok := echo[m.Round]; ok {
			ratios = append(ratios, m.CPUPerQuery()/base)
		}
		cpu = append(cpu, m.CPUPerQuery())
		qps = append(qps, m.Peak.QPS())
		busy = append(busy, m.Busy())
		received, upstream = received+m.Peak.Received, upstream+m.Upstream
		p50 = append(p50, float64(m.Half.Latency.P50))
		p99 = append(p99, float64(m.Half.Latency.P99))
		sent, lost = sent+m.Peak.Sent, lost+m.Peak.Lost
		halfSent, halfLost = halfSent+m.Half.Sent, halfLost+m.Half.Lost
		row.Memory = max(row.Memory, m.Memory)
		row.Compared += m.Peak.Compared + m.Half.Compared
		row.Wrong += m.Peak.Wrong + m.Half.Wrong
		row.Truncated += m.Peak.Truncated + m.Half.Truncated
		if len(row.Wrongs) == 0 {
			row.Wrongs = m.Peak.Wrongs
		}
	}
	row.Ratio, row.CPUPerQuery, row.QPS = spread(ratios), spread(cpu), spread(qps)
	row.Busy = spread(busy).Median
	row.Upstream = share(upstream, received)
	if row.Rounds > 0 {
		row.P50, row.P99 = time.Duration(spread(p50).Median), time.Duration(spread(p99).Median)
	}
	row.PeakLoss, row.HalfLoss = share(lost, sent), share(halfLost, halfSent)
	return row
}

func share(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// OverloadRow is what a table says of one server that was overloaded in one way.
type OverloadRow struct {
	Peer, Kind                      string
	Capacity, Sent, Goodput, Share  Spread // queries a second, and the share
	P99                             time.Duration
	MemoryBefore, MemoryAfter       uint64 // the first round, and the last
	GoroutinesBefore, GoroutinesEnd int    // -1 where unknown
	Error                           string
}

// overloadRows returns a row for each server that was overloaded in that way.
func (r *Record) overloadRows(kind string) []OverloadRow {
	var rows []OverloadRow
	var peers []string
	for i := range r.Overload {
		if o := &r.Overload[i]; o.Kind == kind && !slices.Contains(peers, o.Peer) {
			peers = append(peers, o.Peer)
		}
	}
	for _, peer := range peers {
		row := OverloadRow{Peer: peer, Kind: kind}
		var capacity, sent, goodput, shares, p99 []float64
		for i := range r.Overload {
			o := &r.Overload[i]
			if o.Kind != kind || o.Peer != peer {
				continue
			}
			if o.Error != "" {
				row.Error = o.Error
				continue
			}
			if len(shares) == 0 {
				row.MemoryBefore, row.GoroutinesBefore = o.Memory[0], o.Goroutines[0]
			}
			row.MemoryAfter, row.GoroutinesEnd = o.Memory[1], o.Goroutines[1]
			capacity = append(capacity, o.Capacity.QPS())
			sent = append(sent, o.Load.SentQPS())
			goodput = append(goodput, o.Load.Goodput())
			shares = append(shares, o.Share())
			p99 = append(p99, float64(o.Load.Latency.P99))
		}
		row.Capacity, row.Sent, row.Goodput, row.Share = spread(capacity), spread(sent), spread(goodput), spread(shares)
		if len(p99) > 0 {
			row.P99 = time.Duration(spread(p99).Median)
		}
		rows = append(rows, row)
	}
	return rows
}
