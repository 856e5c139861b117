package forward

import (
	"errors"
	"slices"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/cache"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
)

// A failureKind is the best reason known why a question failed; a later one is
// better.
type failureKind uint8

const (
	unreachable failureKind = iota // nobody answered
	ourLimit                       // we could not ask
	slow                           // somebody answered, but not this in time
	answered                       // upstreams answered, but not the question
)

// learn notes what the answer says about the upstream that gave it.
func (fl *flight) learn(ev event) {
	w, u, now := fl.way(ev.ask.up), ev.ask.up, fl.f.now()
	if w.bare && !ev.ask.edns {
		u.withoutEDNS(now)
	}
	if w.caseDoubt && (ev.ask.transport == metrics.OverTCP && !ev.resp.CaseKept || ev.ask.transport == metrics.OverUDP && !ev.ask.mixed) {
		u.changesCase(now)
	}
}

// failed takes note of a question that an upstream has not answered, asks
// in another way or elsewhere, and reports whether there is no hope left.
func (fl *flight) failed(ev event) (hopeless bool) {
	w, refusal := fl.way(ev.ask.up), new(message.RCodeError)
	switch {
	case fl.ctx.Err() != nil:
		return false // time is up, which says more than this
	case errors.As(ev.err, &refusal):
		if ev.ask.edns && refusal.EDNS() && fl.askBare(w, ev.ask) {
			return false
		}
		w.settled = true
		fl.blame(answered, refusal.EDE)
	case errors.Is(ev.err, message.ErrInvalid):
		w.settled = true
		fl.blame(answered, wire.EDENone)
	case ours(ev.err) && ev.ask.again: // what was asked before may still be answered
	case ours(ev.err):
		fl.blame(ourLimit, wire.EDENone)
	case w.caseDoubt && !w.plain && ev.ask.transport == metrics.OverTCP:
		w.plain = true
		ev.ask.transport, ev.ask.mixed = metrics.OverUDP, false
		fl.ask(ev.ask)
		return false
	}
	if fl.sent < len(fl.order) {
		fl.askNext()
		return false
	}
	if fl.failure == answered && fl.settled() {
		return true
	}
	return fl.open == 0 && (fl.failure != unreachable || fl.retryAt() == never)
}

// settled reports whether every upstream has said that it cannot answer.
func (fl *flight) settled() bool {
	return !slices.ContainsFunc(fl.ways, func(w way) bool { return !w.settled })
}

// blame keeps the better reason for failing.
func (fl *flight) blame(kind failureKind, ede uint16) {
	if kind > fl.failure {
		fl.failure, fl.ede = kind, ede
	}
}

// land stores the answer and gives it to the clients.
func (fl *flight) land(resp *message.Response) {
	e := cache.NewEntry(fl.q, resp, fl.f.now())
	if resp.TTL > 0 {
		fl.f.cache.Put(e)
	}
	fl.answer(e)
}

// answer ends the flight with e, which is fresh or cannot be cached.
func (fl *flight) answer(e *cache.Entry) {
	deliver(fl.f.flights.end(fl), func(out []byte, q *wire.Query, c *wire.Client) []byte {
		return fl.f.appendEntry(out, e, q, c, fl.f.now(), false)
	})
}

// fail ends the flight with what is out of date, or SERVFAIL, and remembers that,
// unless it was for want of something on our side.
func (fl *flight) fail() {
	f := fl.f
	f.stats.Count(0, metrics.ForwardFailed)
	switch fl.failure {
	case unreachable:
		fl.ede = f.blameUpstreams(fl.group)
		f.cache.Fail(fl.q, f.now(), fl.ede, fl.era)
	case slow, answered:
		f.cache.Fail(fl.q, f.now(), fl.ede, 0)
	}
	fl.giveOut(f.flights.end(fl), fl.ede)
}

// giveOut gives clients what is out of date, or SERVFAIL.
func (fl *flight) giveOut(clients []asker, ede uint16) {
	deliver(clients, func(out []byte, q *wire.Query, c *wire.Client) []byte {
		return fl.f.appendFailure(out, fl.stale, q, c, ede)
	})
}
