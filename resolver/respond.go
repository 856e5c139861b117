package resolver

import (
	"net/netip"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/wire"
)

// A responder turns one query after another into a response. One goroutine at a time
// may use it.
type responder struct {
	zone    *zone.Publisher
	forward Forwarder // nil: forwarding is off
	pending *pending
	shard   *metrics.Shard
	frame   zone.Frame // over UDP, Limit is Config.MaxUDPSize
	stream  bool       // queries come over TCP
	now     time.Time  // when the batch of queries was read

	q      wire.Query
	a      zone.Answer
	view   zone.View   // of the last client
	client wire.Client // of the last query that was forwarded
	missed bool        // q must be submitted to the forwarder
}

// respond appends the response to msg to out and returns it. msg came from src to
// dst. The result is empty if msg gets no response, or none yet: then respond sets
// r.missed, and the caller must call submit. out must be empty. respond does not keep
// msg, and allocates only if out lacks room for r.frame.Limit octets.
func (r *responder) respond(src, dst netip.Addr, msg, out []byte) []byte {
	r.missed = false
	verdict := r.q.Parse(msg)
	if r.stream && r.q.Keepalive == wire.KeepaliveBroken && verdict == wire.Answer {
		verdict = wire.FormErr // RFC 7828, Section 3.2.1: only a server sends a timeout
	}
	switch verdict {
	case wire.Answer:
	case wire.Drop:
		r.shard.Drop(dropReason(msg))
		return nil
	default:
		rcode := verdict.RCode()
		out = wire.AppendError(out, &r.q, rcode, r.frame.Flags, r.frame.Options)
		r.note(src, rcode, msg, out)
		return out
	}
	frame := r.frame
	if !r.stream {
		frame.Limit = min(frame.Limit, int(r.q.UDPSize))
	}
	// Consecutive queries often come from one client: a host has few clients.
	if table := r.zone.Table(); !r.view.Is(table, src, dst) {
		r.view = table.For(src, dst)
	}
	r.view.Lookup(&r.q, frame.Limit, &r.a)
	if r.a.Finding == zone.OutOfZone {
		return r.answerForwarded(src, frame.Limit, msg, out)
	}
	out, cut := r.a.AppendTo(out, &r.q, frame)
	if cut {
		r.shard.Truncated()
	}
	r.note(src, r.a.RCode(), msg, out)
	return out
}

func (r *responder) note(src netip.Addr, rcode wire.RCode, msg, out []byte) {
	r.shard.Note(r.q.Type, is6(src), uint16(rcode), len(msg), len(out))
}

// is6 reports whether queries from src come over IPv6.
func is6(src netip.Addr) bool { return src.Is6() && !src.Is4In6() }

// forget forgets the last client, after each batch: its view would keep an old
// Table in memory while no queries arrive.
func (r *responder) forget() { r.view = zone.View{} }

// dropReason returns why a message of msg's form gets no response.
func dropReason(msg []byte) metrics.Reason {
	if len(msg) < wire.HeaderLen {
		return metrics.DropShort
	}
	return metrics.DropResponse
}

// newUDPResponder returns the responder of a UDP worker.
func (s *Server) newUDPResponder() responder {
	return responder{
		zone:    s.config.Zone,
		forward: s.config.Forward,
		pending: s.pending,
		shard:   s.config.Metrics.NewShard(metrics.UDP),
		frame:   zone.Frame{Limit: s.config.MaxUDPSize, Truncate: true, Flags: s.flags()},
	}
}

// newTCPResponder returns the responder of a TCP worker.
func (s *Server) newTCPResponder() responder {
	return responder{
		zone:    s.config.Zone,
		forward: s.config.Forward,
		pending: s.pending,
		shard:   s.config.Metrics.NewShard(metrics.TCP),
		stream:  true,
		frame: zone.Frame{
			Limit:   wire.MaxMessageLen,
			Flags:   s.flags(),
			Options: wire.Options{Keepalive: uint16(min(s.config.TCPIdle/(100*time.Millisecond), 0xFFFF))},
		},
	}
}

// flags returns the header flags of every response.
func (s *Server) flags() uint16 {
	if s.config.Forward == nil {
		return 0
	}
	return wire.FlagRA
}
