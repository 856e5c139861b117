package resolver

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"
)

const (
	// frameHead is the length that stands before each message over TCP, in
	// octets (RFC 1035, Section 4.2.2).
	frameHead = 2

	// tcpWrite is how many octets of responses are collected before they are
	// written although more queries are at hand.
	tcpWrite = 32 << 10

	// tcpKeep is the most octets of a buffer that are kept for the next
	// connection.
	tcpKeep = 64 << 10

	// tcpStock is the number of buffers, or idle connections, that are kept for
	// the next connections.
	tcpStock = 64

	// tcpGrace is how long, after the order to stop, a connection may go on
	// with queries that are on their way.
	tcpGrace = 200 * time.Millisecond

	// acceptPause is how long accepting pauses when the system is out of
	// descriptors or memory. Connections wait in the kernel meanwhile.
	acceptPause = 50 * time.Millisecond
)

// A tcpServer serves the connections of all TCP listeners. There are two: a
// tcpPoller, on Linux, and elsewhere a tcpSpawner.
type tcpServer interface {
	// add takes over ln, which is bound to addr. It comes before serve.
	add(ln *net.TCPListener, addr netip.AddrPort) error
	// serve accepts and answers until stop, and returns when all connections
	// have ended. What keeps it from that it tells fail, and goes on with the
	// rest: stop must follow.
	serve(fail func(error))
	// stop ends accepting and gives open connections tcpGrace.
	stop()
	// close gives back what serve, which has returned or never ran, held open.
	close()
	// waiting is the server's part of Server.Waiting.
	waiting() int
}

// need returns how many octets the first frame in in takes, as far as that is
// known.
func need(in []byte) int {
	if len(in) < frameHead {
		return frameHead
	}
	return frameHead + int(binary.BigEndian.Uint16(in))
}

// whole reports whether in begins with a whole frame.
func whole(in []byte) bool { return len(in) >= frameHead && len(in) >= need(in) }
