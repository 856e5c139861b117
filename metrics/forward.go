package metrics

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Forward counts queries for forwarded names. It is a prometheus.Collector.
// The zero value counts from zero; a Forward must not be copied after first use.
type Forward struct {
	unchecked
	// Now returns what the forwarder measures at a scrape. It is set before the
	// first scrape and may be called from any goroutine.
	Now func() ForwardState

	stripes [stripes][numForwardCounts]atomic.Uint64
}

// stripes is over how many places each count is spread, so that the goroutines
// that answer queries seldom write to the same cache line.
const stripes = 16

// ForwardState is the state of a forwarder at one moment.
type ForwardState struct {
	Upstreams    []*Upstream // those in use, each once
	Waiting      int         // queries that wait for upstreams
	Questions    int         // questions that upstreams are being asked
	CacheEntries int
	CacheOctets  uint64
	Evictions    uint64 // since the forwarder was made
}

// A ForwardCount is what one count of a Forward counts.
type ForwardCount uint8

// The counts of a Forward.
const (
	CacheHit          ForwardCount = iota // query answered from the cache, with data
	CacheDenial                           // query answered from the cache: NODATA or NXDOMAIN
	CacheFailure                          // query answered SERVFAIL because upstreams have just failed
	CacheStale                            // query answered from the cache, out of date
	CacheMiss                             // query that upstreams are asked for
	CachePrefetch                         // question asked before its answer is out of date
	ForwardLocal                          // query answered here because no upstream may be asked
	ForwardJoined                         // miss whose question was already being asked
	ForwardFailed                         // question that no upstream answered
	ForwardTruncated                      // response that lacks records because they did not fit
	RefusedRD                             // refused: the query does not desire recursion
	RefusedClient                         // refused: the client may not use forwarding
	RefusedNoUpstream                     // refused: no upstream is set for the name
	RefusedFull                           // refused: too many queries wait
	RefusedSource                         // refused: too many queries of the client wait
	_                                     // fills a stripe's second cache line
	numForwardCounts
)

// forwardCounts gives each ForwardCount its metric, and its label if it has one.
var forwardCounts = [...]struct {
	metric metric
	labels []string
}{
	CacheHit:          {cacheHits, []string{"success"}},
	CacheDenial:       {cacheHits, []string{"denial"}},
	CacheFailure:      {cacheHits, []string{"failure"}},
	CacheStale:        {cacheStale, nil},
	CacheMiss:         {cacheMisses, nil},
	CachePrefetch:     {cachePrefetches, nil},
	ForwardLocal:      {forwardLocal, nil},
	ForwardJoined:     {forwardJoined, nil},
	ForwardFailed:     {forwardFailed, nil},
	ForwardTruncated:  {forwardTruncated, nil},
	RefusedRD:         {forwardRefused, []string{"rd"}},
	RefusedClient:     {forwardRefused, []string{"client"}},
	RefusedNoUpstream: {forwardRefused, []string{"no_upstream"}},
	RefusedFull:       {forwardRefused, []string{"full"}},
	RefusedSource:     {forwardRefused, []string{"source"}},
}

// Count counts one more of c. id is the query's ID, which chooses the place that
// is written.
func (f *Forward) Count(id uint16, c ForwardCount) { f.stripes[id%stripes][c].Add(1) }

// Total returns how many of c were counted.
func (f *Forward) Total(c ForwardCount) (n uint64) {
	for i := range f.stripes {
		n += f.stripes[i][c].Load()
	}
	return n
}

// Collect implements prometheus.Collector.
func (f *Forward) Collect(ch chan<- prometheus.Metric) {
	for c, m := range forwardCounts {
		m.metric.send(ch, float64(f.Total(ForwardCount(c))), m.labels...)
	}
	now := f.Now()
	forwardWaiting.send(ch, float64(now.Waiting))
	forwardQuestions.send(ch, float64(now.Questions))
	cacheEntries.send(ch, float64(now.CacheEntries))
	cacheSize.send(ch, float64(now.CacheOctets))
	cacheEvictions.send(ch, float64(now.Evictions))
	for _, u := range now.Upstreams {
		u.collect(ch)
	}
}

// A Transport is how an upstream is asked.
type Transport uint8

// The transports to upstreams.
const (
	OverUDP Transport = iota
	OverTCP
	OverTLS
	numTransports
)

var transports = [numTransports]string{UDP, TCP, "tls"}

