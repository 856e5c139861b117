package forward

import (
	"context"
	"errors"
	"time"

	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
	"go.uber.org/zap"
)

const (
	// probeEvery is how often an upstream in trouble is probed. Half of it is
	// what clients notice of a recovery on average.
	probeEvery = time.Second
	// probeTime is how long a probe is waited for.
	probeTime = 900 * time.Millisecond
	// probesDead is how many probes in a row an upstream may miss. After them
	// it is dead; after one if it has fallen silent besides.
	probesDead = 2
)

// lookAfter has u probed until it answers, if that is not being done.
func (f *Forwarder) lookAfter(u *upstream) {
	if u.probing.CompareAndSwap(false, true) {
		if !f.flights.goWith(func() { f.probe(u) }) {
			u.probing.Store(false)
		}
	}
}

// probe asks u something every probeEvery until anything comes from it, and says
// that it is dead if that takes long.
func (f *Forwarder) probe(u *upstream) {
	defer u.probing.Store(false)
	began := f.now()
	for missed := 1; ; missed++ {
		wait := time.Duration(moment(u.probed.Load()).After(probeEvery) - f.now())
		if !sleep(f.ctx, wait) || u.heardSince(began) || !f.uses(u) {
			return
		}
		u.probed.Store(int64(f.now()))
		if f.probeOnce(u, missed) {
			return
		}
		if (missed >= probesDead || u.silent()) && !u.heardSince(began) && u.dead.CompareAndSwap(false, true) {
			f.config.Log.Warn("upstream does not answer", zap.Stringer("upstream", u))
		}
	}
}

// probeOnce reports whether u answered the n-th probe, counted from 1. It is
// asked in turn something that every resolver knows, and what it did not answer: some
// know no root.
func (f *Forwarder) probeOnce(u *upstream, n int) bool {
	u.stats.Probes.Add(1)
	ctx, cancel := context.WithTimeout(f.ctx, probeTime)
	defer cancel()
	q := message.Question{Name: "\x00", Type: wire.TypeNS}
	if last := u.unheard.Load(); n%2 == 0 && last != nil {
		q = *last
	}
	now := f.now()
	a := ask{up: u, transport: u.transport(), edns: u.edns(now), mixed: u.mixed(now), probe: true}
	answered := make(chan struct{}, 1)
	_, err := f.exchanger(ctx, a, q, func(h hint) {
		if h != hintForged { // it answers, in its way
			select {
			case answered <- struct{}{}:
				cancel()
			default:
			}
		}
	})
	if refusal := new(message.RCodeError); err != nil && !errors.As(err, &refusal) && !errors.Is(err, message.ErrInvalid) && len(answered) == 0 {
		if !errors.Is(err, errNoAnswer) && !ours(err) {
			u.why.Store(wire.EDENetwork)
		}
		return false
	}
	f.hear(u)
	return true
}

// hear notes that u has answered, and ends the failures that were for want of it.
func (f *Forwarder) hear(u *upstream) {
	dead, blamed := u.hear(f.now())
	if dead || blamed {
		f.era.Add(1)
	}
	if dead {
		f.config.Log.Info("upstream answers again", zap.Stringer("upstream", u))
	}
}

// blameUpstreams notes that a question failed because nobody in g answered, and
// returns the extended error that says why.
func (f *Forwarder) blameUpstreams(g *group) (ede uint16) {
	ede = wire.EDENetwork
	for _, u := range g.upstreams {
		u.blamed.Store(true)
		if u.why.Load() != wire.EDENetwork {
			ede = wire.EDENoReach
		}
	}
	return ede
}

// sleep waits, and reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
