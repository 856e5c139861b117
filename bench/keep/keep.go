//go:build linux

package keep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A Plan is what is measured, and for how long.
type Plan struct {
	Program  string        `json:"program"`
	Etcd     string        `json:"etcd"` // the program; "" leaves it out
	Machines int           `json:"machines"`
	Writers  []int         `json:"writers"`     // how many clients write at one time
	Duration time.Duration `json:"duration_ns"` // of each number of writers
	Changes  int           `json:"changes"`     // whose way to the answers is timed
}

// DefaultPlan is what is published.
func DefaultPlan() Plan {
	return Plan{Program: "bin/internaldns", Etcd: "etcd", Machines: 10_000, Writers: []int{1, 16, 64}, Duration: 5 * time.Second, Changes: 1000}
}

// A Record is what a run saves.
type Record struct {
	Date    time.Time     `json:"date"`
	Took    time.Duration `json:"took_ns"`
	Command string        `json:"command"`
	Commit  string        `json:"commit,omitempty"`
	Plan    Plan          `json:"plan"`
	Rates   []Rate        `json:"rates"`
	Visible []Visible     `json:"visible"`
	Missing string        `json:"missing,omitempty"` // what could not be measured, and why
}

// A Rate is what one number of writers reached.
type Rate struct {
	Store   string        `json:"store"` // disk or etcd
	Writers int           `json:"writers"`
	Second  float64       `json:"writes_per_second"`
	P50     time.Duration `json:"p50_ns"` // from sending a write to its acknowledgement
	P99     time.Duration `json:"p99_ns"`
}

// Visible is how long after its acknowledgement the answers show a write.
type Visible struct {
	Store string        `json:"store"`
	Where string        `json:"where"` // the same server or another
	P50   time.Duration `json:"p50_ns"`
	P99   time.Duration `json:"p99_ns"`
	Most  time.Duration `json:"most_ns"`
	// Late counts the writes that the first answer after the acknowledgement
	// did not show.
	Late int `json:"late"`
	Of   int `json:"of"`
}

// Run measures. How it goes is written to log.
func (p *Plan) Run(ctx context.Context, log io.Writer) (*Record, error) {
	r := &Record{Date: time.Now(), Plan: *p}
	dir, err := os.MkdirTemp("", "keep")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := r.disk(ctx, dir, log); err != nil {
		return nil, fmt.Errorf("with a disk: %w", err)
	}
	if _, err := exec.LookPath(p.Etcd); err != nil {
		r.Missing = "etcd is not installed: apt-get install etcd-server"
	} else if err := r.etcd(ctx, dir, log); err != nil {
		return nil, fmt.Errorf("with etcd: %w", err)
	}
	r.Took = time.Since(r.Date)
	return r, nil
}

func (r *Record) disk(ctx context.Context, dir string, log io.Writer) error {
	s, err := serve(ctx, r.Plan.Program, "--data", filepath.Join(dir, "data"))
	if err != nil {
		return err
	}
	defer s.Stop()
	if err := r.rates(ctx, "disk", s, log); err != nil {
		return err
	}
	return r.visible(ctx, "disk", s, s, log)
}

func (r *Record) etcd(ctx context.Context, dir string, log io.Writer) error {
	endpoint, stop, err := startEtcd(ctx, r.Plan.Etcd, filepath.Join(dir, "etcd"))
	if err != nil {
		return err
	}
	defer stop()
	var nodes [2]*server
	for i := range nodes {
		if nodes[i], err = serve(ctx, r.Plan.Program, "--etcd", endpoint); err != nil {
			return err
		}
		defer nodes[i].Stop()
	}
	if err := r.rates(ctx, "etcd", nodes[0], log); err != nil {
		return err
	}
	for _, other := range nodes {
		if err := r.visible(ctx, "etcd", nodes[0], other, log); err != nil {
			return err
		}
	}
	return nil
}

