package forward

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
)

const (
	// silentAfter is how long an upstream may take to answer before that is
	// held against it, unless it is known to be slow. Nobody should wait much
	// longer than this because an upstream died.
	silentAfter = 100 * time.Millisecond

	// silentMisses is how many queries in a row, and nothing else heard
	// meanwhile, make an upstream silent: others are asked first then. One or
	// two may be names that take long to find out.
	silentMisses = 3

	// featureTime is how long it is believed that an upstream cannot do
	// something that every server should. Then it is tried again, at the price
	// of one query that takes longer.
	featureTime = 10 * time.Minute

	// brokenCase is how many responses in another letter case than the query's,
	// each confirmed over a way that no stranger can write to, make 0x20 be left
	// off.
	brokenCase = 2
)

// An upstream is one Upstream at work: who it is, how it is doing, and what was
// counted. Everything in it may be used from any goroutine.
type upstream struct {
	Upstream
	stats *metrics.Upstream
	rtt   rtt
	pool  streams // over TLS

	heard   atomic.Int64                     // moment of the last response; before the first, -1
	missed  atomic.Int32                     // queries not answered in time since
	unheard atomic.Pointer[message.Question] // the last of them
	blamed  atomic.Bool                      // a question failed because of u since
	dead    atomic.Bool                      // probes are not answered either
	why     atomic.Uint32                    // the extended error that says how it fails
	probing atomic.Bool
	probed  atomic.Int64 // moment of the last probe

	noEDNS     atomic.Int64 // until this moment it cannot do EDNS
	plainCase  atomic.Int64 // until this moment it does not keep letter case
	caseFaults atomic.Int32
}

func newUpstream(u Upstream) *upstream {
	up := &upstream{Upstream: u}
	up.stats = metrics.NewUpstream(u.String(), message.Mismatches[:], func() bool { return up.state() == healthy })
	up.heard.Store(-1)
	up.probed.Store(int64(-probeEvery))
	up.why.Store(wire.EDENoReach)
	return up
}

// transport is how u is asked if nothing speaks against it.
func (u *upstream) transport() metrics.Transport {
	if u.TLS {
		return metrics.OverTLS
	}
	return metrics.OverUDP
}

// hear notes that a response has come. It reports whether u was dead until then,
// and whether questions failed because of u.
func (u *upstream) hear(now moment) (dead, blamed bool) {
	u.heard.Store(int64(now))
	u.missed.Store(0)
	u.why.Store(wire.EDENoReach)
	return clearFlag(&u.dead), clearFlag(&u.blamed)
}

// clearFlag clears b and reports whether it was set. Usually it was not, and then
// nothing is written.
func clearFlag(b *atomic.Bool) bool { return b.Load() && b.CompareAndSwap(true, false) }

// heardSince reports whether u has answered anything since.
func (u *upstream) heardSince(since moment) bool { return moment(u.heard.Load()) >= since }

// miss notes that q, sent at that moment, was not answered in time or could not
// be sent. If other responses came meanwhile, that is not held against u, and
// miss reports false.
func (u *upstream) miss(q message.Question, sent moment) bool {
	if u.heardSince(sent) {
		return false
	}
	u.unheard.Store(&q)
	u.missed.Add(1)
	return true
}

// silent reports whether u should only be asked when nobody else can be.
func (u *upstream) silent() bool { return u.missed.Load() >= silentMisses }

// patience is how long u may take before that is held against it.
func (u *upstream) patience() time.Duration {
	return min(max(silentAfter, 3*u.rtt.p95()), time.Second)
}

// hedgeAfter is how long to wait for u before the next upstream is asked too.
func (u *upstream) hedgeAfter() time.Duration {
	if p95 := u.rtt.p95(); p95 != 0 {
		return min(max(p95, minHedge), maxHedge)
	}
	return maxHedge
}

// edns and mixed say whether u is asked with EDNS, and in random letter case.
func (u *upstream) edns(now moment) bool  { return int64(now) >= u.noEDNS.Load() }
func (u *upstream) mixed(now moment) bool { return int64(now) >= u.plainCase.Load() }

// withoutEDNS notes that u answered only when asked without EDNS.
func (u *upstream) withoutEDNS(now moment) { u.noEDNS.Store(int64(now.After(featureTime))) }

// changesCase notes that u answered truly, but does not keep letter case.
func (u *upstream) changesCase(now moment) {
	if u.caseFaults.Add(1) >= brokenCase {
		u.caseFaults.Store(0)
		u.plainCase.Store(int64(now.After(featureTime)))
	}
}

const (
	// rttSamples is how many round trips the p95 is taken of: enough for one
	// with meaning, and few enough that a change shows within seconds.
	rttSamples = 64
	// rttLeast is how many there must be before the p95 is believed.
	rttLeast = 8

	// minHedge and maxHedge bound how long the first upstream has before the
	// next is asked. Below minHedge a pause of our own would look like one of
	// the upstream.
	minHedge = 5 * time.Millisecond
	maxHedge = 100 * time.Millisecond
)

// An rtt is how long the last responses took.
type rtt struct {
	mu      sync.Mutex
	samples [rttSamples]time.Duration // guarded by mu
	n       int                       // guarded by mu; ever added
	known   atomic.Int64              // the p95 in nanoseconds; 0: not yet known
	median  atomic.Int64              // in nanoseconds
}

// add notes one round trip. The p95 is found anew every few.
func (r *rtt) add(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.samples[r.n%rttSamples] = d
	r.n++
	if r.n%rttLeast != 0 {
		return
	}
	n := min(r.n, rttSamples)
	var sorted [rttSamples]time.Duration
	copy(sorted[:], r.samples[:n])
	slices.Sort(sorted[:n])
	r.known.Store(int64(max(sorted[n*95/100], 1)))
	r.median.Store(int64(sorted[n/2]))
}

// p95 returns within which time nearly all responses come; 0 if that is not known.
func (r *rtt) p95() time.Duration { return time.Duration(r.known.Load()) }
