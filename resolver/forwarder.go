package resolver

import (
	"net/netip"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/zone/wire"
)

// A Forwarder resolves names outside the zones of this server, by asking other
// servers. Its methods are called from many goroutines, and must not wait.
type Forwarder interface {
	// Cached appends the response to q to out, which is empty, and returns it.
	// The result is empty if there is no response yet, and q must be submitted.
	// now is when the batch with q was read. Cached does not keep q. It
	// allocates only if out lacks room for c.Limit octets.
	Cached(q *wire.Query, c wire.Client, now time.Time, out []byte) []byte

	// Submit takes over a query that Cached has no response to, and reports
	// whether it did. It does not keep q. It calls reply at most once, from any
	// goroutine, with a message that is good until reply returns.
	Submit(q *wire.Query, c wire.Client, reply func(msg []byte)) bool
}

// answerForwarded is the part of respond for names that are forwarded. If the
// forwarder has no response yet, it returns none and sets r.missed.
func (r *responder) answerForwarded(src netip.Addr, limit int, msg, out []byte) []byte {
	if r.forward == nil {
		return r.refuse(src, wire.EDENotAuthoritative, msg, out)
	}
	r.client = wire.Client{Addr: src, Limit: limit, Stream: r.stream, Options: r.frame.Options}
	out = r.forward.Cached(&r.q, r.client, r.now, out)
	if r.missed = len(out) == 0; !r.missed {
		noteForwarded(r.shard, r.q.Type, src, len(msg), out)
	}
	return out
}

// submit submits r.q to the forwarder and returns no response: the forwarder will
// pass it to reply, which must call r.pending.done. If the forwarder does not take
// the query, submit appends the response that refuses it to out, and returns that.
func (r *responder) submit(src netip.Addr, msg, out []byte, reply func(msg []byte)) []byte {
	if r.pending.add() {
		if r.forward.Submit(&r.q, r.client, reply) {
			return nil
		}
		r.pending.done(1)
	}
	return r.refuse(src, wire.EDENone, msg, out)
}

// refuse appends the response that refuses r.q, with ede as the reason.
func (r *responder) refuse(src netip.Addr, ede uint16, msg, out []byte) []byte {
	o := r.frame.Options
	o.EDE = ede
	out = wire.AppendError(out, &r.q, wire.RefusedR, r.frame.Flags, o)
	r.note(src, wire.RefusedR, msg, out)
	return out
}

// noteForwarded counts a query of qlen octets and the forwarder's response.
func noteForwarded(s *metrics.Shard, qtype uint16, src netip.Addr, qlen int, resp []byte) {
	if resp[2]&(wire.FlagTC>>8) != 0 {
		s.Truncated()
	}
	s.Note(qtype, is6(src), uint16(resp[3]&0xF), qlen, len(resp))
}
