//go:build linux

package harness

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// A Spread is the median of several figures, with the least and the greatest.
type Spread struct{ Median, Min, Max float64 }

// SpreadOf returns the spread of the figures that are numbers. If there are none,
// all three are NaN.
func SpreadOf(figures []float64) Spread {
	figures = slices.DeleteFunc(slices.Clone(figures), math.IsNaN)
	if len(figures) == 0 {
		return Spread{math.NaN(), math.NaN(), math.NaN()}
	}
	slices.Sort(figures)
	n := len(figures)
	return Spread{Median: (figures[(n-1)/2] + figures[n/2]) / 2, Min: figures[0], Max: figures[n-1]}
}

// Ratio writes the spread of a ratio.
func (s Spread) Ratio() string {
	if math.IsNaN(s.Median) {
		return None
	}
	return fmt.Sprintf("**%.2f** (%.2f–%.2f)", s.Median, s.Min, s.Max)
}

// Time writes the median of times in ns.
func (s Spread) Time() string {
	if math.IsNaN(s.Median) {
		return None
	}
	return Time(time.Duration(s.Median))
}

// Median returns the median of times; 0 if there are none.
func Median(times []time.Duration) time.Duration {
	if len(times) == 0 {
		return 0
	}
	var figures []float64
	for _, t := range times {
		figures = append(figures, float64(t))
	}
	return time.Duration(SpreadOf(figures).Median)
}

// Latency is the distribution of how long several things took.
type Latency struct {
	P50 time.Duration `json:"p50_ns"`
	P99 time.Duration `json:"p99_ns"`
	Max time.Duration `json:"max_ns"`
}

// LatencyOf returns the distribution of took, which it sorts.
func LatencyOf(took []time.Duration) Latency {
	n := len(took)
	if n == 0 {
		return Latency{}
	}
	slices.Sort(took)
	return Latency{P50: took[n/2], P99: took[min(n-1, n*99/100)], Max: took[n-1]}
}
