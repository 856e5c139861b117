package load

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/internaldns/internaldns/bench/dataset"
)

// Result is the result of a run. Durations are in nanoseconds in JSON.
type Result struct {
	Server    string    `json:"server"`
	Transport Transport `json:"transport"`
	// Loop is closed, open or flood.
	Loop    string  `json:"loop"`
	Sockets int     `json:"sockets"`
	Window  int     `json:"window,omitempty"` // closed loop
	Rate    float64 `json:"rate,omitempty"`   // open loop, as in Options

	// Elapsed is the measured time.
	Elapsed  time.Duration `json:"elapsed_ns"`
	Timeout  time.Duration `json:"timeout_ns"`
	Deadline time.Duration `json:"deadline_ns"`

	Counts
	// RCodes counts the answered queries by RCODE.
	RCodes  map[string]uint64 `json:"rcodes"`
	Latency Latency           `json:"latency"`
	// Wrongs describes the first few wrong responses.
	Wrongs []string `json:"wrongs,omitempty"`
}

// Latency is from when a query was due until its response was read. Lost
// queries have none: read it together with Lost.
type Latency struct {
	Min  time.Duration `json:"min_ns"`
	Mean time.Duration `json:"mean_ns"`
	P50  time.Duration `json:"p50_ns"`
	P90  time.Duration `json:"p90_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`
}

// QPS returns the responses that came in a second of the measured time.
func (r *Result) QPS() float64 { return r.perSecond(r.Received) }

// SentQPS returns the queries that were sent in a second of the measured time.
func (r *Result) SentQPS() float64 { return r.perSecond(r.Sent) }

// Goodput returns the right answers within the deadline, in a second.
func (r *Result) Goodput() float64 { return r.perSecond(r.Within) }

// Loss returns the share of queries without a response.
func (r *Result) Loss() float64 {
	if r.Sent == 0 {
		return 0
	}
	return float64(r.Lost) / float64(r.Sent)
}

func (r *Result) perSecond(n uint64) float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(n) / r.Elapsed.Seconds()
}

func (g *generator) result() Result {
	h := g.latency
	at := func(percentile float64) time.Duration { return time.Duration(h.ValueAtPercentile(percentile)) }
	r := Result{
		Server:    g.Server.String(),
		Transport: g.Transport,
		Loop:      "closed",
		Sockets:   g.Sockets,
		Window:    g.Window,
		Elapsed:   time.Duration(max(0, min(g.now, g.end)-g.begin)),
		Timeout:   g.Timeout,
		Deadline:  g.Deadline,
		Counts:    g.tally.Counts,
		RCodes:    map[string]uint64{},
	}
	switch {
	case g.Flood:
		r.Loop, r.Window = "flood", 0
	case g.Options.Rate > 0:
		r.Loop, r.Window, r.Rate = "open", 0, g.Options.Rate
	}
	if h.TotalCount() > 0 {
		r.Latency = Latency{
			Min: time.Duration(h.Min()), Mean: time.Duration(h.Mean()), Max: time.Duration(h.Max()),
			P50: at(50), P90: at(90), P99: at(99), P999: at(99.9),
		}
	}
	for rcode, n := range g.rcodes {
		if n > 0 {
			r.RCodes[dataset.RCodeText(uint8(rcode))] = n
		}
	}
	for _, e := range g.examples {
		r.Wrongs = append(r.Wrongs, e.String())
	}
	return r
}

// WriteText writes the result as a table.
func (r *Result) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	how := ""
	switch r.Loop {
	case "closed":
		how = fmt.Sprintf("closed loop, %d outstanding", r.Window)
	case "open":
		how = fmt.Sprintf("open loop, %.0f queries/s", r.Rate)
	case "flood":
		how = "open loop, as fast as possible"
	}
	row("server", "%s over %s, %d sockets, %s, %v", r.Server, r.Transport, r.Sockets, how, r.Elapsed)
	row("sent", "%d (%.0f/s)", r.Sent, r.SentQPS())
	if r.Unsent > 0 {
		row("unsent", "%d: the generator could not keep the rate", r.Unsent)
	}
	row("answered", "%d (%.0f/s)", r.Answered, r.QPS())
	row("lost", "%d (%.3f %%) after %v", r.Lost, 100*r.Loss(), r.Timeout)
	row("goodput", "%.0f/s right within %v", r.Goodput(), r.Deadline)
	for _, rcode := range slices.Sorted(maps.Keys(r.RCodes)) {
		row("  "+rcode, "%d", r.RCodes[rcode])
	}
	row("latency", "min %v  p50 %v  p90 %v  p99 %v  p99.9 %v  max %v", r.Latency.Min, r.Latency.P50, r.Latency.P90, r.Latency.P99, r.Latency.P999, r.Latency.Max)
	row("answers", "%d compared, %d responses wrong, %d truncated", r.Compared, r.Wrong, r.Truncated)
	var faults []string
	for _, f := range []struct {
		name string
		n    uint64
	}{
		{"stray", r.Stray}, {"twice", r.Twice}, {"late", r.Late}, {"malformed", r.Malformed},
		{"not a response", r.NotResponse}, {"wrong question", r.WrongQuestion}, {"connections ended", r.Reconnects},
	} {
		if f.n > 0 {
			faults = append(faults, fmt.Sprintf("%s %d", f.name, f.n))
		}
	}
	if len(faults) > 0 {
		row("faults", "%s", strings.Join(faults, ", "))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range r.Wrongs {
		if _, err := fmt.Fprintln(w, "wrong:", s); err != nil {
			return err
		}
	}
	return nil
}

// WriteBenchmark writes the result as one line of Go's benchmark format, for
// benchstat. The name gets Benchmark in front; spaces in it become underscores.
func (r *Result) WriteBenchmark(w io.Writer, name string) error {
	perQuery := 0.0
	if qps := r.QPS(); qps > 0 {
		perQuery = 1e9 / qps
	}
	_, err := fmt.Fprintf(w, "Benchmark%s/transport=%s/loop=%s 	%d	%.1f ns/op	%.0f qps	%.0f goodput/s	%d p50-ns	%d p99-ns	%.5f lost\n",
		strings.ReplaceAll(name, " ", "_"), r.Transport, r.Loop, r.Received, perQuery, r.QPS(), r.Goodput(), r.Latency.P50, r.Latency.P99, r.Loss())
	return err
}
