package resolver

import (
	"time"

	"github.com/internaldns/internaldns/zone/wire"
)

// A Forwarder resolves names that are not ours, by asking others. Its methods are
// called from many goroutines, and must not wait.
type Forwarder interface {
	// Cached appends the response to q, if it can be given at once, to out,
	// which is empty and has room for c.Limit octets, and returns it; empty if q
	// must be submitted. now is what time.Now returned some time in the same
	// batch of queries. Cached neither keeps q nor allocates.
	Cached(q *wire.Query, c wire.Client, now time.Time, out []byte) []byte

	// Submit takes over a query that Cached has no response to, and reports
	// whether it did. It does not keep q. It calls reply once at most, from
	// another goroutine, with a message that is good until reply returns.
	Submit(q *wire.Query, c wire.Client, reply func(msg []byte)) bool
}
