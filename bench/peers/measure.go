//go:build linux

package peers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/internaldns/internaldns/bench/dataset"
	"github.com/internaldns/internaldns/bench/load"
)

// Runner carries out a plan.
type Runner struct {
	Plan  Plan
	Tools Tools
	// Dir holds the files of datasets and servers. The caller removes it.
	Dir string
	// Progress is called with one line for each step.
	Progress func(string)

	began time.Time
	limit time.Duration
}

// Run measures what the plan says and returns the record, also of a run that
// was cut short, with the reason as its error.
func (r *Runner) Run(ctx context.Context) (*Record, error) {
	if err := r.Plan.Validate(); err != nil {
		return nil, err
	}
	var likely time.Duration
	likely, r.limit = r.Plan.Estimate()
	r.began = time.Now()
	r.say("this takes about %v, and ends after %v at the latest", likely.Round(time.Second), r.limit.Round(time.Second))
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()

	rec := &Record{Date: r.began, Plan: r.Plan, Host: DescribeHost()}
	if r.Tools.Echo == "" && r.Tools.EchoErr != nil {
		rec.Notes = append(rec.Notes, fmt.Sprintf("The echo is the one in Go: %v.", r.Tools.EchoErr))
	}
	present := r.present(ctx, rec)
	err := r.allSeries(ctx, rec, present)
	if err == nil {
		err = r.overload(ctx, rec, present)
	}
	rec.Took = time.Since(r.began)
	return rec, err
}

func (r *Runner) say(format string, args ...any) {
	if r.Progress != nil {
		r.Progress(fmt.Sprintf("%6s  ", time.Since(r.began).Round(time.Second)) + fmt.Sprintf(format, args...))
	}
}

// present notes every server that the plan asks, and returns those that are there.
func (r *Runner) present(ctx context.Context, rec *Record) []Peer {
	var there []Peer
	for _, p := range choose(Known(r.Tools), r.Plan.asked()...) {
		s := Server{Name: p.Name}
		version, err := p.Version(ctx)
		if err != nil {
			s.Missing, s.Get = err.Error(), p.Get
			r.say("%s is missing: %v (%s)", p.Name, err, p.Get)
		} else {
			s.Version = version
			there = append(there, p)
		}
		rec.Servers = append(rec.Servers, s)
	}
	return there
}

func (r *Runner) allSeries(ctx context.Context, rec *Record, present []Peer) error {
	all, servers := r.Plan.series()
	for i, s := range all {
		err := r.series(ctx, &s, choose(present, servers[i]...))
		rec.Series = append(rec.Series, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Title, err)
		}
	}
	return nil
}

// series starts all servers, measures them in rounds, and stops them.
func (r *Runner) series(ctx context.Context, s *Series, peers []Peer) (err error) {
	r.say("%s: making the facts", s.Title)
	site, queries, err := r.facts(s.Machines, s.UDPSize, peers)
	if err != nil {
		return err
	}
	w := &work{transport: s.Transport, udpSize: s.UDPSize, queries: queries}
	first := probe(queries)
	if s.forwards() {
		up, stop, err := startUpstream(ctx)
		if err != nil {
			return fmt.Errorf("start the upstream: %w", err)
		}
		defer func() { err = errors.Join(err, stop()) }()
		site.Upstream, w.upstream = up.Addr(), up
		w.queries = names(r.Plan.Names, s.UDPSize)
		first = &w.queries[0]
	}
	running, started := r.start(ctx, site, peers, s.Machines, first)
	defer func() {
		for _, pr := range running {
			pr.stop()
		}
	}()
	s.Started = started
	switch s.Key {
	case keyHits:
		for _, pr := range running {
			if err := r.warm(ctx, pr, w); err != nil {
				return err
			}
		}
	case keyMisses:
		w.queries = nil
	}
	for round := range r.Plan.Rounds {
		// Each round begins with another server: none always follows the same.
		first := round % max(1, len(running))
		for _, pr := range append(slices.Clone(running[first:]), running[:first]...) {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			m := r.one(ctx, pr, w)
			m.Round = round
			s.Rounds = append(s.Rounds, m)
			r.say("%s, round %d of %d: %s", s.Title, round+1, r.Plan.Rounds, m.line())
		}
	}
	return ctx.Err()
}

// facts writes the files that the servers read, unless they are there, and
// returns the queries.
func (r *Runner) facts(machines int, udpSize uint16, peers []Peer) (Site, []dataset.Query, error) {
	d, err := dataset.New(r.Plan.Seed, dataset.DefaultShape(machines))
	if err != nil {
		return Site{}, nil, err
	}
	traffic := dataset.DefaultTraffic(r.Plan.Queries)
	traffic.UDPSize = udpSize
	queries, err := d.Queries(traffic)
	if err != nil {
		return Site{}, nil, err
	}
	site := Site{
		Dir:      filepath.Join(r.Dir, fmt.Sprint(machines)),
		Listen:   netip.MustParseAddrPort("127.0.0.1:0"),
		Registry: filepath.Join(r.Dir, fmt.Sprint(machines), "registry.json"),
		Master:   filepath.Join(r.Dir, fmt.Sprint(machines), "internal.zone"),
		Network:  d.Network(traffic.Network),
	}
	if err := os.MkdirAll(site.Dir, 0o755); err != nil {
		return Site{}, nil, err
	}
	if slices.ContainsFunc(peers, func(p Peer) bool { return p.Registry }) {
		err = writeOnce(site.Registry, func(f *os.File) error { return d.WriteRegistry(f) })
	}
	if err == nil && slices.ContainsFunc(peers, func(p Peer) bool { return !p.Registry && !p.Echo && !p.Forwards }) {
		err = writeOnce(site.Master, func(f *os.File) error { return d.WriteMaster(f, traffic.Network) })
	}
	return site, queries, err
}

