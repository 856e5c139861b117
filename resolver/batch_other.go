//go:build !linux

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
	conn    *net.UDPConn
	local   netip.Addr
	in      [queryRoom + 1]byte
	buf     []byte
	n       int
	src     netip.AddrPort
	began   time.Time // when the datagram was received
	pending []byte
}

func newBatch(conn *net.UDPConn, local netip.Addr, limit int) (*batch, error) {
	return &batch{conn: conn, local: local, buf: make([]byte, 0, limit)}, nil
}

func (b *batch) recv() (int, error) {
	n, src, err := b.conn.ReadFromUDPAddrPort(b.in[:])
	if err != nil {
		return 0, err
	}
	b.n, b.src, b.pending, b.began = n, src, nil, time.Now()
	return 1, nil
}

func (b *batch) poll() (int, error) {
	n, err := b.recv()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, nil
	}
	return n, err
}

// stales returns 0: the age of a datagram is not known here.
func (b *batch) stales() int { return 0 }

func (b *batch) datagram(int) datagram {
	return datagram{src: b.src, dst: b.local, msg: b.in[:min(b.n, queryRoom)], cut: b.n > queryRoom}
}

func (b *batch) out(int) []byte { return b.buf }

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
