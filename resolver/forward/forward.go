package forward

import (
	"context"
	"net/netip"
	"time"

	"github.com/internaldns/internaldns/zone/wire"
)

// A Forwarder resolves names by asking upstreams. Its methods may be called from
// any goroutine.
type Forwarder struct {
	config Config
}

// A Client is what a response depends on beside the query.
type Client struct {
	Addr    netip.Addr
	Limit   int          // most octets that the response may have
	Stream  bool         // asks over TCP: there is no larger room to come back for
	Options wire.Options // of the response's OPT; the Forwarder fills in EDE
}

// New returns a Forwarder, or everything that is wrong with c. It answers at
// once from then on; Run adds what takes goroutines.
func New(c Config) (*Forwarder, error) {
	c.setDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	return &Forwarder{config: c}, nil
}

// Run does what a Forwarder does beside answering, until ctx is done. Then it
// ends all flights, waits for every goroutine and returns nil. A Forwarder runs
// once; what is submitted before Run or after it is not taken.
func (f *Forwarder) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Cached appends the response to q, if it can be given at once, to out, which
// must be empty, and returns it. It is empty if there is none: then q must be
// submitted. now must come from time.Now and may be some milliseconds old.
// Cached allocates only if out lacks room.
func (f *Forwarder) Cached(q *wire.Query, c Client, now time.Time, out []byte) []byte {
	return wire.AppendError(out, q, wire.RefusedR, 0, c.Options)
}

// Submit takes over a query that Cached has no response to, and reports whether
// it did: if not, too many are in flight already, and the client must be refused.
// q may be reused after. reply is called once at most, from another goroutine,
// with a message that is good until it returns; it must not block. It is not
// called when nothing came to tell, such as after Run has ended.
func (f *Forwarder) Submit(q *wire.Query, c Client, reply func(msg []byte)) bool {
	return false
}

// Flush drops from the cache what is known of a name, or of all names at or
// below it, and returns how many entries those were. Flights go on.
func (f *Forwarder) Flush(name Suffix, below bool) (entries int) { return 0 }