func writeOnce(path string, write func(*os.File) error) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		os.Remove(path) // half a file would be taken for a whole one
		return err
	}
	return nil
}

// probe returns a query that has answers: a server that is still loading gives none.
func probe(queries []dataset.Query) *dataset.Query {
	for i := range queries {
		if q := &queries[i]; q.Kind == dataset.AppAAAA && q.Want.Answers > 0 {
			return q
		}
	}
	return &queries[0]
}

// start starts the servers one after another. One that does not start is noted
// and left out.
func (r *Runner) start(ctx context.Context, site Site, peers []Peer, machines int, probe *dataset.Query) ([]*process, []Started) {
	var running []*process
	var notes []Started
	for _, p := range peers {
		limited, cancel := context.WithTimeout(ctx, startLimit(machines))
		pr, err := start(limited, p, site, r.Plan.ServerCPU, probe)
		cancel()
		if err != nil {
			r.say("%s does not start: %v", p.Name, err)
			notes = append(notes, Started{Peer: p.Name, Error: err.Error()})
			continue
		}
		note := Started{Peer: p.Name, Command: pr.shown(), Loaded: pr.loaded, Memory: memory(pr.pids())}
		r.say("%s has loaded %s machines in %v, and holds %d MiB", p.Name, thousands(machines), pr.loaded.Round(time.Millisecond), note.Memory>>20)
		running = append(running, pr)
		notes = append(notes, note)
	}
	// Making queries and files leaves garbage: collect it now and not while measuring.
	debug.FreeOSMemory()
	return running, notes
}

// options returns what all runs of the generator have in common.
func (r *Runner) options(pr *process, w *work) load.Options {
	o := load.Options{
		Server:    pr.addr,
		Transport: w.transport,
		Queries:   w.queries,
		Sockets:   r.Plan.Sockets,
		Window:    r.Plan.Window,
		Warmup:    r.Plan.Warmup,
		Timeout:   responseTimeout,
		Echo:      pr.peer.Echo,
		Pin:       r.Plan.LoadCPU >= 0,
		CPU:       max(0, r.Plan.LoadCPU),
	}
	if w.transport == load.TCPOnce {
		o.Window = onceWindow
	}
	if w.queries == nil {
		o.Ask = w.ask(pr)
	}
	return o
}

// one measures one server once.
func (r *Runner) one(ctx context.Context, pr *process, w *work) Measurement {
	m := Measurement{Peer: pr.peer.Name}
	pids := pr.pids()
	upstream := func() uint64 { return 0 }
	if w.upstream != nil {
		upstream = func() uint64 { return w.upstream.Counts().Queries } // which the generator holds
	}
	o := r.options(pr, w)
	o.Duration = r.Plan.Measure
	o.Begin = func() { m.CPU, m.Upstream = -cpuTime(pids), -upstream() }
	o.End = func() { m.CPU, m.Upstream = m.CPU+cpuTime(pids), m.Upstream+upstream() }
	var err error
	if m.Peak, err = w.run(ctx, o); err != nil {
		m.Error = err.Error()
		return m
	}
	o = r.options(pr, w)
	o.Duration = r.Plan.Half
	o.Rate = max(1, m.Peak.QPS()/2)
	if m.Half, err = w.run(ctx, o); err != nil {
		m.Error = err.Error()
	}
	m.Memory = memory(pids)
	return m
}

// line tells the measurement in a line.
func (m *Measurement) line() string {
	if m.Error != "" {
		return m.Peer + ": " + m.Error
	}
	s := fmt.Sprintf("%s: %.0f queries/s, %.2f µs of CPU each, CPU %.0f %% busy, p50 %v and p99 %v at half",
		m.Peer, m.Peak.QPS(), m.CPUPerQuery()/1e3, 100*m.Busy(), m.Half.Latency.P50, m.Half.Latency.P99)
	if m.Upstream > 0 {
		s += fmt.Sprintf(", %.3f upstream each", m.PerAnswer())
	}
	if wrong := m.Peak.Wrong + m.Half.Wrong; wrong > 0 {
		s += fmt.Sprintf(", %d WRONG", wrong)
	}
	if lost := m.Peak.Lost + m.Half.Lost; lost > 0 {
		s += fmt.Sprintf(", %d lost", lost)
	}
	return s
}
