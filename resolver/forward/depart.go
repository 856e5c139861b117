package forward

import "context"

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
	if f.cache.peek(fl.q) != nil || f.failedQuestion(fl.q, fl.began) != nil {
		return false
	}
	fl.order = fl.group.live(fl.few[:0])
	if len(fl.order) == 0 {
		return false
	}
	u := fl.order[0]
	if u.transport() != UDP || u.silent() {
		return false // of what is silent, all would be promoted, while others of the caller's wait
	}
	limit := min(u.patience(), retries[0])
	if len(fl.order) > 1 {
		limit = min(limit, u.hedgeAfter())
	}
	return f.express.carry(fl, u, limit)
}

// A rest is what remains of an exchange, as an exchanger.
type rest func(ctx context.Context, hinted func(hint)) (*response, error)

// resume sees a question through that an express put to its first upstream as a
// says, when it began; rest is what remains of that.
func (fl *flight) resume(a ask, rest rest) {
	fl.sent, fl.askedAt = 1, fl.began
	if len(fl.order) > 1 {
		fl.hedgeAt = fl.began.after(a.up.hedgeAfter())
	}
	fl.complete(func() {
		fl.attempt(a, func(hinted func(hint)) (*response, error) {
			return fl.f.account(a, fl.q, fl.began, func() (*response, error) { return rest(fl.ctx, hinted) })
		})
	})
}
