package forward

import (
	"slices"
	"sync"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/cache"
	"github.com/internaldns/internaldns/resolver/forward/clock"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/resolver/forward/upstream"
	"github.com/internaldns/internaldns/zone/wire"
)

const (
	// unheardLimit is when a question fails if nothing at all has come from any
	// of its upstreams since it began, responses to probes included. So clients
	// get SERVFAIL within 2 s.
	unheardLimit = 1800 * time.Millisecond

	// giveUp is when a question fails in any case. Clients have asked again by
	// then.
	giveUp = 5 * time.Second

	// recheck is how often a flight without hedges checks whether the upstream
	// that it asked has become silent.
	recheck = 10 * time.Millisecond

	// linger is how long an upstream may still answer after another one has. The
	// response only shows that it lives.
	linger = 400 * time.Millisecond

	// maxLinger is the number of flights that may linger.
	maxLinger = 1000
)

// retries are when, after the first query, further ones are sent although nothing
// has happened. A lost datagram is rare. A name that takes long to resolve is not,
// and asking again makes that no faster.
var retries = [...]time.Duration{800 * time.Millisecond, 1400 * time.Millisecond}

// A flight is one question that upstreams are asked: a state machine. Its steps
// are start, Step (something happened to a query) and Due (time has passed). Each
// step holds the lock, does not wait, and ends in next, which sets the timer for
// what is due then, or in end.
type flight struct {
	f       *Forwarder
	q       message.Question
	group   *group
	refresh bool // the cache has a fresh response; ask for a later one

	waiters []waiter  // guarded by flights.mu; the clients
	one     [1]waiter // room for the first of them
	room    [wire.MaxCopyLen]byte
	late    bool // guarded by flights.mu; clients that join get stale at once

	// The lock guards what follows.
	sync.Mutex
	timer    clock.Timer
	starting bool // the step is start
	ended    bool // the clients have their responses; queries may linger
	endedAt  clock.Moment

	began     clock.Moment
	era       uint64       // of the upstreams, when it began
	stale     *cache.Entry // for clients if this takes long or fails; nil: SERVFAIL
	order     []*upstream.Server
	few       [4]*upstream.Server // room for order
	ways      []way               // as order: how each was asked
	fewWays   [4]way              // room for ways
	queries   []*upstream.Query   // open ones
	fewOpen   [2]*upstream.Query  // room for queries
	first     upstream.Query
	sent      int // turns that upstreams had
	retried   int // of retries, how many are over
	askedAt   clock.Moment
	hedgeAt   clock.Moment // when the next upstream is asked, if the last does not answer
	staleAt   clock.Moment // when clients get stale
	unheardAt clock.Moment // when it fails if nothing was heard
	failure   failure
	ede       uint16
}

// start asks the first upstream.
func (fl *flight) start() {
	fl.Lock()
	defer fl.Unlock()
	if fl.ended {
		return // Run has ended meanwhile
	}
	fl.starting = true
	fl.begin()
	fl.starting = false
}

func (fl *flight) begin() {
	f := fl.f
	now := f.clock.Now()
	fl.timer.Waiter = fl
	fl.began, fl.era = now, f.upstream.Era()
	fl.hedgeAt, fl.staleAt, fl.unheardAt = clock.Never, clock.Never, now.After(unheardLimit)
	if e := f.cache.Peek(fl.q); e != nil {
		if !fl.refresh && e.Fresh(now) {
			fl.answer(e, now) // it was stored after the client's look at the cache
			return
		}
		if f.servable(e, now) {
			fl.stale, fl.staleAt = e, now.After(f.config.StaleAfter)
		}
	}
	if ede, failed := f.cache.FailedQuestion(fl.q, now, fl.era); failed {
		fl.giveStale(fl.end(now), ede)
		return
	}
	fl.order = fl.group.live(fl.few[:0])
	if len(fl.order) == 0 {
		fl.fail(now)
		return
	}
	fl.ways = append(fl.fewWays[:0], make([]way, len(fl.order))...)
	fl.queries = fl.fewOpen[:0]
	f.budget.earn()
	fl.askNext(now)
	fl.next(now)
}

// Step is called when something has happened to a query. It is a step of
// upstream.Owner.
func (fl *flight) Step(q *upstream.Query, ev upstream.Event) {
	if ev.Hint == 0 {
		fl.forget(q)
	}
	now := fl.f.clock.Now()
	switch {
	case fl.ended:
		if len(fl.queries) == 0 {
			fl.settle()
		}
		return
	case ev.Hint != 0:
		fl.follow(q, ev.Hint)
	case ev.Err != nil:
		fl.failed(q, ev.Err, now)
	default:
		fl.learn(q, ev.Response, now)
		fl.land(ev.Response, now)
	}
	fl.next(now)
}

