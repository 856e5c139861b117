//go:build amd64 || arm64 || loong64 || ppc64 || ppc64le || riscv64 || s390x

package socket

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Batch reads and writes up to BatchSize datagrams of one socket in one system
// call each. Its arrays are laid out once; the kernel reads and writes them in
// place. One goroutine owns it; only SendTo and Stop may be called from others.
//
// The socket blocks and is not in Go's poller. For a socket in the poller, the
// kernel notifies epoll of each datagram received and sent, and a goroutine that
// waits there needs three more system calls to wake. Together that is a tenth of
// the cost of a query. So the owner's thread waits in recvmmsg itself. The call
// returns once a second, and when Stop shuts the socket down.
type Batch struct {
	fd       int
	local    netip.Addr // where the socket is bound; unspecified on a wildcard listener
	wildcard bool

	names    [BatchSize]unix.RawSockaddrInet6 // of either family: the larger of the two
	vectors  [BatchSize]unix.Iovec
	in       [BatchSize]mmsghdr
	outs     [BatchSize]mmsghdr // the first n are to be sent
	replies  [BatchSize]unix.Iovec
	n        int
	queries  [BatchSize][MaxDatagram]byte
	controls [BatchSize][controlRoom]byte
	// buf holds the responses of a batch one after another, so that they touch
	// little memory. It always has room for one more of limit octets.
	buf   []byte
	limit int
	used  int

	filled   int       // headers that the last recvmmsg wrote into
	Received time.Time // when the last Recv read its batch
	checked  time.Time // when the socket was last known to hold nothing old
	stale    int       // datagrams dropped since TakeStale was called
	age      func(fd int) time.Duration
	stopped  atomic.Bool
	drained  int // batches received since stop
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// controlRoom is the length of a control message with the packet info of IPv6,
// which is longer than that of IPv4, in octets.
const controlRoom = 40

// BatchWaits reports that Recv waits in a system call and not in Go's poller.
const BatchWaits = true

// wakeEvery is the longest time that recvmmsg waits. Without this limit, a long
// wait without datagrams would look like a stall of the thread.
const wakeEvery = time.Second

// NewBatch binds a socket to addr. limit is the most octets of a response.
func NewBatch(addr netip.AddrPort, limit int) (*Batch, error) {
	conn, err := listenUDP(addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close() // blocking duplicated its descriptor
	b := &Batch{
		local:    addr.Addr(),
		wildcard: addr.Addr().IsUnspecified(),
		buf:      make([]byte, BatchSize*limit),
		limit:    limit,
		age:      age,
		checked:  time.Now(),
	}
	if b.fd, err = blocking(conn); err != nil {
		return nil, err
	}
	for i := range b.in {
		b.vectors[i].Base = &b.queries[i][0]
		b.vectors[i].SetLen(MaxDatagram)
		h := &b.in[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Namelen = unix.SizeofSockaddrInet6
		h.Iov = &b.vectors[i]
		h.SetIovlen(1)
		if b.wildcard {
			h.Control = &b.controls[i][0]
			h.SetControllen(controlRoom)
		}
		b.outs[i].hdr.Iov = &b.replies[i]
		b.outs[i].hdr.SetIovlen(1)
	}
	b.age(b.fd) // from the first call on, the kernel records times of arrival
	return b, nil
}

// blocking returns a descriptor of conn's socket on which calls block, up to
// wakeEvery.
func blocking(conn *net.UDPConn) (fd int, err error) {
	rc, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = Control(rc, func(other int) error {
		var err error
		if fd, err = unix.FcntlInt(uintptr(other), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return os.NewSyscallError("dup", err)
		}
		limit := unix.NsecToTimeval(wakeEvery.Nanoseconds())
		err = errors.Join(
			os.NewSyscallError("set blocking", unix.SetNonblock(fd, false)),
			os.NewSyscallError("setsockopt SO_RCVTIMEO", unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)),
			os.NewSyscallError("setsockopt SO_SNDTIMEO", unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit)),
		)
		if err != nil {
			unix.Close(fd)
		}
		return err
	})
	return fd, err
}

// Stop makes Recv return ErrStopped after everything that has already arrived.
func (b *Batch) Stop() {
	b.stopped.Store(true)
	unix.Shutdown(b.fd, unix.SHUT_RD) // ENOTCONN, but it wakes recvmmsg
}

// Close closes the socket. Recv and SendTo must not be running, nor be called
// again.
func (b *Batch) Close() {
	unix.Close(b.fd)
	b.fd = -1 // another socket may get this number
}

// Recv waits for datagrams and returns which of them to answer: from first on, up
// to but not including n. After Stop, it returns ErrStopped when the socket is
// empty.
func (b *Batch) Recv() (first, n int, err error) {
	for {
		n, errno := b.recvmmsg()
		switch {
		case b.stopped.Load() && (errno != 0 || b.drained == drainBatches || b.in[n-1].hdr.Namelen == 0):
			// A socket that is shut down and empty returns a datagram without a sender.
			return 0, 0, ErrStopped
		case errno == unix.EAGAIN || errno == unix.EINTR:
			b.checked = b.Received
			continue
		case errno != 0:
			return 0, 0, os.NewSyscallError("recvmmsg", errno)
		case b.stopped.Load():
			b.drained++
		}
		if first = b.dropStale(n); first < n {
			return first, n, nil
		}
	}
}

func (b *Batch) recvmmsg() (int, syscall.Errno) {
	for i := range b.in[:b.filled] { // what the last call overwrote
		h := &b.in[i].hdr
		h.Namelen = unix.SizeofSockaddrInet6
		if b.wildcard {
			h.SetControllen(controlRoom)
		}
	}
	b.n, b.used = 0, 0
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(b.fd), uintptr(unsafe.Pointer(&b.in)), BatchSize, unix.MSG_WAITFORONE, 0, 0)
	b.Received = time.Now()
	if errno != 0 {
		n = 0
	}
	b.filled = int(n)
	return b.filled, errno
}

