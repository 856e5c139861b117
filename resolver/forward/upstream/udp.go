package upstream

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/internaldns/internaldns/resolver/forward/message"
)

// udpRoom is how many octets of a datagram are read. Servers are told that we
// take wire.ReceiveSize. A datagram that fills the room is longer, and may have
// been cut.
const udpRoom = 2048

// examine returns what a datagram from the server says about q. It returns false
// if it says nothing yet: whatever is wrong with a datagram, the response can
// still come.
func (a *Asker) examine(q *Query, msg []byte) (Event, bool) {
	match := q.message.Match(msg)
	switch match {
	case message.Matches:
		if message.Truncated(msg) || len(msg) == udpRoom {
			return Event{Err: ErrTruncated}, true
		}
		resp, err := message.Clean(msg, q.Question, a.config.IsLocal)
		if err != message.ErrMalformed {
			return Event{Response: resp, Err: err}, true
		}
		match = message.MismatchForm
	case message.BareError:
		return Event{Hint: HintNoEDNS}, true
	}
	q.Server.Stats.Mismatch(int(match))
	q.mismatches++
	switch {
	case match == message.MismatchCase:
		return Event{Hint: HintCase}, true
	case q.mismatches == forgedHint:
		return Event{Hint: HintForged}, true
	}
	return Event{}, false
}

// udpBuffers are for datagrams that goroutines read. Nothing keeps a part of
// them.
var udpBuffers = sync.Pool{New: func() any { return new([udpRoom]byte) }}

// past is a deadline that ends all waiting.
var past = time.Unix(1, 0)

// exchangeUDP asks from a new socket, for which the kernel chooses a random port,
// and waits in this goroutine.
func (a *Asker) exchangeUDP(ctx context.Context, q *Query, hint func(Hint)) (*message.Response, error) {
	if !a.sockets.take(q) {
		return nil, ErrNoSocket
	}
	defer a.sockets.giveBack()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(q.Server.Addr))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(past) })()
	q.message = *message.NewQuery(q.Question, q.EDNS, q.MixedCase)
	if _, err := conn.Write(q.message.Octets); err != nil {
		return nil, err
	}
	buf := udpBuffers.Get().(*[udpRoom]byte)
	defer udpBuffers.Put(buf)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf[:])
		if err != nil {
			return nil, err
		}
		if !q.Server.isAt(from) {
			continue // it came before the socket had a peer
		}
		switch ev, ok := a.examine(q, buf[:n]); {
		case ok && ev.Hint != 0:
			hint(ev.Hint)
		case ok:
			return ev.Response, ev.Err
		}
	}
}

// isAt reports whether from is the server's address and port. The zone of an
// address does not count: the socket is bound to it.
func (s *Server) isAt(from netip.AddrPort) bool {
	return from.Port() == s.Addr.Port() && from.Addr().Unmap().WithZone("") == s.Addr.Addr().Unmap().WithZone("")
}
