//go:build linux

package scale

import (
	"context"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/internaldns/internaldns/bench/dataset"
	"github.com/internaldns/internaldns/bench/harness"
	"github.com/internaldns/internaldns/registry"
)

// Kind is the scenario.
var Kind = harness.Kind{
	Name:  "scale",
	Title: "Scale",
	Short: "Measure internaldns with a large registry",
	Long: "scale runs the parts of internaldns in this process, with a made-up registry of any size, and measures\n" +
		"loading, memory, single updates and many, queries while facts change, one large app, and deletion.\n" +
		"Every update is looked up and every response checked.",
	Example: "  bench scale                                        # 1,000,000 machines, as published\n" +
		"  bench scale --estimate                             # how long that takes, and how much memory\n" +
		"  bench scale --machines 20000 --apps 2000 --rounds 2 --gc 100",
	New: func() harness.Scenario { return newScenario() },
}

// Scenario is the plan and the figures.
type Scenario struct {
	Plan    Plan      `json:"plan"`
	Loads   []Load    `json:"loads"`
	Updates []Updates `json:"updates"` // of machines among many
	Apps    []Updates `json:"apps"`    // of the machines of one app
	Batches []Batches `json:"batches"`
	// Rounds are in turn: idle, changing, and collecting with the first setting.
	Rounds    []Round    `json:"rounds"`
	Deletions []Deletion `json:"deletions"`
}

// Plan says what is measured.
type Plan struct {
	// Machines and Apps are the size of the largest registry, of one network, on
	// which everything is measured.
	Machines int `json:"machines"`
	Apps     int `json:"apps"`
	// Smaller are numbers of machines of registries with which single updates are
	// measured too, to show that their cost does not grow.
	Smaller []int `json:"smaller"`
	// BigApps are numbers of machines of apps that are alone in their registry.
	BigApps []int `json:"big_apps"`

	// Updates is how many single updates of each kind are timed, and AppUpdates
	// how many of each big app.
	Updates    int `json:"updates"`
	AppUpdates int `json:"app_updates"`
	// Batches are the numbers of updates in one Apply, for the most a second.
	Batches []int `json:"batches"`

	// Rate is how many updates are due a second while queries are answered, and
	// QueryRate how many queries.
	Rate      float64 `json:"rate"`
	QueryRate float64 `json:"query_rate"`
	// Duration is the measured time of one round and of each batch size. Rounds is
	// how often an idle registry and a changing one are measured in turn.
	Duration time.Duration `json:"duration_ns"`
	Rounds   int           `json:"rounds"`
	// Lasting is the measured time of one more round of changes, with the first
	// setting of the collector; 0 for none.
	Lasting time.Duration `json:"lasting_ns"`
	// GC are settings of the garbage collector, as parseGC reads them. All rounds
	// run with each; everything else runs with the first.
	GC []string `json:"gc"`

	// ServerCPU is the CPU of this process while queries are answered, and LoadCPU
	// that of the generator; negative for any.
	ServerCPU int    `json:"server_cpu"`
	LoadCPU   int    `json:"load_cpu"`
	Seed      uint64 `json:"seed"`
}

func newScenario() *Scenario {
	return &Scenario{Plan: Plan{
		Machines: 1_000_000, Apps: 100_000, Smaller: []int{1_000, 100_000}, BigApps: []int{1_000, 10_000},
		Updates: 4_000, AppUpdates: 10_000, Batches: []int{1, 10, 100, 1_000},
		Rate: 5_000, QueryRate: 10_000, Duration: time.Second, Rounds: 7, Lasting: time.Minute,
		GC: []string{"100", "50", "25", "off/1.3"}, ServerCPU: -1, LoadCPU: -1, Seed: 1,
	}}
}