// dropStale returns how many of the n datagrams of the batch are dropped for
// their age: the first ones. A datagram can be too old only if Recv was not called
// for staleAfter. The kernel reports the age of the last datagram only: if that is
// fresh, those before it may be old, and are dropped.
func (b *Batch) dropStale(n int) int {
	if b.Received.Sub(b.checked) < staleAfter {
		b.checked = b.Received
		return 0
	}
	drop := n
	if b.age(b.fd) < staleAfter {
		b.checked = b.Received
		drop = n - 1
	}
	b.stale += drop
	return drop
}

// TakeStale returns how many datagrams were dropped for their age since the last
// call.
func (b *Batch) TakeStale() int {
	n := b.stale
	b.stale = 0
	return n
}

// age returns the time since the last datagram read from a socket arrived; 0 if
// the kernel did not record it.
func age(fd int) time.Duration {
	var ts unix.Timespec
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), siocgstampns, uintptr(unsafe.Pointer(&ts))); errno != 0 {
		return 0
	}
	return time.Since(time.Unix(ts.Unix()))
}

// siocgstampns is SIOCGSTAMPNS of socket(7). It costs only when it is called;
// SO_TIMESTAMPNS would add a control message to each datagram.
const siocgstampns = 0x8907

// Datagram returns the i-th datagram that Recv read.
func (b *Batch) Datagram(i int) Datagram {
	h, name := &b.in[i], &b.names[i]
	d := Datagram{
		Dst: b.local,
		Msg: b.queries[i][:h.len],
		Cut: h.hdr.Flags&unix.MSG_TRUNC != 0,
	}
	d.Src = netip.AddrPortFrom(AddrOf(name), name.Port>>8|name.Port<<8)
	if b.wildcard {
		d.Dst = asked(b.controls[i][:h.hdr.Controllen])
	}
	return d
}

