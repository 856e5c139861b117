package forward

import (
	"context"
	"time"

	"github.com/internaldns/internaldns/resolver/forward/cache"
)

const (
	// prefetchQueue is how many entries may wait to be refreshed. What finds no
	// place goes out of date, and is fetched then.
	prefetchQueue = 256

	// sweepEvery is how often what is too old to be served leaves the cache.
	// Until then it takes room that nobody else needs, or would have got it.
	sweepEvery = 10 * time.Minute
)

// use counts a hit on e, which is fresh, and orders its refresh if it is due. It
// does not wait.
func (f *Forwarder) use(e *cache.Entry, now moment) {
	if e.Use(now) {
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
			if g := f.routes.Load().findName(e.Name); g != nil {
				f.flights.refresh(f, g, e.Question)
			}
		case <-ctx.Done():
			return
		}
	}
}

// keepClean drops what is too old, until ctx is done.
func (f *Forwarder) keepClean(ctx context.Context) {
	for sleep(ctx, sweepEvery) {
		f.cache.Sweep(f.now(), max(f.config.StaleAge, 0))
	}
}
