package forward

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/internaldns/internaldns/internal/filewatch"
	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/cache"
	"github.com/internaldns/internaldns/resolver/forward/clock"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/resolver/forward/upstream"
	"github.com/internaldns/internaldns/zone/wire"
	"go.uber.org/zap"
)

// A Forwarder resolves names by asking upstreams. Its methods may be called from
// any goroutine.
type Forwarder struct {
	resolvConf *filewatch.Follower // nil if the upstreams are given
	config     Config
	clock      clock.Clock
	timers     *clock.Timers
	cache      *cache.Cache
	routes     atomic.Pointer[routes]
	upstream   *upstream.Asker
	flights    flights
	budget     budget
	refreshes  chan *cache.Entry
	stats      metrics.Forward
	ran        atomic.Bool
	running    chan struct{}
}

// New returns a Forwarder, or all faults of c. It opens no sockets and starts
// nothing.
func New(c Config) (*Forwarder, error) {
	c.setDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	responses, err := cache.New(c.CacheOctets)
	if err != nil {
		return nil, err
	}
	f := &Forwarder{
		config:    c,
		clock:     clock.New(),
		cache:     responses,
		flights:   flights{maxWaiting: c.MaxInFlight, maxPerSource: c.MaxPerSource},
		refreshes: make(chan *cache.Entry, refreshQueue),
		running:   make(chan struct{}),
	}
	f.timers = clock.NewTimers(f.clock)
	f.upstream = upstream.NewAsker(upstream.Config{
		Clock: f.clock, Timers: f.timers, MaxQueries: c.MaxInFlight + maxLinger,
		IsLocal: c.Local, RootCAs: c.RootCAs, Log: c.Log, Exchange: c.exchange,
	})
	f.budget.flights.Store(hedgeCost * hedgeBurst)
	f.stats.Now = f.state
	f.routes.Store(new(routes))
	f.setUpstreams(c.Upstreams)
	if len(c.Upstreams) == 0 && c.ResolvConf != "" {
		f.resolvConf = f.followResolvConf(c.ResolvConf)
		switch err := f.resolvConf.Load(context.Background()); {
		case errors.Is(err, errNoNameserver):
			c.Log.Warn("no nameserver other than this server; nothing is forwarded until there is one", zap.String("file", c.ResolvConf))
		case err != nil:
			c.Log.Warn("cannot read the nameservers; nothing is forwarded until that succeeds", zap.Error(err))
		}
	}
	return f, nil
}

// Run lets queries be submitted until ctx is done. Then it ends all flights, waits
// for every goroutine and returns nil. A Forwarder runs once. Submit takes no
// queries before Run or after it.
func (f *Forwarder) Run(ctx context.Context) error {
	if f.ran.Swap(true) {
		return errors.New("a Forwarder runs once")
	}
	f.upstream.Start()
	f.flights.start()
	close(f.running)
	var wg sync.WaitGroup
	wg.Go(func() { f.refreshHot(ctx) })
	wg.Go(func() { f.sweep(ctx) })
	if f.resolvConf != nil {
		wg.Go(func() { f.resolvConf.Run(ctx) })
	}
	<-ctx.Done()
	f.timers.Stop()
	f.flights.stop()
	f.upstream.Stop()
	wg.Wait()
	return nil
}

// Running returns a channel that is closed when Run has begun, and Submit takes
// queries.
func (f *Forwarder) Running() <-chan struct{} { return f.running }

// Cached appends the response to q to out, which must be empty, and returns it. If
// the response must come from an upstream, it returns an empty slice: then q must
// be submitted. now must come from time.Now and may be some milliseconds old. Cached
// allocates only if out lacks room.
func (f *Forwarder) Cached(q *wire.Query, c wire.Client, now time.Time, out []byte) []byte {
	switch {
	case !q.RD():
		f.stats.Count(q.ID, metrics.RefusedRD)
		return refuse(out, q, &c, wire.FlagRA, wire.EDENotAuthoritative)
	case !f.allowed(c.Addr):
		f.stats.Count(q.ID, metrics.RefusedClient)
		return refuse(out, q, &c, 0, wire.EDEProhibited)
	}
	at := f.clock.At(now)
	e, key := f.cache.Get(q)
	if e != nil && e.Fresh(at) {
		if e.Negative() {
			f.stats.Count(q.ID, metrics.CacheDenial)
		} else {
			f.stats.Count(q.ID, metrics.CacheHit)
		}
		f.use(e, at)
		return f.appendEntry(out, e, q, &c, at, false)
	}
	r := f.routes.Load()
	g, suffix := r.find(q.Name())
	if kind, apex := findSpecial(q.Name()); apex > suffix && !mustForward(q) {
		f.stats.Count(q.ID, metrics.ForwardLocal)
		return appendSpecial(out, q, &c, kind, apex, r.above[string(q.Name())])
	}
	if g == nil {
		f.stats.Count(q.ID, metrics.RefusedNoUpstream)
		return refuse(out, q, &c, wire.FlagRA, wire.EDENotAuthoritative)
	}
	if ede, failed := f.cache.Failed(q, key, at, f.upstream.Era()); failed {
		if !f.servable(e, at) {
			e = nil
			f.stats.Count(q.ID, metrics.CacheFailure)
		}
		return f.appendFailure(out, e, q, &c, ede)
	}
	return out[:0]
}

