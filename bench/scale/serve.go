//go:build linux

package scale

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"time"

	"github.com/internaldns/internaldns/bench/dataset"
	"github.com/internaldns/internaldns/bench/load"
)

// Questions are what the server is asked, at a constant rate. They are made
// from a seed, so that another process can make them.
type Questions struct {
	Server   netip.AddrPort `json:"server"`
	Seed     uint64         `json:"seed"`
	Shape    dataset.Shape  `json:"shape"`
	Count    int            `json:"count"` // before they repeat
	Rate     float64        `json:"rate"`
	Duration time.Duration  `json:"duration_ns"`
	CPU      int            `json:"cpu"` // of what asks; negative for any
}

// warmup comes before each measured time.
const warmup = 200 * time.Millisecond

// queries returns the questions as queries that know the right answer.
func (q *Questions) queries() ([]dataset.Query, error) {
	d, err := dataset.New(q.Seed, q.Shape)
	if err != nil {
		return nil, err
	}
	return d.Queries(dataset.DefaultTraffic(q.Count))
}

// A Generator asks the same questions again and again, and remembers them.
type Generator struct {
	made    Questions
	queries []dataset.Query
}

// Ask asks from this process.
func (g *Generator) Ask(ctx context.Context, q Questions) (load.Result, error) {
	if key := (Questions{Seed: q.Seed, Shape: q.Shape, Count: q.Count}); g.queries == nil || key != g.made {
		var err error
		if g.queries, err = q.queries(); err != nil {
			return load.Result{}, err
		}
		g.made = key
	}
	return load.Run(ctx, load.Options{
		Server: q.Server, Queries: g.queries, Rate: q.Rate, Warmup: warmup, Duration: q.Duration,
		Pin: q.CPU >= 0, CPU: max(0, q.CPU),
	})
}

// A State is what goes on in the process while the server is asked.
type State string

const (
	// Idle is a registry that does not change.
	Idle State = "idle"
	// Changing has updates fall due at a constant rate.
	Changing State = "changing"
	// Collecting is Changing with one collection after another, whatever the
	// setting: what is felt of each, however rare they are.
	Collecting State = "collecting"
	// Lasting is Changing for so long that collections come by themselves.
	Lasting State = "lasting"
)

// Round is the server asked once.
type Round struct {
	Setting  Setting     `json:"setting"`
	Round    int         `json:"round"`
	State    State       `json:"state"`
	Updating *Updating   `json:"updating,omitempty"` // nil if idle
	Queries  load.Result `json:"queries"`
	GC       Collected   `json:"gc"`
	// CPU is what this process took in Elapsed, without the one that asks if
	// that is another.
	CPU     time.Duration `json:"cpu_ns"`
	Elapsed time.Duration `json:"elapsed_ns"`
	// Memory is as the round ended.
	Memory Memory `json:"memory"`
}

// P99 returns the 99th percentile of the latency of all queries that were sent,
// where one that was lost took as long as the generator waited for it.
func (r *Round) P99() time.Duration {
	if q := &r.Queries; q.Lost*100 >= q.Sent {
		return q.Timeout
	}
	return r.Queries.Latency.P99
}

// serveRounds asks an idle registry and a changing one in turn, with each
// setting of the collector, and with the first also one that is collected all
// the time, and at last one that changes for long. picks must be of apps that are
// not asked for.
func (r *Runner) serveRounds(ctx context.Context, w *world, picks []pick, q Questions) (rounds []Round, err error) {
	addr, stop, err := w.serve(ctx, r.Plan.ServerCPU)
	if err != nil {
		return nil, err
	}
	defer func() {
		if e := stop(); err == nil {
			err = e
		}
	}()
	q.Server = addr
	for i, s := range r.Plan.Settings {
		states := []State{Idle, Changing, Collecting}
		if i > 0 {
			states = states[:2]
		}
		serve := func(n int, state State) error {
			round, err := r.serveOnce(ctx, w, picks, q, state)
			if err != nil {
				return err
			}
			round.Setting, round.Round = s, n
			rounds = append(rounds, round)
			r.say("  GOGC %v, round %d, %s", s, n+1, round.String())
			return nil
		}
		restore := s.apply()
		for n := range r.Plan.Rounds {
			for _, state := range states {
				if err == nil {
					err = serve(n, state)
				}
			}
		}
		if i == 0 && r.Plan.Lasting > 0 && err == nil {
			short := q.Duration
			q.Duration = r.Plan.Lasting
			err = serve(r.Plan.Rounds, Lasting)
			q.Duration = short
		}
		restore()
		if err != nil {
			return rounds, err
		}
	}
	return rounds, nil
}

// apply sets the collector so, after a collection, until restore is called.
func (s Setting) apply() (restore func()) {
	settled()
	limit := int64(-1) // leaves it
	if s.Limit > 0 {
		limit = int64(s.Limit * float64(inUse()))
	}
	oldPercent, oldLimit := debug.SetGCPercent(s.Percent), debug.SetMemoryLimit(limit)
	return func() {
		debug.SetGCPercent(oldPercent)
		debug.SetMemoryLimit(oldLimit)
	}
}

// inUse returns what GOMEMLIMIT limits, in octets.
func inUse() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}

func (r *Runner) serveOnce(ctx context.Context, w *world, picks []pick, q Questions, state State) (Round, error) {
	resetPeak()
	begun, cpu, collected := time.Now(), cpuTime(), readCollector()
	var (
		round  = Round{State: state}
		stop   = make(chan struct{})
		wg     sync.WaitGroup
		failed error // of the updates; read after wg.Wait
	)
	if state != Idle {
		round.Updating = new(Updating)
		wg.Go(func() { failed = w.updateAtRate(stop, picks, r.Plan.Rate, round.Updating) })
	}
	if state == Collecting {
		wg.Go(func() { collectUntil(stop) })
	}
	var err error
	round.Queries, err = r.Ask(ctx, q)
	close(stop)
	wg.Wait()
	if err == nil {
		err = failed
	}
	if err != nil {
		return round, err
	}
	round.CPU, round.Elapsed = cpuTime()-cpu, time.Since(begun)
	round.GC, round.Memory = readCollector().since(collected), memory()
	if res := &round.Queries; res.Wrong > 0 {
		return round, fmt.Errorf("%d of %d responses were wrong:\n%s", res.Wrong, res.Answered, strings.Join(res.Wrongs, "\n"))
	}
	if state != Idle {
		err = allShown(w.publisher, picks)
	}
	return round, err
}

// collectUntil has one collection follow another until stop is closed.
func collectUntil(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			runtime.GC()
		}
	}
}

func (r *Round) String() string {
	text := fmt.Sprintf("%s: p99 %s", r.State, short(r.P99()))
	if u := r.Updating; u != nil {
		text += fmt.Sprintf("; %s updates in %s commits, p99 %s", thousands(u.Updates), thousands(u.Commits), short(u.Latency.P99))
	}
	return fmt.Sprintf("%s; %d collections", text, r.GC.Cycles)
}
