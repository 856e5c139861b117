package metrics

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Where each kind of count begins in a shard's cells.
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
	// sizeBuckets is the number of buckets for sizes. The first holds messages of up
	// to 16 octets (the header takes 12). The bound of each other one is twice that
	// of the one before. The last has none: a message has at most 65,535 octets.
	sizeBuckets = 13

	// durationBuckets is the number of buckets for durations. Bucket i holds queries
	// that took longer than 2^(i-1) µs and not longer than 2^i: from 1 µs, in which a
	// good server answers from memory, to 8.4 s, after which no client waits. The
	// last has no upper bound. Two buckets for each factor of two would give finer
	// quantiles, for twice as many series.
	durationBuckets = 25
)

// A Shard counts the queries of one goroutine. Only that goroutine may call its
// methods. A scrape may come at any time; it sees the counts up to the last Flush.
type Shard struct {
	proto uint8 // place in protos

	// Counts since the last Flush. Only the owner uses these.
	queries uint64
	local   [numCells]uint64

	// Counts up to the last Flush, which scrapes read. Only the owner writes these.
	cells     [numCells]atomic.Uint64
	durations [durationBuckets]atomic.Uint64
	duration  atomic.Uint64 // nanoseconds, of all queries together
}

// Note counts a query and the response to it. qtype is 0 if it could not be read;
// rcode may be an extended RCODE; the lengths are in octets.
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

// Truncated counts a response that lacks records because they did not fit. Note counts
// it as well.
func (s *Shard) Truncated() { s.local[cellTruncated]++ }

// Flush publishes the counts since the last Flush; each query noted since then took
// elapsed. A worker calls it once per batch, after sending.
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
