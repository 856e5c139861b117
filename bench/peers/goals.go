//go:build linux

package peers

import (
	"fmt"
	"math"
)

// goal is a figure to reach, and what was reached.
type goal struct {
	what, wanted, got string
	kept              bool
}

// goals writes the figures that internaldns is to reach beside those it did.
func (p *page) goals(r *Record) {
	all := r.goals()
	if len(all) == 0 {
		return
	}
	p.say("## Figures to reach\n\n")
	var cells [][]string
	for _, g := range all {
		verdict := "missed"
		if g.kept {
			verdict = "reached"
		}
		cells = append(cells, []string{g.what, g.wanted, g.got, verdict})
	}
	p.table([]string{"internaldns", "wanted", "measured", ""}, cells)
}

// goals returns the goals that the record has figures for.
func (r *Record) goals() []goal {
	var all []goal
	ratio := func(what, key, peer string, most float64) {
		if row := r.find(key).row1(peer); row != nil && !math.IsNaN(row.Ratio.Median) {
			got := row.Ratio.Median
			all = append(all, goal{what, fmt.Sprintf("≤ %.2f", most), fmt.Sprintf("%.2f", got), math.Round(got*100) <= math.Round(most*100)})
		}
	}
	ratio("local answers, 2,000 machines", "udp-2000", nameOurs, 1.20)
	ratio("the same, goal", "udp-2000", nameOurs, 1.12)
	ratio("100,000 machines", "udp-100000", nameOurs, 1.25)
	ratio("1,000,000 machines", "udp-1000000", nameOurs, 1.35)
	ratio("`[::]` listener with packet info", "costs", nameWildcard, 1.30)
	for _, key := range []string{"tcp", "tcp-once"} {
		all = append(all, r.ahead(key)...)
	}
	ratio("forwarding: hits", keyHits, nameForward, 1.30)
	ratio("the same, goal", keyHits, nameForward, 1.20)
	all = append(all, r.level(keyMisses)...)
	for _, kind := range []string{kindFlood, kindQuota} {
		for _, row := range r.overloadRows(kind) {
			if row.Error != "" || row.Peer != nameOurs && row.Peer != nameMetrics {
				continue
			}
			what := "goodput in a flood, of the peak"
			if kind == kindQuota {
				what = "goodput at 10 × with a tenth of a CPU"
			}
			all = append(all, goal{what, "≥ 95 %", percent(row.Share.Median, 1), row.Share.Median >= 0.95})
		}
	}
	return all
}

// level compares CPU per query with the cheapest of the other forwarders.
func (r *Record) level(key string) []goal {
	s := r.find(key)
	ours := s.row1(nameForward)
	if ours == nil {
		return nil
	}
	var best *Row
	for _, row := range s.rows() {
		if row.Peer != nameForward && row.Peer != nameEcho && row.Rounds > 0 && (best == nil || row.CPUPerQuery.Median < best.CPUPerQuery.Median) {
			best = &row
		}
	}
	if best == nil {
		return nil
	}
	return []goal{{
		what:   "forwarding: misses, CPU/query, against " + best.Peer,
		wanted: "≤ " + microseconds(best.CPUPerQuery.Median),
		got:    microseconds(ours.CPUPerQuery.Median),
		kept:   ours.CPUPerQuery.Median <= best.CPUPerQuery.Median,
	}}
}

// ahead compares CPU per query over TCP with each other server of the series.
func (r *Record) ahead(key string) []goal {
	s := r.find(key)
	ours := s.row1(nameOurs)
	if ours == nil {
		return nil
	}
	var all []goal
	for _, row := range s.rows() {
		if row.Peer == nameOurs || row.Rounds == 0 {
			continue
		}
		all = append(all, goal{
			what:   fmt.Sprintf("%s: CPU/query, against %s", s.Title, row.Peer),
			wanted: "< " + microseconds(row.CPUPerQuery.Median),
			got:    microseconds(ours.CPUPerQuery.Median),
			kept:   ours.CPUPerQuery.Median < row.CPUPerQuery.Median,
		})
	}
	return all
}
