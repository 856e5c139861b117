package metrics

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// protos are the values of the label proto.
var protos = [...]string{UDP, TCP}

// A DNS counts what the server does for its clients. It is a
// prometheus.Collector. The zero value counts from zero; a DNS must not be
// copied after first use.
type DNS struct {
	unchecked
	accepted atomic.Uint64
	closed   [numClosings]atomic.Uint64

	mu     sync.Mutex
	shards []*Shard // guarded by mu; only grows
}

// NewShard returns a shard for one goroutine that answers over proto, which is
// UDP or TCP. It is never freed, so the number of such goroutines must be bounded.
func (d *DNS) NewShard(proto string) *Shard {
	p := 0
	switch proto {
	case UDP:
	case TCP:
		p = 1
	default:
		panic("metrics: no such transport: " + proto)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &Shard{proto: uint8(p)}
	d.shards = append(d.shards, s)
	return s
}

// Accepted counts a new TCP connection. Closed must follow once it is closed.
func (d *DNS) Accepted() { d.accepted.Add(1) }

// Closed counts the end of a TCP connection.
func (d *DNS) Closed(why Closing) { d.closed[why].Add(1) }

// Collect implements prometheus.Collector. It adds up the shards while they are
// written: each value is right at some moment of the call, but not all at the same.
func (d *DNS) Collect(ch chan<- prometheus.Metric) {
	var responses [len(rcodes)]uint64
	for p, sum := range d.sum() {
		proto := protos[p]
		for f, family := range families {
			for t, qtype := range types {
				dnsRequests.send(ch, float64(sum.cells[cellRequests+f*len(types)+t]), proto, family, qtype)
			}
		}
		for i := range responses {
			responses[i] += sum.cells[cellResponses+i]
		}
		dnsDuration.sendBuckets(ch, sum.durations[:], time.Duration(sum.duration).Seconds(), durationBound, proto)
		dnsRequestSize.sendBuckets(ch, sum.cells[cellRequestSize:][:sizeBuckets], float64(sum.cells[cellRequestSum]), sizeBound, proto)
		dnsResponseSize.sendBuckets(ch, sum.cells[cellResponseSize:][:sizeBuckets], float64(sum.cells[cellResponseSum]), sizeBound, proto)
		dnsTruncated.send(ch, float64(sum.cells[cellTruncated]), proto)
		for i, reason := range reasons {
			dnsDropped.send(ch, float64(sum.cells[cellDropped+i]), proto, reason)
		}
	}
	for i, rcode := range rcodes {
		dnsResponses.send(ch, float64(responses[i]), rcode)
	}
	d.collectTCP(ch)
}

func (d *DNS) collectTCP(ch chan<- prometheus.Metric) {
	closed := uint64(0)
	for i, reason := range closings {
		n := d.closed[i].Load()
		closed += n
		tcpClosed.send(ch, float64(n), reason)
	}
	accepted := d.accepted.Load() // after closed, so that the difference is never negative
	tcpAccepted.send(ch, float64(accepted))
	tcpOpen.send(ch, float64(accepted-closed))
}

// A total is the sum of all shards of one transport.
type total struct {
	cells     [numCells]uint64
	durations [durationBuckets]uint64
	duration  uint64
}

// sum returns the totals by transport.
func (d *DNS) sum() *[len(protos)]total {
	d.mu.Lock()
	shards := d.shards // this part does not change: shards are only added
	d.mu.Unlock()
	var sums [len(protos)]total
	for _, s := range shards {
		sum := &sums[s.proto]
		for i := range &s.cells {
			sum.cells[i] += s.cells[i].Load()
		}
		for i := range &s.durations {
			sum.durations[i] += s.durations[i].Load()
		}
		sum.duration += s.duration.Load()
	}
	return &sums
}
