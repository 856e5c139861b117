package forward

import (
	"context"
	"slices"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/cache"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
)

const (
	// unheardLimit is when a question fails if nothing at all has come from
	// any upstream meanwhile, probes included. Clients hear of it within 2 s.
	unheardLimit = 1800 * time.Millisecond

	// giveUp is when a question fails in any case. Clients have asked again by
	// then.
	giveUp = 5 * time.Second

	// recheck is how often it is looked whether the upstream that was asked
	// has fallen silent, if there are no hedges left.
	recheck = 10 * time.Millisecond

	// linger is how long an upstream that was overtaken by another may still
	// answer: only to learn that it lives.
	linger = 400 * time.Millisecond

	// maxLinger is the number of questions that may linger.
	maxLinger = 1000
)

// retries are how long after the first query further ones are sent although
// nothing has happened. A lost datagram is rare; a name that takes this long to
// find out is not, and asking again makes that no faster.
var retries = [...]time.Duration{800 * time.Millisecond, 1400 * time.Millisecond}

// A flight is one question on its way: the upstreams asked, and the clients
// waiting. Who has it, run or an express, owns all but what flights guards.
type flight struct {
	f       *Forwarder
	q       message.Question
	group   *group
	refresh bool // what is in the cache is not what is wanted

	clients []asker               // guarded by flights.mu
	one     [1]asker              // room for the first of them
	room    [wire.MaxCopyLen]byte // room for its query
	late    bool                  // guarded by flights.mu; who joins gets stale at once

	events chan event
	over   chan struct{} // closed when nobody reads events any more
	ctx    context.Context

	began   moment
	era     uint64       // of the upstreams, when it began
	stale   *cache.Entry // what clients get if this takes long or fails; nil: SERVFAIL
	order   []*upstream
	few     [4]*upstream // room for order
	ways    []way        // of order: how each was asked
	sent    int          // turns that upstreams had
	retries int          // of retries, how many are over
	open    int          // questions without a result yet
	askedAt moment       // when the last turn was
	hedgeAt moment       // when the next one is, if the last does not answer; or never
	failure failureKind
	ede     uint16
}

// A way is how an upstream was asked in one flight.
type way struct {
	tcp, plain, bare bool // over TCP; in lower case; without EDNS
	caseDoubt        bool // it seems not to keep letter case
	settled          bool // it has said that it cannot answer; what is open will bring nothing else
}

// An event is what happens to a flight.
type event struct {
	kind eventKind
	ask  ask
	hint hint
	resp *message.Response
	err  error
}

type eventKind uint8

const (
	result eventKind = iota // of ask: resp or err
	hinted                  // ask goes on, but hint
	joined                  // a client came after stale was given out
)

// never is later than anything.
const never = moment(1<<63 - 1)

func newFlight(f *Forwarder, g *group, q message.Question, refresh bool) *flight {
	fl := &flight{f: f, q: q, group: g, refresh: refresh, hedgeAt: never}
	fl.clients = fl.one[:0]
	return fl
}

// run sees the question through to an answer, or to failure, and tells the
// clients.
func (fl *flight) run() {
	f := fl.f
	fl.began, fl.era = f.now(), f.era.Load()
	if e := f.cache.Peek(fl.q); e != nil {
		if !fl.refresh && e.Fresh(fl.began) {
			fl.answer(e) // it came between the client's look and this one
			return
		}
		if f.servable(e, fl.began) {
			fl.stale = e
		}
	}
	if ede, failed := f.cache.FailedQuestion(fl.q, fl.began, fl.era); failed {
		fl.giveOut(f.flights.end(fl), ede)
		return
	}
	fl.order = fl.group.live(fl.few[:0])
	if len(fl.order) == 0 {
		fl.fail()
		return
	}
	fl.complete(func() {
		f.budget.earn()
		fl.askNext()
	})
}

// complete asks as first does, and then sees the question through.
func (fl *flight) complete(first func()) {
	f := fl.f
	fl.events, fl.over = make(chan event, 4), make(chan struct{})
	fl.ways = make([]way, len(fl.order))
	var cancel context.CancelFunc
	fl.ctx, cancel = context.WithTimeout(f.ctx, time.Duration(fl.began.After(giveUp)-f.now()))
	first()
	if resp := fl.fly(); resp != nil {
		fl.land(resp)
	} else if f.ctx.Err() == nil {
		fl.fail()
	} else {
		f.flights.end(fl)
	}
	close(fl.over)
	f.letGo(fl.open, cancel)
}

