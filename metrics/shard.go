package metrics

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Where in a shard's cells each kind of count begins.
const (
	cellRequests     = 0 // by family, then type
	cellResponses    = cellRequests + len(families)*len(types)
	cellRequestSize  = cellResponses + len(rcodes)
	cellResponseSize = cellRequestSize + sizeBuckets
	cellDropped      = cellResponseSize + sizeBuckets
	cellTruncated    = cellDropped + int(numReasons)
	cellRequestSum   = cellTruncated + 1
	cellResponseSum  = cellRequestSum + 1
	numCells         = cellResponseSum + 1
)

const (
	// sizeBuckets is the number of buckets for sizes. The first holds messages
	// of up to 16 octets (the header alone takes 12), each other those of up to
	// twice as much as the one before; the last has no upper bound and needs
	// none.
	sizeBuckets = 13

	// durationBuckets is the number of buckets for durations. Bucket i holds
	// what took longer than 2^(i-1) µs and not longer than 2^i: from 1 µs, in
	// which a good server answers from memory, to 8.4 s, at which no client
	// waits any more. Two more buckets per factor of two would give quantiles
	// in finer steps, for two thirds more series.
	durationBuckets = 25
)

// A Shard counts the queries of one goroutine. Its methods may be called by
// that goroutine only; scrapes may happen at any time and see what was flushed.
type Shard struct {
	proto uint8 // place in protos

	// What Flush has not published yet. Only the owner touches these.
	queries uint64
	local   [numCells]uint64

	// What scrapes read. Only the owner writes these.
	cells     [numCells]atomic.Uint64
	durations [durationBuckets]atomic.Uint64
	duration  atomic.Uint64 // nanoseconds, of all queries together
}

// Note counts a query and the response to it: QTYPE, or 0 if it could not be
// read; whether it came over IPv6; the response's RCODE, extended ones included;
// and the length of both, in octets.
func (s *Shard) Note(qtype uint16, ipv6 bool, rcode uint16, reqLen, respLen int) {
	at := cellRequests
	if ipv6 {
		at += len(types)
	}
	if int(qtype) < len(typeAt) {
		at += int(typeAt[qtype])
	}
	s.queries++
	s.local[at]++
	s.local[cellResponses+int(rcodeAt[min(int(rcode), len(rcodeAt)-1)])]++
	s.local[cellRequestSize+sizeBucket(reqLen)]++
	s.local[cellResponseSize+sizeBucket(respLen)]++
	s.local[cellRequestSum] += uint64(reqLen)
	s.local[cellResponseSum] += uint64(respLen)
}

// Drop counts a message that gets no response.
func (s *Shard) Drop(r Reason) { s.local[cellDropped+int(r)]++ }

// Truncated counts a response that lacks records because they did not fit. It is noted
// besides.
func (s *Shard) Truncated() { s.local[cellTruncated]++ }

// Flush publishes what was counted since the last Flush, and that each query
// noted since then took elapsed. A worker calls it once per batch, after sending.
func (s *Shard) Flush(elapsed time.Duration) {
	for i, n := range &s.local {
		if n != 0 {
			s.cells[i].Add(n)
			s.local[i] = 0
		}
	}
	if s.queries != 0 {
		s.durations[durationBucket(elapsed)].Add(s.queries)
		s.duration.Add(s.queries * uint64(max(elapsed, 0)))
		s.queries = 0
	}
}

// sizeBucket returns the bucket of a message of n octets, 1 to 65,535.
func sizeBucket(n int) int { return bits.Len16(uint16(n-1) >> 4) }

// sizeBound returns the upper bound of a size bucket, in octets.
func sizeBound(i int) float64 { return float64(uint(16) << i) }

// durationBucket returns the bucket of d.
func durationBucket(d time.Duration) int {
	whole := uint64(max(d-1, 0)) / uint64(time.Microsecond) // one less than d in µs, rounded up
	return min(bits.Len64(whole), durationBuckets-1)
}

// durationBound returns the upper bound of a duration bucket, in seconds.
func durationBound(i int) float64 { return float64(uint(1)<<i) / 1e6 }
