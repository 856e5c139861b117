package forward

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/message"
)

// udpRoom is how many octets of a datagram are read. Upstreams are told that we
// take wire.ReceiveSize; what fills the room is longer and may have been cut.
const udpRoom = 2048

// udpBuffers are for datagrams on their way in. Nothing of them is kept.
var udpBuffers = sync.Pool{New: func() any { return new([udpRoom]byte) }}

// past is a deadline that ends all waiting.
var past = time.Unix(1, 0)

// exchangeUDP asks from a socket of its own: so the kernel chooses a random port,
// and passes on only what comes from the upstream's address and port, but for the
// moment in which the socket has a port and no peer yet. Whatever is wrong with a
// message, the true one may still come.
func (f *Forwarder) exchangeUDP(ctx context.Context, a ask, q message.Question, hinted func(hint)) (*message.Response, error) {
	if !f.sockets.take(a) {
		return nil, errNoSocket
	}
	defer f.sockets.giveBack()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(a.up.Addr))
	if err != nil {
		return nil, err
	}
	sent := message.NewQuery(q, a.edns, a.mixed)
	if _, err := conn.Write(sent.Octets); err != nil {
		conn.Close()
		return nil, err
	}
	return f.awaitUDP(ctx, conn, a, sent, q, 0, hinted)
}

// awaitUDP waits on conn, which it closes, for the response to sent, after so many
// messages that were not.
func (f *Forwarder) awaitUDP(ctx context.Context, conn *net.UDPConn, a ask, sent *message.Query, q message.Question, wrong int, hinted func(hint)) (*message.Response, error) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(past) })()
	buf := udpBuffers.Get().(*[udpRoom]byte)
	defer udpBuffers.Put(buf)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf[:])
		switch {
		case ctx.Err() != nil:
			return nil, errNoAnswer
		case err != nil:
			return nil, err
		case !a.up.isAt(from):
			continue // it came before the socket had a peer
		}
		msg := buf[:n]
		match := sent.Match(msg)
		switch match {
		case message.Matches:
			if message.Truncated(msg) || n == udpRoom {
				conn.Close()
				return f.retryTCP(ctx, a, q)
			}
			if r, wellFormed, err := f.read(msg, q); wellFormed {
				return r, err
			}
			match = message.MismatchForm
		case message.BareError:
			hinted(hintEDNS)
			continue
		case message.MismatchCase:
			hinted(hintCase)
		}
		a.up.stats.Mismatch(int(match))
		if wrong++; wrong == forgedHint {
			hinted(hintForged)
		}
	}
}

// retryTCP asks again what was answered, but cut.
func (f *Forwarder) retryTCP(ctx context.Context, a ask, q message.Question) (*message.Response, error) {
	f.hear(a.up)
	a.up.stats.Request(metrics.OverTCP)
	return f.exchangeTCP(ctx, a, q)
}

// isAt reports whether from is u's address and port. The zone of an address does
// not count: the socket is bound to it.
func (u *upstream) isAt(from netip.AddrPort) bool {
	return from.Port() == u.Addr.Port() && from.Addr().Unmap().WithZone("") == u.Addr.Addr().Unmap().WithZone("")
}