// Due is called when the timer is due. It is a step of clock.Waiter.
func (fl *flight) Due(now clock.Moment) {
	fl.Lock()
	defer fl.Unlock()
	for _, q := range fl.queries {
		q.Missed(now)
	}
	switch {
	case fl.ended:
		if now >= fl.lingerUntil() {
			fl.settle()
			return
		}
	case now >= fl.began.After(giveUp):
		if fl.heard() {
			fl.blame(slow, wire.EDENoReach)
		}
		fl.fail(now)
	case now >= fl.unheardAt && !fl.heard():
		fl.fail(now)
	default:
		if now >= fl.unheardAt {
			fl.unheardAt = clock.Never
		}
		if now >= fl.hedgeAt {
			fl.hedge(now)
		}
		if !fl.ended && now >= fl.retryAt() {
			fl.retried++
			fl.askNext(now)
		}
	}
	fl.next(now)
}

// next sets the timer to when something must be done even if no event comes.
func (fl *flight) next(now clock.Moment) {
	giveStale := !fl.ended && now >= fl.staleAt
	at := fl.lingerUntil()
	if !fl.ended {
		at = min(fl.hedgeAt, fl.retryAt(), fl.unheardAt, fl.began.After(giveUp))
		if !giveStale {
			at = min(at, fl.staleAt)
		}
	}
	for _, q := range fl.queries {
		at = min(at, q.Missed(now))
	}
	fl.f.timers.Set(&fl.timer, at)
	// After Set: a client that joins from now on sets the timer itself.
	if giveStale {
		fl.giveStale(fl.f.flights.take(fl, true), wire.EDENone)
	}
}

// retryAt returns when to ask again although nothing has happened.
func (fl *flight) retryAt() clock.Moment {
	if fl.retried < len(retries) {
		return fl.began.After(retries[fl.retried])
	}
	return clock.Never
}

// heard reports whether an upstream has answered anything since the flight began.
func (fl *flight) heard() bool {
	return slices.ContainsFunc(fl.order, func(s *upstream.Server) bool { return s.HeardSince(fl.began) })
}

// land stores a response and gives it to the clients.
func (fl *flight) land(resp *message.Response, now clock.Moment) {
	e := cache.NewEntry(fl.q, resp, now)
	if resp.TTL > 0 {
		fl.f.cache.Put(e)
	}
	fl.answer(e, now)
}

// answer ends the flight with e, which is fresh or cannot be cached.
func (fl *flight) answer(e *cache.Entry, now clock.Moment) {
	fl.deliver(fl.end(now), result{entry: e, at: now})
}

// fail ends the flight with what is out of date, or SERVFAIL. It remembers the
// failure, unless its cause is on this machine.
func (fl *flight) fail(now clock.Moment) {
	f := fl.f
	f.stats.Count(0, metrics.ForwardFailed)
	switch fl.failure {
	case unreachable:
		fl.ede = fl.group.blame()
		f.cache.Fail(fl.q, now, fl.ede, fl.era)
	case slow, refused:
		f.cache.Fail(fl.q, now, fl.ede, 0)
	}
	fl.giveStale(fl.end(now), fl.ede)
}

// giveStale gives clients what is out of date, or SERVFAIL.
func (fl *flight) giveStale(clients []waiter, ede uint16) {
	fl.deliver(clients, result{entry: fl.stale, failed: true, ede: ede})
}

// deliver gives r to the clients. While the flight starts, that is done in another
// goroutine than the caller's of Submit.
func (fl *flight) deliver(clients []waiter, r result) {
	if fl.starting {
		fl.f.upstream.Go(func() { fl.f.deliver(clients, r) })
	} else {
		fl.f.deliver(clients, r)
	}
}

// end makes room for another flight with this question, and returns the clients.
// The open queries linger, if not too many do.
func (fl *flight) end(now clock.Moment) []waiter {
	fl.ended, fl.endedAt = true, now
	if len(fl.queries) > 0 && fl.f.flights.lingering.Add(1) > maxLinger {
		fl.settle()
	}
	return fl.f.flights.end(fl)
}

// lingerUntil returns when the queries of an ended flight are canceled.
func (fl *flight) lingerUntil() clock.Moment {
	if len(fl.queries) == 0 {
		return clock.Never
	}
	return fl.endedAt.After(linger)
}

// settle ends the lingering of the flight.
func (fl *flight) settle() {
	fl.f.flights.lingering.Add(-1)
	fl.cancel()
}

// cancel ends all queries.
func (fl *flight) cancel() {
	for _, q := range fl.queries {
		fl.f.upstream.Cancel(q)
	}
	fl.queries = nil
	fl.f.timers.Set(&fl.timer, clock.Never)
}

// abort ends the flight without responses, because Run ends.
func (fl *flight) abort() {
	fl.Lock()
	defer fl.Unlock()
	fl.ended = true
	fl.cancel()
	fl.f.flights.end(fl)
}
