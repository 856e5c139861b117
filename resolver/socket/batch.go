package socket

import (
	"errors"
	"net/netip"
	"time"
)

const (
	// BatchSize is the most datagrams that a Batch reads or writes in one system
	// call. From 32 on, entering the kernel is a small part of the cost of a
	// datagram; a larger batch adds latency for its first datagram, and memory.
	BatchSize = 32

	// MaxDatagram is the most octets that a Batch reads of a datagram; longer ones
	// are reported as Cut. DNS queries take 30 to 100. The number is 31 cache
	// lines: since 31 is odd, the buffers of a batch begin in different sets of
	// the cache.
	MaxDatagram = 1984

	// staleAfter is the age at which a datagram is dropped. Stub resolvers ask
	// again or give up after 2 s, and answering queries that have no waiting
	// client delays those that have one.
	staleAfter = 2 * time.Second

	// drainBatches is the most batches that Recv returns after Stop: more than a
	// socket buffer holds.
	drainBatches = 64
)

// ErrStopped is returned by Recv when it has returned everything that arrived
// before Stop.
var ErrStopped = errors.New("stopped")

// A Datagram is one that Recv read.
type Datagram struct {
	Src netip.AddrPort
	Dst netip.Addr // the local address that it was sent to
	Msg []byte     // good until the next Recv
	Cut bool       // it was longer than MaxDatagram; Msg holds its beginning
}
