//go:build linux

package peers

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/internaldns/internaldns/bench/dataset"
	"github.com/internaldns/internaldns/bench/load"
	"github.com/internaldns/internaldns/bench/upstream"
)

// Forwarders are measured twice. With hits, all names have been asked before,
// and the upstream hears nothing. With misses, no name has, and every answer
// takes a question to the upstream, which the generator's own thread answers: a
// server pays for its sockets, and for waking nobody.
const (
	keyHits   = "forward-hits"
	keyMisses = "forward-misses"
)

func (s *Series) forwards() bool { return s.Key == keyHits || s.Key == keyMisses }

const (
	// mostNames is the number of names that every cache here has room for. New
	// names have numbers from it.
	mostNames = 100_000

	// warmLimit is how often a server is asked for all names before it is
	// measured, at most: it may lose queries, or not keep an answer at once.
	warmLimit = 8
)

// warmTime is long enough to ask the slowest server for all names.
func (p *Plan) warmTime() time.Duration {
	return p.Measure + time.Duration(p.Names)*100*time.Microsecond
}

// work is what the servers of a series are asked.
type work struct {
	transport load.Transport
	udpSize   uint16
	queries   []dataset.Query  // again and again; nil: a new name with every query
	upstream  *upstream.Server // of forwarders; nil for others
}

// startUpstream starts the server that forwarders forward to.
func startUpstream(ctx context.Context) (s *upstream.Server, stop func() error, err error) {
	s, err = upstream.Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return s, func() error {
		cancel()
		err := <-done
		s.Close()
		return err
	}, nil
}

// names returns the queries for that many names.
func names(n int, udpSize uint16) []dataset.Query {
	queries := make([]dataset.Query, n)
	for i := range queries {
		upstream.Question(uint32(i), udpSize, &queries[i])
	}
	return queries
}

// warm asks a forwarder for all names until none of them reaches the upstream any
// more. What is still missing then shows in the figures.
func (r *Runner) warm(ctx context.Context, pr *process, w *work) error {
	if pr.peer.Echo {
		return nil
	}
	for pass := range warmLimit {
		o := r.options(pr, w)
		o.Duration, o.Warmup = r.Plan.warmTime(), 0
		before := w.heard()
		got, err := w.run(ctx, o)
		if err != nil {
			return fmt.Errorf("fill the cache of %s: %w", pr.peer.Name, err)
		}
		if w.heard() == before && got.Sent >= uint64(len(w.queries)) {
			r.say("%s has all %s names in its cache after %d passes", pr.peer.Name, thousands(len(w.queries)), pass)
			return nil
		}
	}
	r.say("%s still asks upstream after %d passes", pr.peer.Name, warmLimit)
	return nil
}

// heard returns how many queries have reached the upstream.
func (w *work) heard() uint64 {
	defer w.upstream.Hold()()
	return w.upstream.Counts().Queries
}

// run runs the generator, and has it work for the upstream, if there is one.
func (w *work) run(ctx context.Context, o load.Options) (load.Result, error) {
	if w.upstream != nil {
		defer w.upstream.Hold()()
		o.Beside = w.upstream.Turn
	}
	return load.Run(ctx, o)
}

// ask returns what makes queries for names that pr was never asked for.
func (w *work) ask(pr *process) func(n uint32, q *dataset.Query) {
	first := mostNames + pr.asked
	return func(n uint32, q *dataset.Query) {
		pr.asked = max(pr.asked, first-mostNames+n+1)
		upstream.Question(first+n, w.udpSize, q)
	}
}
