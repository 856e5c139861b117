package resolver

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/zone/wire"
)

// A Forwarder resolves names that are not ours, by asking others. Its methods are
// called from many goroutines, and must not wait.
type Forwarder interface {
	// Cached appends the response to q, if it can be given at once, to out,
	// which is empty, and returns it; empty if q must be submitted. now is what
	// time.Now returned when the batch with q was read. Cached does not keep q,
	// and allocates only if out lacks room for c.Limit octets.
	Cached(q *wire.Query, c wire.Client, now time.Time, out []byte) []byte

	// Submit takes over a query that Cached has no response to, and reports
	// whether it did. It does not keep q. It has reply called once at most, from
	// any goroutine, with a message that is good until reply returns.
	Submit(q *wire.Query, c wire.Client, reply func(msg []byte)) bool
}

// settleLimit is how long, after the order to stop, clients still get what the
// forwarder owes them. Even if all upstreams are dead, a forwarder knows by then;
// what takes longer, its clients will ask again.
const settleLimit = 2 * time.Second

// foreign is respond for r.q of which the name is not ours. If the response must
// be waited for, it returns none and sets r.missed.
func (r *responder) foreign(src netip.Addr, limit int, msg, out []byte) []byte {
	if r.debts == nil {
		return r.refuse(src, wire.EDENotAuthoritative, msg, out)
	}
	r.client = wire.Client{Addr: src, Limit: limit, Stream: r.stream, Options: r.frame.Options}
	out = r.debts.forward.Cached(&r.q, r.client, r.now, out)
	if r.missed = len(out) == 0; !r.missed {
		noteForwarded(r.shard, r.q.Type, src, len(msg), out)
	}
	return out
}

// handOver leaves the query that was missed to the forwarder, which will give the
// response to reply, and returns none. Whoever is given it must say paid. If the
// forwarder does not take the query, handOver is respond, and refuses it.
func (r *responder) handOver(src netip.Addr, msg, out []byte, reply func(msg []byte)) []byte {
	if r.debts.incur() {
		if r.debts.forward.Submit(&r.q, r.client, reply) {
			return nil
		}
		r.debts.paid(1)
	}
	return r.refuse(src, wire.EDENone, msg, out)
}

// refuse appends the response that refuses r.q, for the reason ede.
func (r *responder) refuse(src netip.Addr, ede uint16, msg, out []byte) []byte {
	o := r.frame.Options
	o.EDE = ede
	out = wire.AppendError(out, &r.q, wire.RefusedR, r.frame.Flags, o)
	r.note(src, wire.RefusedR, msg, out)
	return out
}

// noteForwarded counts a query of qlen octets and the response that the forwarder
// has found.
func noteForwarded(s *metrics.Shard, qtype uint16, src netip.Addr, qlen int, resp []byte) {
	if resp[2]&(wire.FlagTC>>8) != 0 {
		s.Truncated()
	}
	s.Note(qtype, is6(src), uint16(resp[3]&0xF), qlen, len(resp))
}

// debts are the responses that the forwarder owes to clients of the server.
type debts struct {
	forward Forwarder
	open    atomic.Int64
	over    atomic.Bool   // nothing more is submitted
	settled chan struct{} // has an element when that is so and open is 0

	mu  sync.Mutex
	tcp *metrics.Shard // guarded by mu; counts for connections that are gone
}

func newDebts(f Forwarder, m *metrics.DNS) *debts {
	return &debts{forward: f, settled: make(chan struct{}, 1), tcp: m.NewShard(metrics.TCP)}
}

// incur notes a query that is going to be submitted, and reports whether it may
// be.
func (d *debts) incur() bool {
	d.open.Add(1)
	if d.over.Load() {
		d.paid(1)
		return false
	}
	return true
}

// paid notes that n clients have their response, or never will.
func (d *debts) paid(n int) {
	if d.open.Add(int64(-n)) == 0 && d.over.Load() {
		select {
		case d.settled <- struct{}{}:
		default:
		}
	}
}

// settle ends submitting and waits until nothing is owed, up to settleLimit.
func (d *debts) settle() {
	d.open.Add(1)
	d.over.Store(true)
	d.paid(1)
	select {
	case <-d.settled:
	case <-time.After(settleLimit):
	}
}

// lost counts a response whose TCP connection is gone.
func (d *debts) lost() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tcp.Drop(metrics.DropSend)
	d.tcp.Flush(0)
}