// asked returns the destination address of a datagram from its control message. It
// changes the message in place, so that it makes sendmsg use that address as the
// source of the response.
func asked(control []byte) netip.Addr {
	const head = unix.SizeofCmsghdr
	if len(control) < head {
		return netip.Addr{}
	}
	level, kind := binary.NativeEndian.Uint32(control[8:]), binary.NativeEndian.Uint32(control[12:])
	switch {
	case level == unix.SOL_IPV6 && kind == unix.IPV6_PKTINFO && len(control) >= head+unix.SizeofInet6Pktinfo:
		// struct in6_pktinfo: address, interface. Only link-local addresses
		// need the interface; for others routing decides, as it does for
		// every other packet.
		addr := netip.AddrFrom16([16]byte(control[head:]))
		if !addr.IsLinkLocalUnicast() {
			clear(control[head+16 : head+20])
		}
		return addr
	case level == unix.SOL_IP && kind == unix.IP_PKTINFO && len(control) >= head+unix.SizeofInet4Pktinfo:
		// struct in_pktinfo: interface, source to send from, address asked.
		clear(control[head : head+4])
		copy(control[head+4:head+8], control[head+8:head+12])
		return netip.AddrFrom4([4]byte(control[head+8:]))
	}
	return netip.Addr{}
}

// A ReplyTo holds the source and destination of a datagram in the form that sendmsg
// takes, so that a response can be sent after the batch has been reused.
type ReplyTo struct {
	name    unix.RawSockaddrInet6 // of either family
	control [controlRoom]byte
	vector  unix.Iovec
	hdr     unix.Msghdr
}

// ReplyTo sets o to the addresses of the i-th datagram that Recv read. Datagram(i)
// must have been called before, and o must not be moved or copied after.
func (b *Batch) ReplyTo(i int, o *ReplyTo) {
	in := &b.in[i].hdr
	o.name = b.names[i]
	o.hdr.Name, o.hdr.Namelen = (*byte)(unsafe.Pointer(&o.name)), in.Namelen
	if in.Controllen != 0 {
		o.control = b.controls[i]
		o.hdr.Control, o.hdr.Controllen = &o.control[0], in.Controllen
	}
	o.hdr.Iov = &o.vector
	o.hdr.SetIovlen(1)
}

// SendTo sends msg to o without waiting and reports whether the kernel took it.
// Unlike the other methods it may be called from any goroutine, but from one at a
// time, and not after Close.
func (b *Batch) SendTo(o *ReplyTo, msg []byte) bool {
	o.vector.Base = &msg[0]
	o.vector.SetLen(len(msg))
	for {
		_, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(b.fd), uintptr(unsafe.Pointer(&o.hdr)), unix.MSG_DONTWAIT)
		if errno != unix.EINTR {
			o.vector.Base = nil // do not keep msg, which belongs to the caller
			return errno == 0
		}
	}
}

// Out returns an empty buffer for the next response, with room for limit octets.
func (b *Batch) Out() []byte { return b.buf[b.used : b.used : b.used+b.limit] }

// Reply adds msg, which is in the buffer that Out returned, to the batch to send:
// the response to the i-th datagram.
func (b *Batch) Reply(i int, msg []byte) {
	b.replies[b.n].Base = &msg[0]
	b.replies[b.n].SetLen(len(msg))
	in, h := &b.in[i].hdr, &b.outs[b.n].hdr
	h.Name, h.Namelen = in.Name, in.Namelen
	h.Control, h.Controllen = in.Control, in.Controllen
	b.n++
	b.used += len(msg)
}

// Send sends the responses that Reply added since Recv and returns how many were
// lost. A response that the kernel refuses does not delay the others. Send waits
// while the socket's send buffer is full, but not longer than wakeEvery.
func (b *Batch) Send() (lost int) {
	for sent := 0; sent < b.n; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(b.fd), uintptr(unsafe.Pointer(&b.outs[sent])), uintptr(b.n-sent), 0, 0, 0)
		switch errno {
		case 0:
			sent += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			return lost + b.n - sent
		default:
			lost++
			sent++
		}
	}
	return lost
}