// Flags adds a flag for each field of the plan.
func (s *Scenario) Flags(f *pflag.FlagSet) {
	p := &s.Plan
	f.IntVar(&p.Machines, "machines", p.Machines, "`MACHINES` of the largest registry")
	f.IntVar(&p.Apps, "apps", p.Apps, "its `APPS`")
	f.IntSliceVar(&p.Smaller, "smaller", p.Smaller, "`MACHINES` of smaller registries, for single updates")
	f.IntSliceVar(&p.BigApps, "big-apps", p.BigApps, "`MACHINES` of apps that are alone in their registry")
	f.IntVar(&p.Updates, "updates", p.Updates, "single `UPDATES` of each kind")
	f.IntVar(&p.AppUpdates, "app-updates", p.AppUpdates, "`UPDATES` of each big app")
	f.IntSliceVar(&p.Batches, "batches", p.Batches, "`UPDATES` in one commit, for the most a second")
	f.Float64Var(&p.Rate, "rate", p.Rate, "`UPDATES` a second while queries are answered")
	f.Float64Var(&p.QueryRate, "query-rate", p.QueryRate, "`QUERIES` a second meanwhile")
	f.DurationVar(&p.Duration, "duration", p.Duration, "measured `TIME` of each round and batch size")
	f.IntVar(&p.Rounds, "rounds", p.Rounds, "`TIMES` that an idle and a changing registry are measured, for each setting")
	f.DurationVar(&p.Lasting, "lasting", p.Lasting, "measured `TIME` of one long round of changes, 0 for none")
	f.StringSliceVar(&p.GC, "gc", p.GC, "`SETTINGS` of the collector: GOGC, or GOGC/LIMIT with GOMEMLIMIT as a multiple of the memory in use")
	f.IntVar(&p.ServerCPU, "server-cpu", p.ServerCPU, "`CPU` of this process while queries are answered, -1 for any")
	f.IntVar(&p.LoadCPU, "load-cpu", p.LoadCPU, "`CPU` of the generator, -1 for any")
	f.Uint64Var(&p.Seed, "seed", p.Seed, "`SEED` of facts and queries")
}

// parseGC reads a setting of the garbage collector: 100, 50, off/1.3, 100/1.5. The
// number before the slash is GOGC, -1 for off; that behind it is GOMEMLIMIT as a
// multiple of the memory in use once the facts are loaded, 0 for none.
func parseGC(text string) (percent int, limit float64, err error) {
	before, after, limited := strings.Cut(text, "/")
	percent = -1
	if before != "off" {
		if percent, err = strconv.Atoi(before); err != nil || percent < 1 {
			return 0, 0, fmt.Errorf("gc: GOGC must be a positive number or off, got %q", text)
		}
	}
	if limited {
		if limit, err = strconv.ParseFloat(after, 64); err != nil || limit < 1.05 || limit > 100 {
			return 0, 0, fmt.Errorf("gc: the limit must be a multiple of the memory in use, from 1.05 to 100, got %q", text)
		}
	} else if percent < 0 {
		return 0, 0, fmt.Errorf("gc: without GOGC there must be a limit, as in off/1.3, got %q", text)
	}
	return percent, limit, nil
}

// minMachines leaves enough machines to update in apps that are not asked for.
const minMachines = 100

// Validate returns every fault of the plan.
func (s *Scenario) Validate() error {
	var f harness.Faults
	p := &s.Plan
	f.Least("machines", minMachines, p.Machines)
	if p.Apps < 1 || p.Apps > p.Machines/5 {
		f.Add("apps: must have five machines or more on average, got %d apps", p.Apps)
	}
	f.Least("smaller", minMachines, p.Smaller...)
	f.Least("big-apps", minMachines, p.BigApps...)
	f.Least("updates", 10, p.Updates)
	f.Least("app-updates", 10, p.AppUpdates)
	f.Least("batches", 1, p.Batches...)
	f.Least("rounds", 1, p.Rounds)
	if p.Rate <= 0 || p.QueryRate <= 0 || math.IsInf(p.Rate+p.QueryRate, 1) {
		f.Add("rate, query-rate: must be positive, got %v and %v", p.Rate, p.QueryRate)
	}
	if p.Duration < 10*time.Millisecond || p.Lasting < 0 {
		f.Add("duration, lasting: must be 10ms or longer (lasting 0), got %v and %v", p.Duration, p.Lasting)
	}
	if len(p.GC) == 0 {
		f.Add("gc: must not be empty")
	}
	for _, text := range p.GC {
		if _, _, err := parseGC(text); err != nil {
			f.Add("%w", err)
		}
	}
	if p.ServerCPU >= 0 && p.ServerCPU == p.LoadCPU {
		f.Add("server-cpu, load-cpu: must differ, or the generator takes time from the server")
	}
	return f.Err()
}

