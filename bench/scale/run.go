//go:build linux

package scale

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/internaldns/internaldns/bench/dataset"
	"github.com/internaldns/internaldns/bench/load"
)

// A Runner runs a plan once. Plan and Dir must be set.
type Runner struct {
	Plan Plan
	// Dir is where registry files are written, and profiles if there are any.
	Dir string
	// Ask has the server asked. Default: by a Generator in this process.
	Ask func(context.Context, Questions) (load.Result, error)
	// Progress, unless nil, is called with a line for people from time to time.
	Progress func(line string)
	// Profiles, unless "", is a directory for profiles of the single updates of
	// the largest registry: of processors' time, and of what is allocated.
	Profiles string
}

func (r *Runner) say(format string, args ...any) {
	if r.Progress != nil {
		r.Progress(fmt.Sprintf(format, args...))
	}
}

// queryCount is how many queries are asked before they repeat: enough for some
// thousand apps, and few enough to leave most to be updated.
const queryCount = 20_000

// Run measures. It returns what it has beside the error, if there is one.
func (r *Runner) Run(ctx context.Context) (*Record, error) {
	if err := r.Plan.Validate(); err != nil {
		return nil, err
	}
	if r.Ask == nil {
		r.Ask = new(Generator).Ask
	}
	old := debug.SetGCPercent(r.Plan.Settings[0].Percent)
	defer debug.SetGCPercent(old)
	rec := &Record{Date: time.Now().UTC(), Plan: r.Plan}
	err := r.parts(ctx, rec)
	rec.Took = time.Since(rec.Date)
	return rec, err
}

func (r *Runner) parts(ctx context.Context, rec *Record) error {
	for _, machines := range r.Plan.Smaller {
		if err := r.smaller(ctx, rec, machines); err != nil {
			return fmt.Errorf("%s machines: %w", thousands(machines), err)
		}
	}
	for _, machines := range r.Plan.BigApps {
		r.say("an app of %s machines", thousands(machines))
		runs, err := r.bigApp(ctx, machines)
		if err != nil {
			return fmt.Errorf("an app of %s machines: %w", thousands(machines), err)
		}
		rec.Apps = append(rec.Apps, runs...)
	}
	return r.largest(ctx, rec)
}

// smaller measures a registry's loading and its single updates.
func (r *Runner) smaller(ctx context.Context, rec *Record, machines int) error {
	w, _, err := r.loaded(ctx, rec, machines)
	if err != nil {
		return err
	}
	picks, err := w.picks(r.Plan.Updates, r.Plan.Seed, nil)
	if err != nil {
		return err
	}
	return r.single(ctx, rec, w, picks)
}

// loaded makes a registry of that many machines, from a file.
func (r *Runner) loaded(ctx context.Context, rec *Record, machines int) (*world, *dataset.Dataset, error) {
	r.say("%s machines", thousands(machines))
	d, err := dataset.New(r.Plan.Seed, r.Plan.shape(machines))
	if err != nil {
		return nil, nil, err
	}
	r.say("  writing a registry file")
	path, err := writeFacts(d, r.Dir)
	if err != nil {
		return nil, nil, err
	}
	w := newWorld()
	l, err := w.load(ctx, path, r.say)
	if err != nil {
		return nil, nil, err
	}
	rec.Loads = append(rec.Loads, l)
	r.say("  loaded in %s, %.0f octets of heap a machine", short(l.Total()), l.PerMachine())
	return w, d, nil
}

// single measures updates one by one, of each kind.
func (r *Runner) single(ctx context.Context, rec *Record, w *world, picks []pick) error {
	for _, kind := range []Kind{FlipState, MoveAddress} {
		u, err := w.updateOneByOne(ctx, picks, kind, r.Plan.Updates)
		if err != nil {
			return err
		}
		rec.Updates = append(rec.Updates, u)
		r.say("  %s updates of %s: median %s, p99 %s, %.0f octets each",
			thousands(u.Count), kind, short(u.Latency.P50), short(u.Latency.P99), u.Octets)
	}
	return nil
}

// largest measures everything else, on the largest registry.
func (r *Runner) largest(ctx context.Context, rec *Record) error {
	w, d, err := r.loaded(ctx, rec, r.Plan.Machines)
	if err != nil {
		return err
	}
	empty := rec.Loads[len(rec.Loads)-1].Before.Heap
	q := Questions{Seed: r.Plan.Seed, Shape: d.Shape(), Rate: r.Plan.QueryRate, Duration: r.Plan.Duration, CPU: r.Plan.LoadCPU}
	q.Count = min(queryCount, d.Shape().Apps/2) // leaves apps to be updated, whatever is drawn
	asked, err := q.apps()
	if err != nil {
		return err
	}
	picks, err := w.picks(max(r.Plan.Updates, 2*mostAtOnce), r.Plan.Seed, asked)
	if err != nil {
		return err
	}
	stop, err := r.profile()
	if err != nil {
		return err
	}
	if err := r.single(ctx, rec, w, picks); err != nil {
		return err
	}
	if err := stop(); err != nil {
		return err
	}
	for _, batch := range r.Plan.Batches {
		rate, err := w.updateInBatches(ctx, picks, batch, r.Plan.Duration)
		if err != nil {
			return fmt.Errorf("batches of %d: %w", batch, err)
		}
		rec.Rates = append(rec.Rates, rate)
		r.say("  %s updates/s in batches of %d", thousands(int(rate.PerSecond())), rate.Batch)
	}
	if rec.Rounds, err = r.serveRounds(ctx, w, picks, q); err != nil {
		return err
	}
	picks, asked = nil, nil
	r.say("  deleting nine of ten machines, and then the rest")
	rec.Deletions, err = r.deleteMost(ctx, w, empty)
	runtime.KeepAlive(w)
	return err
}

// apps returns the names of the apps that are asked for.
func (q *Questions) apps() (map[string]bool, error) {
	queries, err := q.queries()
	if err != nil {
		return nil, err
	}
	asked := make(map[string]bool)
	for i := range queries {
		labels := strings.Split(queries[i].Name(), ".") // … app, internal, ""
		asked[labels[len(labels)-3]] = true
	}
	return asked, nil
}

// profile profiles until stop is called.
func (r *Runner) profile() (stop func() error, err error) {
	if r.Profiles == "" {
		return func() error { return nil }, nil
	}
	cpu, err := os.Create(filepath.Join(r.Profiles, "updates.cpu.prof"))
	if err != nil {
		return nil, err
	}
	if err := writeAllocs(filepath.Join(r.Profiles, "before.allocs.prof")); err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		if err := cpu.Close(); err != nil {
			return err
		}
		return writeAllocs(filepath.Join(r.Profiles, "updates.allocs.prof"))
	}, nil
}

// writeAllocs writes what was allocated so far.
func writeAllocs(path string) error {
	runtime.GC() // the profile is as of the last collection
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return pprof.Lookup("allocs").WriteTo(f, 0)
}
