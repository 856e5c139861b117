package forward

import (
	"context"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/message"
)

// depart sets fl on its way: by express if it can, or else in a goroutine.
func (fl *flight) depart() {
	if fl.byExpress() {
		return
	}
	go func() {
		defer fl.f.flights.wg.Done()
		fl.run()
	}()
}

// byExpress has an express carry the question, if there is nothing to do but to
// ask one upstream over UDP and wait, and reports whether it does. Then fl is no
// longer the caller's.
func (fl *flight) byExpress() bool {
	f := fl.f
	if f.express == nil || fl.refresh {
		return false
	}
	fl.began, fl.era = f.now(), f.era.Load()
	if _, failed := f.cache.FailedQuestion(fl.q, fl.began, fl.era); failed || f.cache.Peek(fl.q) != nil {
		return false
	}
	fl.order = fl.group.live(fl.few[:0])
	if len(fl.order) == 0 {
		return false
	}
	u := fl.order[0]
	if u.transport() != metrics.OverUDP || u.silent() {
		return false // of what is silent, all would be promoted, while others of the caller's wait
	}
	limit := min(u.patience(), retries[0])
	if len(fl.order) > 1 {
		limit = min(limit, u.hedgeAfter())
	}
	return f.express.carry(fl, u, limit)
}

// A rest is what remains of an exchange, as an exchanger.
type rest func(ctx context.Context, hinted func(hint)) (*message.Response, error)

// resume sees a question through that an express put to its first upstream as a
// says, when it began; rest is what remains of that.
func (fl *flight) resume(a ask, rest rest) {
	fl.sent, fl.askedAt = 1, fl.began
	if len(fl.order) > 1 {
		fl.hedgeAt = fl.began.After(a.up.hedgeAfter())
	}
	fl.complete(func() {
		fl.attempt(a, func(hinted func(hint)) (*message.Response, error) {
			return fl.f.account(a, fl.q, fl.began, func() (*message.Response, error) { return rest(fl.ctx, hinted) })
		})
	})
}