// What a run takes on one shared processor of 2026, for Estimate.
const (
	loadPerMachine   = 60 * time.Microsecond // made, written, parsed, applied
	deletePerMachine = 20 * time.Microsecond
	onePerUpdate     = 400 * time.Microsecond
	peakPerMachine   = 8 << 10 // octets of memory while the difference is applied
	filePerMachine   = 1 << 10 // octets of the registry file
)

// Estimate returns the time, memory and disk that Run takes.
func (s *Scenario) Estimate() string {
	p := &s.Plan
	machines := p.Machines
	for _, n := range p.Smaller {
		machines += n
	}
	rounds := time.Duration(p.Rounds * (1 + 2*len(p.GC)))
	t := time.Duration(machines)*loadPerMachine + time.Duration(p.Machines)*deletePerMachine +
		time.Duration(2*p.Updates*(1+len(p.Smaller))+2*p.AppUpdates*len(p.BigApps))*onePerUpdate +
		time.Duration(len(p.Batches))*p.Duration + rounds*(p.Duration+2*warmup) + p.Lasting
	return fmt.Sprintf("about %v, %s of memory and %s of disk", t.Round(time.Second), harness.Octets(p.memory()), harness.Octets(uint64(p.Machines)*filePerMachine))
}

// memory returns the octets that Run needs.
func (p *Plan) memory() uint64 { return 64<<20 + uint64(p.Machines)*peakPerMachine }

// Run measures.
func (s *Scenario) Run(ctx context.Context, env *harness.Env) error {
	p := &s.Plan
	if free := harness.ProcField("/proc/meminfo", "MemAvailable:"); free < p.memory() {
		return fmt.Errorf("only %s of memory are available; use fewer --machines", harness.Octets(free))
	}
	percent, _, err := parseGC(p.GC[0])
	if err != nil {
		return err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(percent))
	for _, machines := range p.Smaller {
		w, err := s.load(ctx, env, p.shape(machines))
		if err != nil {
			return err
		}
		picks, err := w.picks(p.Updates, p.Seed, nil)
		if err != nil {
			return err
		}
		if err := s.single(ctx, env, w, picks); err != nil {
			return err
		}
	}
	for _, machines := range p.BigApps {
		if err := s.bigApp(ctx, env, machines); err != nil {
			return fmt.Errorf("an app of %d machines: %w", machines, err)
		}
	}
	return s.largest(ctx, env)
}

// shape returns the shape of one network with that many machines, with as many
// machines to an app as the largest registry has.
func (p *Plan) shape(machines int) dataset.Shape {
	shape := dataset.DefaultShape(machines)
	shape.Apps = max(1, int(int64(machines)*int64(p.Apps)/int64(p.Machines)))
	shape.Largest = max(shape.Largest, 4*machines/shape.Apps)
	return shape
}

// load returns a world with facts of that shape, which it loads from a file.
func (s *Scenario) load(ctx context.Context, env *harness.Env, shape dataset.Shape) (*world, error) {
	env.Say("%s machines: writing a registry file", harness.Count(shape.Machines))
	path, err := writeFacts(s.Plan.Seed, shape, env.Dir)
	if err != nil {
		return nil, err
	}
	env.Say("  loading it")
	w := newWorld()
	l, err := w.load(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("load %d machines: %w", shape.Machines, err)
	}
	s.Loads = append(s.Loads, l)
	env.Say("  loaded in %s, %.0f octets of heap a machine", harness.Time(l.Total()), l.PerMachine())
	return w, nil
}

