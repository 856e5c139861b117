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

func (b *batch) send() (lost int) {
	if b.pending == nil {
		return 0
	}
	if _, err := b.conn.WriteToUDPAddrPort(b.pending, b.src); err != nil {
		return 1
	}
	return 0
}