// latencyBuckets is the number of buckets for the time to a response. Bucket i holds
// responses after more than 2^(i-1) × 64 µs and at most 2^i × 64 µs: from upstreams on
// the same machine to 4.2 s. The last has no upper bound.
const latencyBuckets = 18

// numUpstreamRCodes is the number of counts of responses: RCODE 0 to 10, and one
// for all others.
const numUpstreamRCodes = 12

// An Upstream counts what one upstream does. Its methods and fields may be used
// from any goroutine.
type Upstream struct {
	name       string
	healthy    func() bool
	mismatches []string // values of the label reason

	Timeouts atomic.Uint64 // queries that were not answered in their time
	Errors   atomic.Uint64 // queries that could not be sent, or whose stream broke
	Hedges   atomic.Uint64 // queries sent because another upstream took long
	Probes   atomic.Uint64

	requests   [numTransports]atomic.Uint64
	responses  [numUpstreamRCodes]atomic.Uint64
	mismatched []atomic.Uint64 // as mismatches
	latency    [latencyBuckets]atomic.Uint64
	latencySum atomic.Int64 // nanoseconds
}

// NewUpstream returns the counts of the upstream that the settings call name.
// mismatches are the names of what Mismatch counts; one that is empty is not
// shown. healthy is called at each scrape.
func NewUpstream(name string, mismatches []string, healthy func() bool) *Upstream {
	return &Upstream{name: name, healthy: healthy, mismatches: mismatches, mismatched: make([]atomic.Uint64, len(mismatches))}
}

// Request counts a query sent.
func (u *Upstream) Request(t Transport) { u.requests[t].Add(1) }

// Requests returns how many queries were sent over t.
func (u *Upstream) Requests(t Transport) uint64 { return u.requests[t].Load() }

// Response counts an accepted response, which came after took.
func (u *Upstream) Response(rcode uint16, took time.Duration) {
	took = max(took, 0)
	u.responses[min(rcode, numUpstreamRCodes-1)].Add(1)
	u.latency[latencyBucket(took)].Add(1)
	u.latencySum.Add(int64(took))
}

// Responses returns how many responses with rcode were accepted. All RCODEs from
// 11 are counted as one.
func (u *Upstream) Responses(rcode uint16) uint64 {
	return u.responses[min(rcode, numUpstreamRCodes-1)].Load()
}

// Mismatch counts a message that is not the response to a query. what is an index
// of the names that NewUpstream was given.
func (u *Upstream) Mismatch(what int) { u.mismatched[what].Add(1) }

// Mismatches returns how many messages were counted as what.
func (u *Upstream) Mismatches(what int) uint64 { return u.mismatched[what].Load() }

func (u *Upstream) collect(ch chan<- prometheus.Metric) {
	for t, name := range transports {
		forwardRequests.send(ch, float64(u.requests[t].Load()), u.name, name)
	}
	for i := range u.responses {
		rcode := rcodes[i]
		if i == len(u.responses)-1 {
			rcode = rcodes[len(rcodes)-1]
		}
		forwardResponses.send(ch, float64(u.responses[i].Load()), u.name, rcode)
	}
	for i, reason := range u.mismatches {
		if reason != "" {
			forwardMismatches.send(ch, float64(u.mismatched[i].Load()), u.name, reason)
		}
	}
	counts := make([]uint64, latencyBuckets)
	for i := range counts {
		counts[i] = u.latency[i].Load()
	}
	forwardDuration.sendBuckets(ch, counts, time.Duration(u.latencySum.Load()).Seconds(), latencyBound, u.name)
	forwardTimeouts.send(ch, float64(u.Timeouts.Load()), u.name)
	forwardErrors.send(ch, float64(u.Errors.Load()), u.name)
	forwardHedges.send(ch, float64(u.Hedges.Load()), u.name)
	forwardProbes.send(ch, float64(u.Probes.Load()), u.name)
	forwardHealthy.send(ch, oneIf(u.healthy()), u.name)
}

// latencyBucket returns the bucket of d.
func latencyBucket(d time.Duration) int {
	return min(bits.Len64(uint64(max(d-1, 0))/uint64(64*time.Microsecond)), latencyBuckets-1)
}

// latencyBound returns the upper bound of a latency bucket, in seconds.
func latencyBound(i int) float64 { return (64 * time.Microsecond << i).Seconds() }
