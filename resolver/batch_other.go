//go:build !linux || !(amd64 || arm64 || loong64 || ppc64 || ppc64le || riscv64 || s390x)

package resolver

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

// A batch reads and writes one datagram at a time. The address asked is known
// on listeners at one address only.
type batch struct {
	conn     *net.UDPConn
	local    netip.Addr
	in       [queryRoom + 1]byte
	buf      []byte
	got      int
	src      netip.AddrPort
	received time.Time
	pending  []byte
}

// lateWait is how long a response that comes late waits for room in the socket's
// buffer. On most systems it finds room, or an error, at once.
const lateWait = 10 * time.Millisecond

// batchWaits says that recv waits in a system call and not in the poller.
const batchWaits = false

func newBatch(addr netip.AddrPort, limit int) (*batch, error) {
	conn, err := listenUDP(addr)
	if err != nil {
		return nil, err
	}
	return &batch{conn: conn, local: addr.Addr(), buf: make([]byte, 0, limit)}, nil
}

func (b *batch) stop() { b.conn.SetReadDeadline(time.Unix(1, 0)) }

func (b *batch) close() { b.conn.Close() }

func (b *batch) recv() (first, n int, err error) {
	b.got, b.src, err = b.conn.ReadFromUDPAddrPort(b.in[:])
	b.received, b.pending = time.Now(), nil
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, 0, errStopped
	}
	return 0, 1, err
}

// stales returns 0: the age of a datagram is not known here.
func (b *batch) stales() int { return 0 }

func (b *batch) datagram(int) datagram {
	return datagram{src: b.src, dst: b.local, msg: b.in[:min(b.got, queryRoom)], cut: b.got > queryRoom}
}

func (b *batch) out() []byte { return b.buf }

func (b *batch) reply(_ int, msg []byte) { b.pending = msg }

// An origin is where a datagram came from.
type origin struct{ src netip.AddrPort }

func (b *batch) keep(_ int, o *origin) { o.src = b.src }

// sendLate sends msg to o and reports whether the system took it. Other than the
// rest of batch it may be called from any goroutine, but only one at a time, and
// not after close. It waits up to lateWait while the socket's buffer is full.
func (b *batch) sendLate(o *origin, msg []byte) bool {
	b.conn.SetWriteDeadline(time.Now().Add(lateWait)) // for send too
	defer b.conn.SetWriteDeadline(time.Time{})
	_, err := b.conn.WriteToUDPAddrPort(msg, o.src)
	return err == nil
}

func (b *batch) send() (lost int) {
	if b.pending == nil {
		return 0
	}
	if _, err := b.conn.WriteToUDPAddrPort(b.pending, b.src); err != nil {
		return 1
	}
	return 0
}
