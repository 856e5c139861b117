package forward

import (
	"errors"
	"slices"
	"sync/atomic"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/clock"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/resolver/forward/upstream"
	"github.com/internaldns/internaldns/zone/wire"
)

// This file decides which upstream a flight asks next, and in which way. flight.go
// decides when, and what the clients get.

// A way is how an upstream was asked in one flight.
type way struct {
	tcp, plain, bare bool // over TCP; in lower case; without EDNS
	caseDoubt        bool // it seems to change letter case
	refused          bool // it has said that it cannot answer, and was not asked since
}

// A failure is the reason why a question failed. A later one says more than an
// earlier one.
type failure uint8

const (
	unreachable failure = iota // no upstream answered
	noSocket                   // this machine lacks something
	slow                       // upstreams answered other questions, but not this one in time
	refused                    // upstreams answered that they cannot
)

// askNext asks the upstream whose turn it is.
func (fl *flight) askNext(now clock.Moment) {
	s := fl.order[fl.sent%len(fl.order)]
	fl.sent++
	fl.hedgeAt, fl.askedAt = clock.Never, now
	if fl.sent < len(fl.order) {
		fl.hedgeAt = now.After(s.HedgeAfter())
	}
	w := fl.way(s)
	w.refused = false
	q := &fl.first
	if fl.sent > 1 {
		q = new(upstream.Query)
	}
	*q = upstream.Query{
		Server: s, Question: fl.q, Transport: s.Transport(),
		EDNS: s.EDNS(now) && !w.bare, MixedCase: s.MixedCase(now) && !w.plain, Again: fl.sent > len(fl.order),
	}
	fl.ask(q, now)
}

// askOtherwise asks the server of q once more. change changes the query.
func (fl *flight) askOtherwise(q *upstream.Query, now clock.Moment, change func(q *upstream.Query)) {
	another := &upstream.Query{
		Server: q.Server, Question: q.Question, Transport: q.Transport,
		EDNS: q.EDNS, MixedCase: q.MixedCase, Again: q.Again,
	}
	change(another)
	fl.ask(another, now)
}

func (fl *flight) ask(q *upstream.Query, now clock.Moment) {
	if err := fl.f.upstream.Ask(q, fl); err != nil {
		fl.failed(q, err, now)
		return
	}
	fl.queries = append(fl.queries, q)
}

// forget drops a query that is over.
func (fl *flight) forget(q *upstream.Query) {
	if i := slices.Index(fl.queries, q); i >= 0 {
		fl.queries = slices.Delete(fl.queries, i, i+1)
	}
}

// way returns how s was asked so far. s is in order.
func (fl *flight) way(s *upstream.Server) *way { return &fl.ways[slices.Index(fl.order, s)] }

// hedge asks the next upstream although the last one may still answer, if the
// budget allows it, or if the last one has become silent.
func (fl *flight) hedge(now clock.Moment) {
	last := fl.order[fl.sent-1]
	if !last.Silent() && !last.Dead() && !fl.f.budget.take() {
		if fl.hedgeAt = now.After(recheck); fl.hedgeAt > fl.askedAt.After(2*last.Patience()) {
			fl.hedgeAt = clock.Never
		}
		return
	}
	fl.order[fl.sent].Stats.Hedges.Add(1)
	fl.askNext(now)
}

// follow asks in another way what may not be answered in the first.
func (fl *flight) follow(q *upstream.Query, h upstream.Hint) {
	w, now := fl.way(q.Server), fl.f.clock.Now()
	if h == upstream.HintNoEDNS {
		fl.askBare(w, q, now)
		return
	}
	w.caseDoubt = w.caseDoubt || h == upstream.HintCase
	if !w.tcp {
		w.tcp = true
		fl.askOtherwise(q, now, func(q *upstream.Query) { q.Transport = metrics.OverTCP })
	}
}

// askBare asks without EDNS, and reports whether that is new.
func (fl *flight) askBare(w *way, q *upstream.Query, now clock.Moment) bool {
	if w.bare {
		return false
	}
	w.bare = true
	fl.askOtherwise(q, now, func(q *upstream.Query) { q.EDNS = false })
	return true
}

// learn notes what a response says about the server that gave it.
func (fl *flight) learn(q *upstream.Query, resp *message.Response, now clock.Moment) {
	w, s := fl.way(q.Server), q.Server
	if w.bare && !q.EDNS {
		s.WithoutEDNS(now)
	}
	if w.caseDoubt && (q.Transport == metrics.OverTCP && !resp.CaseKept || q.Transport == metrics.OverUDP && !q.MixedCase) {
		s.ChangesCase(now)
	}
}

// failed handles a query that was not answered: it asks in another way or another
// upstream, or fails if there is no hope left.
func (fl *flight) failed(q *upstream.Query, err error, now clock.Moment) {
	w, refusal := fl.way(q.Server), new(message.RCodeError)
	switch {
	case err == upstream.ErrTruncated:
		w.tcp = true
		fl.askOtherwise(q, now, func(another *upstream.Query) { another.Transport, another.Sent = metrics.OverTCP, q.Sent })
		return
	case errors.As(err, &refusal):
		if q.EDNS && refusal.EDNS() && fl.askBare(w, q, now) {
			return
		}
		w.refused = true
		fl.blame(refused, refusal.EDE)
	case errors.Is(err, message.ErrInvalid):
		w.refused = true
		fl.blame(refused, wire.EDENone)
	case upstream.Local(err) && q.Again: // the queries sent before may still be answered
	case upstream.Local(err):
		fl.blame(noSocket, wire.EDENone)
	case w.caseDoubt && !w.plain && q.Transport == metrics.OverTCP:
		w.plain = true
		fl.askOtherwise(q, now, func(q *upstream.Query) { q.Transport, q.MixedCase = metrics.OverUDP, false })
		return
	}
	switch {
	case fl.sent < len(fl.order):
		fl.askNext(now)
	case fl.failure == refused && fl.allRefused():
		fl.fail(now)
	case len(fl.queries) == 0 && (fl.failure != unreachable || fl.retryAt() == clock.Never):
		fl.fail(now)
	}
}

// allRefused reports whether every upstream has said that it cannot answer.
func (fl *flight) allRefused() bool {
	return !slices.ContainsFunc(fl.ways, func(w way) bool { return !w.refused })
}

// blame notes a reason for failing, unless a better one is known.
func (fl *flight) blame(why failure, ede uint16) {
	if why > fl.failure {
		fl.failure, fl.ede = why, ede
	}
}

const (
	// hedgeCost is the number of flights that allow one hedge. So an upstream
	// that becomes slow costs the others a tenth more queries, not twice as many.
	hedgeCost = 10
	// hedgeBurst is the number of hedges that may be saved up.
	hedgeBurst = 10
)

// A budget limits hedges to a part of all flights.
type budget struct{ flights atomic.Int64 } // not yet spent on hedges

// earn counts a flight.
func (b *budget) earn() {
	if b.flights.Load() < hedgeCost*hedgeBurst {
		b.flights.Add(1)
	}
}

// take takes one hedge from the budget, and reports whether there was one.
func (b *budget) take() bool {
	for {
		n := b.flights.Load()
		if n < hedgeCost {
			return false
		}
		if b.flights.CompareAndSwap(n, n-hedgeCost) {
			return true
		}
	}
}
