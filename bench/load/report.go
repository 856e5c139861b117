package load

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteText writes the result for people.
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
