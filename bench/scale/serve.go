//go:build linux

package scale

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/internaldns/internaldns/bench/harness"
	"github.com/internaldns/internaldns/bench/load"
)

// What the registry does while queries are answered.
const (
	idle       = "idle"       // no change
	changing   = "changing"   // updates at a constant rate
	collecting = "collecting" // the same, with one collection after another
	lasting    = "lasting"    // changing, for so long that collections come by themselves
)

// Round is one measurement of queries at a constant rate.
type Round struct {
	GC       string      `json:"gc"` // setting of the collector
	State    string      `json:"state"`
	Updating *Updating   `json:"updating,omitempty"` // nil if idle
	Queries  load.Result `json:"queries"`
	Usage    Usage       `json:"usage"`  // of this process, without the generator
	Memory   Memory      `json:"memory"` // as the round ended
}

// P99 returns the 99th percentile of the latency of all queries that were sent. A
// lost query counts as one that took the timeout.
func (r *Round) P99() time.Duration {
	if q := &r.Queries; q.Lost*100 >= q.Sent {
		return q.Timeout
	}
	return r.Queries.Latency.P99
}

// warmup comes before each measured time.
const warmup = 200 * time.Millisecond

// serveRounds sends queries while the registry is idle and while it changes, in
// turn, with each setting of the collector; with the first setting also while
// collections follow each other, and at last while the registry changes for long.
// picks must be of apps that the queries of the file do not ask for.
func (s *Scenario) serveRounds(ctx context.Context, env *harness.Env, w *world, picks []pick, queries string) (err error) {
	addr, stop, err := w.serve(ctx, s.Plan.ServerCPU)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	once := func(gc, state string, d time.Duration) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		r := Round{GC: gc, State: state}
		err := r.measure(w, picks, s.Plan.Rate, func() (*load.Result, error) {
			return harness.Load(ctx, addr.String(), "--queries", queries, "--rate", strconv.FormatFloat(s.Plan.QueryRate, 'f', -1, 64),
				"--warmup", warmup.String(), "--duration", d.String(), "--cpu", strconv.Itoa(s.Plan.LoadCPU))
		})
		if err != nil {
			return err
		}
		s.Rounds = append(s.Rounds, r)
		env.Say("  GOGC %s, %s: p99 %s; %d collections", gc, state, harness.Time(r.P99()), r.Usage.Cycles)
		return nil
	}
	for i, gc := range s.Plan.GC {
		states := []string{idle, changing, collecting}
		if i > 0 {
			states = states[:2]
		}
		restore, err := setGC(gc)
		if err != nil {
			return err
		}
		for range s.Plan.Rounds {
			for _, state := range states {
				if err == nil {
					err = once(gc, state, s.Plan.Duration)
				}
			}
		}
		if i == 0 && s.Plan.Lasting > 0 && err == nil {
			err = once(gc, lasting, s.Plan.Lasting)
		}
		restore()
		if err != nil {
			return err
		}
	}
	return nil
}

// setGC collects, and sets the collector until restore is called.
func setGC(text string) (restore func(), err error) {
	percent, multiple, err := parseGC(text)
	if err != nil {
		return nil, err
	}
	settled()
	limit := int64(-1) // leaves it
	if multiple > 0 {
		inUse := read("/memory/classes/total:bytes") - read("/memory/classes/heap/released:bytes") // what GOMEMLIMIT limits
		limit = int64(multiple * float64(inUse))
	}
	percent, limit = debug.SetGCPercent(percent), debug.SetMemoryLimit(limit)
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}, nil
}

// measure calls ask, which sends queries, while the registry is in the state of
// the round.
func (r *Round) measure(w *world, picks []pick, rate float64, ask func() (*load.Result, error)) error {
	resetPeak()
	var (
		used   = use()
		stop   = make(chan struct{})
		wg     sync.WaitGroup
		failed error // of the updates; read after wg.Wait
	)
	if r.State != idle {
		r.Updating = new(Updating)
		wg.Go(func() { failed = w.updateAtRate(stop, picks, rate, r.Updating) })
	}
	if r.State == collecting {
		wg.Go(func() { collectUntil(stop) })
	}
	queries, err := ask()
	close(stop)
	wg.Wait()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	r.Queries, r.Usage, r.Memory = *queries, used(), memory()
	if queries.Wrong > 0 {
		return fmt.Errorf("%d of %d responses were wrong:\n%s", queries.Wrong, queries.Answered, strings.Join(queries.Wrongs, "\n"))
	}
	if r.State == idle {
		return nil
	}
	return allShown(w.publisher, picks)
}

// collectUntil makes one collection after another until stop is closed.
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
