package forward

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
)

// latencyBuckets is the number of buckets for how long upstreams take. Bucket i
// holds what took longer than 2^(i-1) × 64 µs and not longer than 2^i × 64 µs: from
// an upstream on the same machine to 4.2 s; the last has no upper bound.
const latencyBuckets = 18

// LatencyBound returns the upper bound of the i-th bucket of Latency.
func LatencyBound(i int) time.Duration { return 64 * time.Microsecond << i }

func latencyBucket(d time.Duration) int {
	return min(bits.Len64(uint64(max(d-1, 0))/uint64(64*time.Microsecond)), latencyBuckets-1)
}

// numRCodes is the number of RCODEs that are counted each by itself; the last is
// for all others.
const numRCodes = 12

// upstreamStats are the counts of one upstream.
type upstreamStats struct {
	requests   [numTransports]atomic.Uint64
	responses  [numRCodes]atomic.Uint64
	mismatches [message.NumMismatches]atomic.Uint64
	latency    [latencyBuckets]atomic.Uint64
	latencySum atomic.Uint64 // in nanoseconds
	timeouts   atomic.Uint64
	errors     atomic.Uint64
	hedges     atomic.Uint64
	probes     atomic.Uint64
}

func (s *upstreamStats) response(rcode wire.RCode, took time.Duration) {
	s.responses[min(int(rcode), numRCodes-1)].Add(1)
	s.latency[latencyBucket(took)].Add(1)
	s.latencySum.Add(uint64(max(took, 0)))
}

// Mismatches are the names of UpstreamStats.Mismatches, in order; the first is empty.
var Mismatches = message.Mismatches

// UpstreamStats are the counts of one upstream, each true at some moment of the
// call that returned them.
type UpstreamStats struct {
	Upstream   string                        // as ParseUpstream reads it
	Requests   [numTransports]uint64         // by Transport
	Responses  [numRCodes]uint64             // by RCODE; the last are all others
	Mismatches [message.NumMismatches]uint64 // by message.Mismatch: messages that were not believed
	Latency    [latencyBuckets]uint64        // of responses, by LatencyBound
	LatencySum time.Duration
	Timeouts   uint64 // queries that were not answered in their time
	Errors     uint64 // queries that could not be sent, or whose stream broke
	Hedges     uint64 // queries sent because another upstream took long
	Probes     uint64
	Healthy    bool
}

func (u *upstream) snapshot() UpstreamStats {
	s := UpstreamStats{
		Upstream:   u.String(),
		LatencySum: time.Duration(u.stats.latencySum.Load()),
		Timeouts:   u.stats.timeouts.Load(),
		Errors:     u.stats.errors.Load(),
		Hedges:     u.stats.hedges.Load(),
		Probes:     u.stats.probes.Load(),
		Healthy:    !u.dead.Load() && !u.silent(),
	}
	load(s.Requests[:], u.stats.requests[:])
	load(s.Responses[:], u.stats.responses[:])
	load(s.Mismatches[:], u.stats.mismatches[:])
	load(s.Latency[:], u.stats.latency[:])
	return s
}

func load(dst []uint64, src []atomic.Uint64) {
	for i := range src {
		dst[i] = src[i].Load()
	}
}

// Stats are the counts of a Forwarder.
type Stats struct {
	Upstreams []UpstreamStats // those in use now, each once

	// Of queries, by what became of them.
	Hits         uint64              // answered from the cache with data
	NegativeHits uint64              // answered from the cache: NODATA or NXDOMAIN
	StaleHits    uint64              // answered out of date
	FailureHits  uint64              // answered SERVFAIL because it had just failed
	HomeHits     uint64              // answered here because nobody upstream may be asked
	Misses       uint64              // taken over
	Refused      [numRefusals]uint64 // by Refusal

	Joined     uint64 // misses that joined a flight under way
	Failed     uint64 // flights that ended in SERVFAIL
	Truncated  uint64 // responses that lack records for want of room
	Prefetches uint64
	Evictions  uint64

	InFlight     int // queries waiting for upstreams
	Flights      int // questions being asked
	CacheEntries int
	CacheOctets  uint64
}

// A Refusal is why a query was refused.
type Refusal uint8

const (
	RefusedRD     Refusal = iota // it does not desire recursion
	RefusedClient                // its client may not use forwarding
	RefusedRoute                 // no upstream is set for its name
	RefusedFull                  // too many queries are in flight
	RefusedSource                // too many of its client are
	numRefusals
)

// Refusals are the names of Refusal, in order, for metrics.
var Refusals = [numRefusals]string{"rd", "client", "no_upstream", "full", "source"}

// A Transport is how an upstream was asked.
type Transport uint8

const (
	UDP Transport = iota
	TCP
	TLS
	numTransports
)

// Transports are the names of Transport, in order, for metrics.
var Transports = [numTransports]string{"udp", "tcp", "tls"}

// stripes is over how many places a count of the hot path is spread, so that
// workers seldom write the same memory.
const stripes = 16

// hotStats are counts that the callers of Cached write.
type hotStats struct {
	hits, negative, stale, failure, home atomic.Uint64
	truncated                            atomic.Uint64
	refused                              [numRefusals]atomic.Uint64
	_                                    [5 * 8]byte // to a multiple of a cache line
}

// counters are the counts of a Forwarder beside those of its upstreams.
type counters struct {
	hot [stripes]hotStats

	misses, joined, failed, prefetches atomic.Uint64
}

// at returns the stripe for a query.
func (s *counters) at(id uint16) *hotStats { return &s.hot[id%stripes] }

// Stats returns what was counted so far.
func (f *Forwarder) Stats() Stats {
	s := Stats{
		Misses:       f.stats.misses.Load(),
		Joined:       f.stats.joined.Load(),
		Failed:       f.stats.failed.Load(),
		Prefetches:   f.stats.prefetches.Load(),
		Evictions:    f.cache.Evicted(),
		CacheEntries: f.cache.Len(),
		CacheOctets:  f.cache.Octets(),
	}
	s.InFlight, s.Flights = f.flights.count()
	for i := range f.stats.hot {
		h := &f.stats.hot[i]
		s.Hits += h.hits.Load()
		s.NegativeHits += h.negative.Load()
		s.StaleHits += h.stale.Load()
		s.FailureHits += h.failure.Load()
		s.HomeHits += h.home.Load()
		s.Truncated += h.truncated.Load()
		for r := range h.refused {
			s.Refused[r] += h.refused[r].Load()
		}
	}
	for _, u := range f.upstreams() {
		s.Upstreams = append(s.Upstreams, u.snapshot())
	}
	return s
}
