package forward

import (
	"context"
	"time"
)

const (
	// hotHits is how often an entry must have been asked for in its time to be
	// refreshed before its end: what is asked for less is cheaper to fetch when
	// it is.
	hotHits = 3

	// prefetchPart is the last part of an entry's time, in which it is
	// refreshed: one in so many.
	prefetchPart = 10

	// prefetchQueue is how many entries may wait to be refreshed. What finds no
	// place goes out of date, and is fetched then.
	prefetchQueue = 256

	// sweepEvery is how often what is too old to be served leaves the cache.
	// Until then it takes room that nobody else needs, or would have got it.
	sweepEvery = 10 * time.Minute
)

// use counts a hit on e, which is fresh, and has it refreshed if it is hot and
// its time nearly over. It does not wait.
func (f *Forwarder) use(e *entry, now moment) {
	if e.hits.Load() < hotHits {
		e.hits.Add(1)
		return
	}
	if (e.expires-now)*prefetchPart > e.expires-e.stored || e.refreshing.Load() {
		return
	}
	if e.refreshing.CompareAndSwap(false, true) {
		select {
		case f.prefetch <- e:
		default:
		}
	}
}

// keepHot refreshes what use finds, until ctx is done.
func (f *Forwarder) keepHot(ctx context.Context) {
	for {
		select {
		case e := <-f.prefetch:
			if g := f.routes.Load().findName(e.name); g != nil {
				f.flights.refresh(f, g, e.question)
			}
		case <-ctx.Done():
			return
		}
	}
}

// keepClean drops what is too old, until ctx is done.
func (f *Forwarder) keepClean(ctx context.Context) {
	for sleep(ctx, sweepEvery) {
		f.cache.sweep(f.now(), max(f.config.StaleAge, 0))
	}
}
