//go:build !linux || !(amd64 || arm64 || loong64 || ppc64 || ppc64le || riscv64 || s390x)

package socket

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

// A Batch reads and writes one datagram at a time. A listener at a wildcard address
// does not know the destination address of a datagram.
type Batch struct {
	conn     *net.UDPConn
	local    netip.Addr
	in       [MaxDatagram + 1]byte
	buf      []byte
	got      int
	src      netip.AddrPort
	Received time.Time // when Recv read the datagram
	pending  []byte
}

// sendWait is how long SendTo waits for room in the socket's buffer. On most
// systems there is room, or an error, at once.
const sendWait = 10 * time.Millisecond

// BatchWaits reports that Recv waits in a system call and not in Go's poller.
const BatchWaits = false

func NewBatch(addr netip.AddrPort, limit int) (*Batch, error) {
	conn, err := listenUDP(addr)
	if err != nil {
		return nil, err
	}
	return &Batch{conn: conn, local: addr.Addr(), buf: make([]byte, 0, limit)}, nil
}

func (b *Batch) Stop() { b.conn.SetReadDeadline(time.Unix(1, 0)) }

func (b *Batch) Close() { b.conn.Close() }

func (b *Batch) Recv() (first, n int, err error) {
	b.got, b.src, err = b.conn.ReadFromUDPAddrPort(b.in[:])
	b.Received, b.pending = time.Now(), nil
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, 0, ErrStopped
	}
	return 0, 1, err
}

// TakeStale returns 0: these systems do not report the age of a datagram.
func (b *Batch) TakeStale() int { return 0 }

func (b *Batch) Datagram(int) Datagram {
	return Datagram{Src: b.src, Dst: b.local, Msg: b.in[:min(b.got, MaxDatagram)], Cut: b.got > MaxDatagram}
}

func (b *Batch) Out() []byte { return b.buf }

func (b *Batch) Reply(_ int, msg []byte) { b.pending = msg }

// A ReplyTo is the address that a datagram came from.
type ReplyTo struct{ src netip.AddrPort }

func (b *Batch) ReplyTo(_ int, o *ReplyTo) { o.src = b.src }

// SendTo sends msg to o and reports whether the kernel took it. Unlike the other
// methods it may be called from any goroutine, but from one at a time, and not
// after Close. It waits up to sendWait while the socket's buffer is full.
func (b *Batch) SendTo(o *ReplyTo, msg []byte) bool {
	b.conn.SetWriteDeadline(time.Now().Add(sendWait)) // this deadline holds for Send too
	defer b.conn.SetWriteDeadline(time.Time{})
	_, err := b.conn.WriteToUDPAddrPort(msg, o.src)
	return err == nil
}

func (b *Batch) Send() (lost int) {
	if b.pending == nil {
		return 0
	}
	if _, err := b.conn.WriteToUDPAddrPort(b.pending, b.src); err != nil {
		return 1
	}
	return 0
}
