//go:build linux

package hang

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/internaldns/internaldns/bench/load"
)

// A Plan is what is measured, and how often.
type Plan struct {
	Program  string        // internaldns
	Hanging  int           // queries for the world's names that hang at one time
	Rounds   int           // of each, idle and hanging in turn
	Rate     float64       // of local queries, a second
	Duration time.Duration // of each measurement
	Failover int           // queries after the first upstream fell silent
}

// DefaultPlan is what is published.
func DefaultPlan() Plan {
	return Plan{Program: "bin/internaldns", Hanging: 10_000, Rounds: 5, Rate: 2000, Duration: 5 * time.Second, Failover: 100}
}

// Results is what came out.
type Results struct {
	Date     time.Time
	Command  string
	Commit   string
	Plan     Plan
	Idle     []time.Duration // p99 of local names, by round
	Hung     []time.Duration // … while others hung
	InFlight []int           // least number of those seen, by round
	IdleLost uint64          // local queries that were not answered, of all rounds
	HungLost uint64          // … while others hung
	Ratio    float64         // median of Hung over median of Idle

	FailoverWorst   time.Duration // with the first upstream silent since a moment ago
	FailoverUnknown time.Duration // with the first upstream silent ever since the start
}

// Run measures. How it goes is written to log.
func (p *Plan) Run(ctx context.Context, log io.Writer) (*Results, error) {
	r := &Results{Date: time.Now(), Plan: *p}
	if err := r.hang(ctx, log); err != nil {
		return nil, fmt.Errorf("while queries hang: %w", err)
	}
	var err error
	if r.FailoverWorst, err = failover(ctx, p, true); err != nil {
		return nil, fmt.Errorf("fail-over: %w", err)
	}
	if r.FailoverUnknown, err = failover(ctx, p, false); err != nil {
		return nil, fmt.Errorf("fail-over from the start: %w", err)
	}
	return r, nil
}

// hang measures local names with and without queries that hang, in turn: what
// else the machine does meanwhile is then in both.
func (r *Results) hang(ctx context.Context, log io.Writer) error {
	up, err := newUpstream()
	if err != nil {
		return err
	}
	defer up.Close()
	s, err := serve(ctx, &r.Plan, up)
	if err != nil {
		return err
	}
	defer s.Stop()
	for round := range r.Plan.Rounds {
		idle, err := s.measure(ctx, &r.Plan)
		if err != nil {
			return err
		}
		hung, least, err := s.measureHung(ctx, &r.Plan)
		if err != nil {
			return err
		}
		if err := s.waitIdle(ctx); err != nil {
			return err
		}
		r.Idle, r.Hung = append(r.Idle, idle.Latency.P99), append(r.Hung, hung.Latency.P99)
		r.InFlight = append(r.InFlight, least)
		r.IdleLost, r.HungLost = r.IdleLost+idle.Lost, r.HungLost+hung.Lost
		fmt.Fprintf(log, "round %d: p99 %v idle, %v with at least %d hanging\n", round+1, idle.Latency.P99, hung.Latency.P99, least)
	}
	r.Ratio = float64(median(r.Hung)) / float64(median(r.Idle))
	return nil
}

// measureHung measures while queries hang, and returns how many did at least.
func (s *server) measureHung(ctx context.Context, p *Plan) (*load.Result, int, error) {
	crowd, err := newCrowd(ctx, s, p.Hanging)
	if err != nil {
		return nil, 0, err
	}
	if err := crowd.wait(ctx); err != nil {
		crowd.stop()
		return nil, 0, err
	}
	result, err := s.measure(ctx, p)
	return result, crowd.stop(), err
}

func median(ds []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(ds))
	return sorted[len(sorted)/2]
}

// Write says in a few lines what came out.
func (r *Results) Write(w io.Writer) {
	fmt.Fprintf(w, "p99 of local names, median of %d: %v idle, %v with %d queries hanging (least seen %d): %.2f times\n",
		r.Plan.Rounds, median(r.Idle), median(r.Hung), r.Plan.Hanging, slices.Min(r.InFlight), r.Ratio)
	fmt.Fprintf(w, "local queries lost: %d idle, %d with queries hanging\n", r.IdleLost, r.HungLost)
	fmt.Fprintf(w, "fail-over, longest of %d: %v when an upstream falls silent, %v when it never spoke\n",
		r.Plan.Failover, r.FailoverWorst, r.FailoverUnknown)
}

// WriteMarkdown writes the results as a section of RESULTS.md.
func (r *Results) WriteMarkdown(w io.Writer) error {
	_, err := fmt.Fprintf(w, `## Trouble upstream

As `+"`bench/cmd/hang`"+` measured it (%s UTC, commit %s): `+"`%s`"+`.

| | |
|---|---:|
| p99 of local names, median of %d | %v |
| … while %d queries for other names hang (least seen: %d) | %v |
| ratio | %.2f |
| local queries lost, idle and then | %d, %d |
| first upstream falls silent: the longest of %d queries | %v |
| first upstream never spoke: the longest of %d | %v |

`, r.Date.UTC().Format("2006-01-02 15:04"), r.Commit, r.Command,
		r.Plan.Rounds, median(r.Idle), r.Plan.Hanging, slices.Min(r.InFlight), median(r.Hung), r.Ratio, r.IdleLost, r.HungLost,
		r.Plan.Failover, r.FailoverWorst.Round(time.Microsecond), r.Plan.Failover, r.FailoverUnknown.Round(time.Microsecond))
	return err
}