// fly goes on asking until there is an answer, which it returns, or no hope; then it
// returns nil.
func (fl *flight) fly() *message.Response {
	timer := time.NewTimer(fl.untilDue())
	defer timer.Stop()
	for {
		hopeless := false
		select {
		case ev := <-fl.events:
			switch ev.kind {
			case result:
				fl.open--
				if ev.err == nil {
					fl.learn(ev)
					return ev.resp
				}
				hopeless = fl.failed(ev)
			case hinted:
				fl.follow(ev)
			case joined:
			}
		case <-timer.C:
			hopeless = fl.tick(fl.f.now())
		case <-fl.ctx.Done():
			if hopeless = true; fl.heard() {
				fl.blame(slow, wire.EDENoReach)
			}
		}
		if hopeless {
			return nil
		}
		if fl.stale != nil && fl.f.now() >= fl.staleAt() {
			fl.giveOut(fl.f.flights.take(fl, true), wire.EDENone)
		}
		timer.Reset(fl.untilDue())
	}
}

func (fl *flight) staleAt() moment { return fl.began.After(fl.f.config.StaleAfter) }

// untilDue returns how long nothing needs to be done unless something happens.
func (fl *flight) untilDue() time.Duration {
	now := fl.f.now()
	due := min(fl.hedgeAt, fl.retryAt())
	if at := fl.began.After(unheardLimit); at > now {
		due = min(due, at)
	}
	if at := fl.staleAt(); fl.stale != nil && at > now {
		due = min(due, at)
	}
	return time.Duration(max(due-now, 0))
}

// retryAt returns when to ask again although nothing has happened.
func (fl *flight) retryAt() moment {
	if fl.retries < len(retries) {
		return fl.began.After(retries[fl.retries])
	}
	return never
}

// tick does what is due at now and reports whether there is no hope left.
func (fl *flight) tick(now moment) (hopeless bool) {
	if now >= fl.hedgeAt {
		fl.hedge(now)
	}
	if now >= fl.retryAt() {
		fl.retries++
		fl.askNext()
	}
	return now >= fl.began.After(unheardLimit) && !fl.heard()
}

// heard reports whether an upstream has answered anything since the flight began.
func (fl *flight) heard() bool {
	return slices.ContainsFunc(fl.order, func(u *upstream) bool { return u.heardSince(fl.began) })
}

// hedge asks the next upstream although the last one may still answer, if that is
// within what hedging may cost, or if the last one has fallen silent.
func (fl *flight) hedge(now moment) {
	last := fl.order[fl.sent-1]
	if !last.silent() && !last.dead.Load() && !fl.f.budget.take() {
		if fl.hedgeAt = now.After(recheck); fl.hedgeAt > fl.askedAt.After(2*last.patience()) {
			fl.hedgeAt = never
		}
		return
	}
	fl.order[fl.sent].stats.Hedges.Add(1)
	fl.askNext()
}

// askNext asks the upstream whose turn it is.
func (fl *flight) askNext() {
	now := fl.f.now()
	u := fl.order[fl.sent%len(fl.order)]
	fl.sent++
	fl.hedgeAt, fl.askedAt = never, now
	if fl.sent < len(fl.order) {
		fl.hedgeAt = now.After(u.hedgeAfter())
	}
	w := fl.way(u)
	w.settled = false
	fl.ask(ask{
		up: u, transport: u.transport(), edns: u.edns(now) && !w.bare, mixed: u.mixed(now) && !w.plain,
		again: fl.sent > len(fl.order),
	})
}

// ask puts the question as a says; the result will be an event.
func (fl *flight) ask(a ask) {
	fl.attempt(a, func(hinted func(hint)) (*message.Response, error) { return fl.f.put(fl.ctx, a, fl.q, hinted) })
}

// attempt does something about the question as a says; the result will be an event.
func (fl *flight) attempt(a ask, exchange func(hinted func(hint)) (*message.Response, error)) {
	fl.open++
	fl.f.flights.wg.Go(func() {
		resp, err := exchange(func(h hint) { fl.tell(event{kind: hinted, ask: a, hint: h}) })
		fl.tell(event{ask: a, resp: resp, err: err})
	})
}

func (fl *flight) tell(ev event) {
	select {
	case fl.events <- ev:
	case <-fl.over:
	}
}

// way returns how u was asked so far. u is in order.
func (fl *flight) way(u *upstream) *way { return &fl.ways[slices.Index(fl.order, u)] }

// follow asks in another way what may not be answered in the first.
func (fl *flight) follow(ev event) {
	w := fl.way(ev.ask.up)
	switch ev.hint {
	case hintCase, hintForged:
		w.caseDoubt = w.caseDoubt || ev.hint == hintCase
		fl.askTCP(w, ev.ask)
	case hintEDNS:
		fl.askBare(w, ev.ask)
	}
}

func (fl *flight) askTCP(w *way, a ask) {
	if !w.tcp {
		w.tcp = true
		a.transport = metrics.OverTCP
		fl.ask(a)
	}
}

func (fl *flight) askBare(w *way, a ask) bool {
	if w.bare {
		return false
	}
	w.bare = true
	a.edns = false
	fl.ask(a)
	return true
}
