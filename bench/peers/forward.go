//go:build linux

package peers

import (
	"context"
	"fmt"
	"time"

	"github.com/internaldns/internaldns/bench/dataset"
	"github.com/internaldns/internaldns/bench/harness"
	"github.com/internaldns/internaldns/bench/servers"
)

// forwards reports whether the series is of forwarded names. Forwarders are
// measured twice. With hits, all names have been asked before, and the upstream
// receives nothing. With misses, every name is new, and every answer takes a query
// to the upstream. The upstream runs on the generator's thread, so that a server
// pays for its sockets and not for waking another thread.
func (s *Series) forwards() bool { return s.Key == keyHits || s.Key == keyMisses }

const (
	// mostNames is the number of names that each cache here has room for. New names
	// have numbers from it.
	mostNames = 100_000

	// warmLimit is the most passes over all names before a server is measured: it
	// can lose queries, or not cache an answer at once.
	warmLimit = 8
)

// warmTime is long enough for the slowest server to answer all names.
func (p *Plan) warmTime() time.Duration {
	return p.Measure + time.Duration(p.Names)*100*time.Microsecond
}

// forwardedQueries returns the queries for that many names.
func forwardedQueries(n int, udpSize uint16) []dataset.Query {
	queries := make([]dataset.Query, n)
	for i := range queries {
		servers.ForwardedQuery(uint32(i), udpSize, &queries[i])
	}
	return queries
}

// warm sends a forwarder queries for all names until none reaches the upstream. If
// some still do after warmLimit passes, the figures show it.
func (r *run) warm(ctx context.Context, s *server, w *work) error {
	if s.echo {
		return nil
	}
	received := func() uint64 {
		defer w.upstream.Hold()()
		return w.upstream.Counts().Queries
	}
	for pass := range warmLimit {
		o := r.options(s, w)
		o.Duration, o.Warmup = r.Plan.warmTime(), 0
		before := received()
		got, err := w.load(ctx, o)
		if err != nil {
			return fmt.Errorf("fill the cache of %s: %w", s.name, err)
		}
		if received() == before && got.Sent >= uint64(len(w.queries)) {
			r.env.Say("%s has all %s names in its cache after %d passes", s.name, harness.Count(len(w.queries)), pass)
			return nil
		}
	}
	r.env.Say("%s still asks the upstream after %d passes", s.name, warmLimit)
	return nil
}

// ask returns a function that makes queries for names that s has not been asked
// for.
func (w *work) ask(s *server) func(n uint32, q *dataset.Query) {
	first := mostNames + s.asked
	return func(n uint32, q *dataset.Query) {
		s.asked = max(s.asked, first-mostNames+n+1)
		servers.ForwardedQuery(first+n, w.udpSize, q)
	}
}