// rates measures every number of writers.
func (r *Record) rates(ctx context.Context, store string, s *server, log io.Writer) error {
	if err := s.importFacts(ctx, r.Plan.Machines); err != nil {
		return err
	}
	for _, writers := range r.Plan.Writers {
		took, err := s.write(ctx, min(writers, r.Plan.Machines), r.Plan.Duration)
		if err != nil {
			return err
		}
		rate := Rate{
			Store: store, Writers: writers, Second: float64(len(took)) / r.Plan.Duration.Seconds(),
			P50: quantile(took, 0.5), P99: quantile(took, 0.99),
		}
		r.Rates = append(r.Rates, rate)
		fmt.Fprintf(log, "%s, %d writers: %.0f writes a second, p50 %v, p99 %v\n", store, writers, rate.Second, rate.P50, rate.P99)
	}
	return nil
}

// visible times changes from their acknowledgement by one server to the answer of
// another, which may be the same.
func (r *Record) visible(ctx context.Context, store string, by, other *server, log io.Writer) error {
	v := Visible{Store: store, Where: "the same server", Of: r.Plan.Changes}
	if by != other {
		v.Where = "another server"
	}
	var took []time.Duration
	for i := range r.Plan.Changes {
		started := i%2 != 0
		if err := by.setState(ctx, 0, started); err != nil {
			return err
		}
		acknowledged := time.Now()
		for asked := 0; ; asked++ {
			is, err := other.isStarted(0)
			if err != nil {
				return err
			}
			if is == started {
				if asked > 0 {
					v.Late++
				}
				break
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if time.Since(acknowledged) > patience {
				return errors.New("an acknowledged change never shows")
			}
		}
		took = append(took, time.Since(acknowledged))
	}
	v.P50, v.P99, v.Most = quantile(took, 0.5), quantile(took, 0.99), quantile(took, 1)
	r.Visible = append(r.Visible, v)
	fmt.Fprintf(log, "%s, %s: answers show a change after p50 %v, p99 %v; %d of %d not at the first question\n", store, v.Where, v.P50, v.P99, v.Late, v.Of)
	return nil
}

// quantile returns the least duration that the share q of all does not exceed.
func quantile(ds []time.Duration, q float64) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	sorted := slices.SortedFunc(slices.Values(ds), cmp.Compare)
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// WriteMarkdown writes the record as a section of RESULTS.md.
func (r *Record) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("## A registry that is kept\n\n")
	fmt.Fprintf(&b, "internaldns, with %d machines, writes over HTTP on connections that stay, every write synced to disk, all on one\n", r.Plan.Machines)
	fmt.Fprintf(&b, "machine, as `bench/cmd/keep` measured it (%s UTC, %s", r.Date.UTC().Format("2006-01-02 15:04"), r.Took.Round(time.Second))
	if r.Commit != "" {
		fmt.Fprintf(&b, ", commit %s", r.Commit)
	}
	b.WriteString(")")
	if r.Command != "" {
		fmt.Fprintf(&b, ": `%s`", r.Command)
	}
	b.WriteString(".\n\n| kept | writers | writes/s | acknowledged p50 | p99 |\n|---|---:|---:|---:|---:|\n")
	for _, x := range r.Rates {
		fmt.Fprintf(&b, "| %s | %d | %.0f | %s | %s |\n", x.Store, x.Writers, x.Second, short(x.P50), short(x.P99))
	}
	b.WriteString("\nFrom the acknowledgement of a change to the answer that shows it, the question's way included:\n\n")
	b.WriteString("| kept | asked | p50 | p99 | most | not in the first answer |\n|---|---|---:|---:|---:|---:|\n")
	for _, v := range r.Visible {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %d of %d |\n", v.Store, v.Where, short(v.P50), short(v.P99), short(v.Most), v.Late, v.Of)
	}
	b.WriteString("\n")
	if r.Missing != "" {
		fmt.Fprintf(&b, "Not measured: %s.\n\n", r.Missing)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// short writes d with the digits that matter.
func short(d time.Duration) string {
	if d >= time.Millisecond {
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.0f µs", float64(d)/float64(time.Microsecond))
}