// refuse appends the response REFUSED to q, with the extended error ede.
func refuse(out []byte, q *wire.Query, c *wire.Client, flags, ede uint16) []byte {
	o := c.Options
	o.EDE = ede
	return wire.AppendError(out, q, wire.RefusedR, flags, o)
}

// allowed reports whether a client may use forwarding.
func (f *Forwarder) allowed(client netip.Addr) bool {
	client = client.Unmap()
	if client.Zone() != "" {
		client = client.WithZone("")
	}
	for _, p := range f.config.Allow {
		if p.Contains(client) {
			return true
		}
	}
	return false
}

// servable reports whether e, which may be nil, can be served at now, fresh or
// stale.
func (f *Forwarder) servable(e *cache.Entry, now clock.Moment) bool {
	return e != nil && e.Usable(now, f.config.StaleAge)
}

// appendEntry appends the response to q from e.
func (f *Forwarder) appendEntry(out []byte, e *cache.Entry, q *wire.Query, c *wire.Client, now clock.Moment, stale bool) []byte {
	out, cut := e.AppendTo(out, q, c, now, stale)
	if cut {
		f.stats.Count(q.ID, metrics.ForwardTruncated)
	}
	return out
}

// appendFailure appends the response to q from stale. If stale is nil, that is
// SERVFAIL with the extended error ede.
func (f *Forwarder) appendFailure(out []byte, stale *cache.Entry, q *wire.Query, c *wire.Client, ede uint16) []byte {
	if stale != nil {
		f.stats.Count(q.ID, metrics.CacheStale)
		return f.appendEntry(out, stale, q, c, 0, true)
	}
	o := c.Options
	o.EDE = ede
	return wire.AppendError(out, q, wire.ServFail, wire.FlagRA, o)
}

// Submit takes over a query to which Cached has no response. It returns false if
// too many are in flight already: then the client must be refused. It does not keep
// q. reply is called at most once, from another goroutine, with a message that is
// good until reply returns. reply must not block. It is not called if Run ends
// first.
func (f *Forwarder) Submit(q *wire.Query, c wire.Client, reply func(msg []byte)) bool {
	g, _ := f.routes.Load().find(q.Name())
	if g == nil || f.config.Local(q.Name()) {
		f.stats.Count(q.ID, metrics.RefusedNoUpstream)
		return false
	}
	begun, why, ok := f.flights.join(f, g, q, c, reply)
	if !ok {
		f.stats.Count(q.ID, why)
		return false
	}
	f.stats.Count(q.ID, metrics.CacheMiss)
	if begun != nil {
		begun.start()
	}
	return true
}

// Flush removes the entries and failures of a name from the cache, or those of all
// names at or below it. It returns the number of entries removed. Flights go on.
func (f *Forwarder) Flush(name Suffix, below bool) (entries int) {
	return f.cache.Flush(func(q message.Question) bool {
		return q.Name == name.name || below && wire.Within([]byte(q.Name), name.wire())
	})
}

const (
	// refreshQueue is how many entries may wait to be refreshed. Others expire
	// and are asked for again when a client wants them.
	refreshQueue = 256

	// sweepEvery is how often entries that are too old to be served are removed.
	// Until then they take room that no other entry needs: the cache evicts when
	// it is full.
	sweepEvery = 10 * time.Minute
)

// use counts a hit on e, which is fresh, and orders its refresh if that is due.
func (f *Forwarder) use(e *cache.Entry, now clock.Moment) {
	if e.Use(now) {
		select {
		case f.refreshes <- e:
		default:
		}
	}
}

// refreshHot refreshes the entries that use orders, until ctx is done.
func (f *Forwarder) refreshHot(ctx context.Context) {
	for {
		select {
		case e := <-f.refreshes:
			if g, _ := f.routes.Load().find([]byte(e.Name)); g != nil {
				if fl := f.flights.refresh(f, g, e.Question); fl != nil {
					fl.start()
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

// sweep removes entries that are too old from the cache, until ctx is done.
func (f *Forwarder) sweep(ctx context.Context) {
	every := time.NewTicker(sweepEvery)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			f.cache.Sweep(f.clock.Now(), max(f.config.StaleAge, 0))
		case <-ctx.Done():
			return
		}
	}
}
