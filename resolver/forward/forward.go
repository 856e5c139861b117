package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/internaldns/internaldns/internal/filewatch"
	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/cache"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
	"go.uber.org/zap"
)

// A Forwarder resolves names by asking upstreams. Its methods may be called from
// any goroutine.
type Forwarder struct {
	resolvConf *filewatch.Follower // nil if the upstreams are given
	config     Config
	epoch      time.Time // when moments begin
	cache      *cache.Cache
	routes     atomic.Pointer[routes]
	exchanger  exchanger // nil until Run: exchange
	express    *express  // nil: flights are goroutines
	flights    flights
	budget     *budget
	prefetch   chan *cache.Entry
	sessions   tls.ClientSessionCache
	era        atomic.Uint64 // grows when an upstream comes back; from 1
	sockets    *sockets
	lingering  atomic.Int64
	stats      metrics.Forward

	ctx context.Context // of Run; set before flights begin
}

// New returns a Forwarder, or everything that is wrong with c. It opens no
// sockets and starts nothing.
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
		config:   c,
		epoch:    time.Now(),
		cache:    responses,
		flights:  flights{maxWaiting: c.MaxInFlight, maxPerSource: c.MaxPerSource},
		budget:   newBudget(),
		sockets:  newSockets(c.MaxInFlight + maxLinger),
		prefetch: make(chan *cache.Entry, prefetchQueue),
		sessions: tls.NewLRUClientSessionCache(16),
	}
	f.stats.Now = f.state
	f.era.Store(1)
	f.routes.Store(new(routes))
	f.setUpstreams(c.Upstreams)
	if len(c.Upstreams) == 0 && c.ResolvConf != "" {
		f.resolvConf = f.followResolvConf(c.ResolvConf)
		switch err := f.resolvConf.Load(context.Background()); {
		case errors.Is(err, errNoNameserver):
			c.Log.Warn("no nameserver but ourselves; nothing is forwarded until there is one", zap.String("file", c.ResolvConf))
		case err != nil:
			c.Log.Warn("cannot read the nameservers; nothing is forwarded until they are there", zap.Error(err))
		}
	}
	return f, nil
}

// setUpstreams makes upstreams those that are asked for what no Forward covers,
// and reports whether that is new. An Upstream that stays keeps what is known of
// it, also between groups.
func (f *Forwarder) setUpstreams(upstreams []Upstream) (changed bool) {
	known := make(map[Upstream]*upstream)
	for _, u := range f.upstreams() {
		known[u.Upstream] = u
	}
	newGroup := func(suffix string, list []Upstream) *group {
		g := &group{suffix: suffix}
		for _, u := range list {
			if known[u] == nil {
				known[u] = newUpstream(u)
			}
			g.upstreams = append(g.upstreams, known[u])
		}
		return g
	}
	r := &routes{suffixes: make(map[string]*group), above: make(map[string]bool)}
	if f.config.Local([]byte(ourReverse)) {
		r.noteAbove(ourReverse)
	}
	if len(upstreams) > 0 {
		r.rest = newGroup(".", upstreams)
	}
	for _, forward := range f.config.Forwards {
		r.noteAbove(forward.Suffix.name)
		g := newGroup(forward.Suffix.String(), forward.Upstreams)
		switch before := r.suffixes[forward.Suffix.name]; {
		case g.suffix == ".":
			r.rest = g
		case before != nil:
			for _, u := range g.upstreams {
				if !slices.Contains(before.upstreams, u) {
					before.upstreams = append(before.upstreams, u)
				}
			}
		default:
			r.suffixes[forward.Suffix.name] = g
		}
	}
	before := f.routes.Swap(r)
	return before.rest == nil || r.rest == nil || !slices.Equal(before.rest.upstreams, r.rest.upstreams)
}

// upstreams returns those in use, each once.
func (f *Forwarder) upstreams() (list []*upstream) {
	for _, g := range f.routes.Load().groups() {
		for _, u := range g.upstreams {
			if !slices.Contains(list, u) {
				list = append(list, u)
			}
		}
	}
	return list
}

// uses reports whether u is still one of the upstreams.
func (f *Forwarder) uses(u *upstream) bool { return slices.Contains(f.upstreams(), u) }

// Run does what a Forwarder does beside answering, until ctx is done. Then it
// ends all flights, waits for every goroutine and returns nil. A Forwarder runs
// once; what is submitted before Run or after it is not taken.
func (f *Forwarder) Run(ctx context.Context) error {
	if f.ctx != nil {
		return errors.New("a Forwarder runs once")
	}
	f.ctx = ctx
	var wg sync.WaitGroup
	if f.exchanger == nil {
		f.exchanger, f.express = f.exchange, newExpress(f)
	}
	f.flights.start()
	wg.Go(func() { f.keepHot(ctx) })
	wg.Go(func() { f.keepClean(ctx) })
	if f.resolvConf != nil {
		wg.Go(func() { f.resolvConf.Run(ctx) })
	}
	<-ctx.Done()
	f.flights.stop()
	wg.Wait()
	return nil
}