// single measures updates one by one, of each kind.
func (s *Scenario) single(ctx context.Context, env *harness.Env, w *world, picks []pick) error {
	for _, what := range []string{state, address} {
		u, err := w.updateOneByOne(ctx, picks, what, s.Plan.Updates)
		if err != nil {
			return err
		}
		s.Updates = append(s.Updates, u)
		env.Say("  %s updates of %s: median %s, p99 %s", harness.Count(u.Count), what, harness.Time(u.P50), harness.Time(u.P99))
	}
	return nil
}

// bigApp fills an app machine by machine, and then updates its machines.
func (s *Scenario) bigApp(ctx context.Context, env *harness.Env, machines int) error {
	env.Say("an app of %s machines", harness.Count(machines))
	path, err := writeFacts(s.Plan.Seed, dataset.Shape{Networks: 1, Apps: 1, Machines: machines, Stopped: 0.04}, env.Dir)
	if err != nil {
		return err
	}
	facts, err := parse(path)
	if err != nil {
		return err
	}
	w := newWorld()
	if _, err := w.store.Apply([]registry.Event{registry.Put(&facts.Apps[0])}); err != nil {
		return err
	}
	picks := make([]pick, len(facts.Machines))
	for i, m := range facts.Machines {
		picks[i] = newPick(m)
	}
	for _, u := range []struct {
		what  string
		count int
	}{{added, machines}, {state, s.Plan.AppUpdates}} {
		updates, err := w.updateOneByOne(ctx, picks, u.what, u.count)
		if err != nil {
			return err
		}
		s.Apps = append(s.Apps, updates)
	}
	return allShown(w.publisher, picks)
}

// queryCount is how many queries are sent before they repeat: enough for some
// thousand apps, and few enough to leave most apps to be updated.
const queryCount = 20_000

// largest measures everything else, on the largest registry.
func (s *Scenario) largest(ctx context.Context, env *harness.Env) error {
	p := &s.Plan
	shape := p.shape(p.Machines)
	w, err := s.load(ctx, env, shape)
	if err != nil {
		return err
	}
	empty := s.Loads[len(s.Loads)-1].Before.Heap
	queries, asked, err := writeQueries(p.Seed, shape, env.Dir)
	if err != nil {
		return err
	}
	picks, err := w.picks(max(p.Updates, 2*mostAtOnce), p.Seed, asked)
	if err != nil {
		return err
	}
	if err := s.single(ctx, env, w, picks); err != nil {
		return err
	}
	for _, batch := range p.Batches {
		b, err := w.updateInBatches(ctx, picks, batch, p.Duration)
		if err != nil {
			return fmt.Errorf("batches of %d: %w", batch, err)
		}
		s.Batches = append(s.Batches, b)
		env.Say("  %s updates/s in batches of %d", harness.Count(b.PerSecond()), b.Size)
	}
	if err := s.serveRounds(ctx, env, w, picks, queries); err != nil {
		return err
	}
	picks, asked = nil, nil
	env.Say("  deleting nine of ten machines, and then the rest")
	s.Deletions, err = deleteMost(ctx, w, empty, env.Dir)
	runtime.KeepAlive(w)
	return err
}

// writeQueries writes the queries to a file in dir, and returns it and the names
// of the apps that they ask for.
func writeQueries(seed uint64, shape dataset.Shape, dir string) (path string, apps map[string]bool, err error) {
	d, err := dataset.New(seed, shape)
	if err != nil {
		return "", nil, err
	}
	// At most half as many queries as apps leave apps to be updated in any case.
	queries, err := d.Queries(dataset.DefaultTraffic(min(queryCount, shape.Apps/2)))
	if err != nil {
		return "", nil, err
	}
	apps = map[string]bool{}
	for i := range queries {
		labels := strings.Split(queries[i].Name(), ".") // … app, internal, ""
		apps[labels[len(labels)-3]] = true
	}
	path = filepath.Join(dir, "queries")
	return path, apps, harness.WriteFile(path, func(f io.Writer) error { return dataset.WriteQueries(f, queries) })
}