// A moment is a time since the Forwarder was made.
type moment = cache.Moment

// now returns the moment that it is.
func (f *Forwarder) now() moment { return moment(time.Since(f.epoch)) }

// Cached appends the response to q, if it can be given at once, to out, which
// must be empty, and returns it. It is empty if there is none: then q must be
// submitted. now must come from time.Now and may be some milliseconds old.
// Cached allocates only if out lacks room.
func (f *Forwarder) Cached(q *wire.Query, c wire.Client, now time.Time, out []byte) []byte {
	switch {
	case !q.RD():
		f.stats.Count(q.ID, metrics.RefusedRD)
		return refuse(out, q, &c, wire.FlagRA, wire.EDENotAuthoritative)
	case !f.allowed(c.Addr):
		f.stats.Count(q.ID, metrics.RefusedClient)
		return refuse(out, q, &c, 0, wire.EDEProhibited)
	}
	at := moment(now.Sub(f.epoch))
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
	g, labels := r.find(q)
	if h, ok := findHome(q); ok && h.labels > labels && !askAbroad(q) {
		f.stats.Count(q.ID, metrics.ForwardLocal)
		return h.appendTo(out, q, &c, r.above[string(q.Name())])
	}
	if g == nil {
		f.stats.Count(q.ID, metrics.RefusedNoUpstream)
		return refuse(out, q, &c, wire.FlagRA, wire.EDENotAuthoritative)
	}
	if ede, failed := f.cache.Failed(q, key, at, f.era.Load()); failed {
		if !f.servable(e, at) {
			e = nil
			f.stats.Count(q.ID, metrics.CacheFailure)
		}
		return f.appendFailure(out, e, q, &c, ede)
	}
	return out[:0]
}

// refuse appends the response that refuses q by policy, for the reason ede.
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

// servable reports whether e, which may be nil, can be served at now, if only out
// of date.
func (f *Forwarder) servable(e *cache.Entry, now moment) bool {
	return e != nil && e.Usable(now, f.config.StaleAge)
}

// appendEntry appends the response to q from e.
func (f *Forwarder) appendEntry(out []byte, e *cache.Entry, q *wire.Query, c *wire.Client, now moment, stale bool) []byte {
	out, cut := e.AppendTo(out, q, c, now, stale)
	if cut {
		f.stats.Count(q.ID, metrics.ForwardTruncated)
	}
	return out
}

// appendFailure appends the response to q from stale, or SERVFAIL if that is nil.
func (f *Forwarder) appendFailure(out []byte, stale *cache.Entry, q *wire.Query, c *wire.Client, ede uint16) []byte {
	if stale != nil {
		f.stats.Count(q.ID, metrics.CacheStale)
		return f.appendEntry(out, stale, q, c, 0, true)
	}
	o := c.Options
	o.EDE = ede
	return wire.AppendError(out, q, wire.ServFail, wire.FlagRA, o)
}

// Submit takes over a query that Cached has no response to, and reports whether
// it did: if not, too many are in flight already, and the client must be refused.
// q may be reused after. reply is called once at most, from another goroutine,
// with a message that is good until it returns; it must not block. It is not
// called when there is nothing to tell because Run has ended.
func (f *Forwarder) Submit(q *wire.Query, c wire.Client, reply func(msg []byte)) bool {
	g, _ := f.routes.Load().find(q)
	if g == nil || f.config.Local(q.Name()) {
		f.stats.Count(q.ID, metrics.RefusedNoUpstream)
		return false
	}
	if why, ok := f.flights.join(f, g, q, c, reply); !ok {
		f.stats.Count(q.ID, why)
		return false
	}
	f.stats.Count(q.ID, metrics.CacheMiss)
	return true
}

// letGo ends the questions that a flight has left open, some time later, so that
// upstreams that are merely slow are heard.
func (f *Forwarder) letGo(open int, cancel context.CancelFunc) {
	if open == 0 {
		cancel()
		return
	}
	if f.lingering.Add(1) > maxLinger {
		f.lingering.Add(-1)
		cancel()
		return
	}
	time.AfterFunc(linger, func() {
		f.lingering.Add(-1)
		cancel()
	})
}

// Flush drops from the cache what is known of a name, or of all names at or
// below it, and returns how many entries those were. Flights go on.
func (f *Forwarder) Flush(name Suffix, below bool) (entries int) {
	return f.cache.Flush(func(q message.Question) bool {
		return q.Name == name.name || below && wire.Within([]byte(q.Name), name.wire())
	})
}
