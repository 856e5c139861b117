//go:build amd64 || arm64 || loong64 || ppc64 || ppc64le || riscv64 || s390x

package resolver

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

// A batch reads and writes up to batchSize datagrams of one socket in one system
// call each. Its arrays are laid out once; the kernel fills and reads them in
// place.
//
// The socket blocks, and Go's poller does not know it. A socket in the poller
// has the kernel call it for each datagram that comes and for each that goes,
// and a goroutine that waits there wakes by way of three more system calls:
// together a tenth of what a query costs. So a worker's thread waits in recvmmsg
// itself. It looks up once a second, and when stop shuts the socket down.
type batch struct {
	fd       int
	local    netip.Addr // where the socket is bound; unspecified on a wildcard listener
	wildcard bool

	names    [batchSize]unix.RawSockaddrInet6 // of either family: the larger of the two
	vectors  [batchSize]unix.Iovec
	in       [batchSize]mmsghdr
	outs     [batchSize]mmsghdr // the first n are to be sent
	replies  [batchSize]unix.Iovec
	n        int
	queries  [batchSize][queryRoom]byte
	controls [batchSize][controlRoom]byte
	// buf holds the responses of a batch one behind the other, so that they
	// touch little memory. There is always room for one of the limit's length.
	buf   []byte
	limit int
	used  int

	filled   int       // headers that the last recvmmsg wrote into
	received time.Time // when it returned
	checked  time.Time // when the socket was last known to hold nothing old
	stale    int       // datagrams dropped since stales was called
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

// controlRoom holds the packet info of IPv6, the larger one.
const controlRoom = 40

// batchWaits says that recv waits in a system call and not in the poller.
const batchWaits = true

// lookUp is how long a worker waits for a datagram before it notes that it is
// still there: without, a long wait could not be told from a stall.
const lookUp = time.Second

// newBatch binds a socket to addr.
func newBatch(addr netip.AddrPort, limit int) (*batch, error) {
	conn, err := listenUDP(addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close() // the descriptor that is taken from it stays
	b := &batch{
		local:    addr.Addr(),
		wildcard: addr.Addr().IsUnspecified(),
		buf:      make([]byte, batchSize*limit),
		limit:    limit,
		age:      age,
		checked:  time.Now(),
	}
	if b.fd, err = blocking(conn); err != nil {
		return nil, err
	}
	for i := range b.in {
		b.vectors[i].Base = &b.queries[i][0]
		b.vectors[i].SetLen(queryRoom)
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
	b.age(b.fd) // the first question for the age of a datagram has the kernel note it
	return b, nil
}

// blocking returns a descriptor of conn's socket on which calls block, up to
// lookUp.
func blocking(conn *net.UDPConn) (fd int, err error) {
	rc, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = control(rc, func(other int) error {
		var err error
		if fd, err = unix.FcntlInt(uintptr(other), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return os.NewSyscallError("dup", err)
		}
		limit := unix.NsecToTimeval(lookUp.Nanoseconds())
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

// stop makes recv return errStopped once it has returned what has already come.
func (b *batch) stop() {
	b.stopped.Store(true)
	unix.Shutdown(b.fd, unix.SHUT_RD) // ENOTCONN, but it wakes recvmmsg
}

// close gives the socket back. recv must have returned for the last time.
func (b *batch) close() {
	unix.Close(b.fd)
	b.fd = -1 // the number may soon be another's
}

// recv waits for datagrams and returns which of them to answer: from first on,
// up to n. After stop, it returns errStopped when nothing more is there.
func (b *batch) recv() (first, n int, err error) {
	for {
		n, errno := b.recvmmsg()
		switch {
		case b.stopped.Load() && (errno != 0 || b.drained == drainBatches || b.in[n-1].hdr.Namelen == 0):
			// A socket that is shut down and empty gives what has no sender.
			return 0, 0, errStopped
		case errno == unix.EAGAIN || errno == unix.EINTR:
			b.checked = b.received
			continue
		case errno != 0:
			return 0, 0, os.NewSyscallError("recvmmsg", errno)
		case b.stopped.Load():
			b.drained++
		}
		if first = b.old(n); first < n {
			return first, n, nil
		}
	}
}

func (b *batch) recvmmsg() (int, syscall.Errno) {
	for i := range b.in[:b.filled] { // what the last call overwrote
		h := &b.in[i].hdr
		h.Namelen = unix.SizeofSockaddrInet6
		if b.wildcard {
			h.SetControllen(controlRoom)
		}
	}
	b.n, b.used = 0, 0
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(b.fd), uintptr(unsafe.Pointer(&b.in)), batchSize, unix.MSG_WAITFORONE, 0, 0)
	b.received = time.Now()
	if errno != 0 {
		n = 0
	}
	b.filled = int(n)
	return b.filled, errno
}

// old returns how many of the n datagrams of the batch are dropped for their
// age. There can only be any if this worker has not been here for staleAfter,
// although it looks up every second. The kernel tells the age of the last one
// alone: if that is fresh, those before it may be or not, and are dropped.
func (b *batch) old(n int) int {
	if b.received.Sub(b.checked) < staleAfter {
		b.checked = b.received
		return 0
	}
	drop := n
	if b.age(b.fd) < staleAfter {
		b.checked = b.received
		drop = n - 1
	}
	b.stale += drop
	return drop
}

// stales returns how many datagrams were dropped for their age since the last
// call.
func (b *batch) stales() int {
	n := b.stale
	b.stale = 0
	return n
}

// age returns how long ago the datagram received last from a socket arrived; 0
// if the kernel has not noted it.
func age(fd int) time.Duration {
	var ts unix.Timespec
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), siocgstampns, uintptr(unsafe.Pointer(&ts))); errno != 0 {
		return 0
	}
	return time.Since(time.Unix(ts.Unix()))
}

// siocgstampns is SIOCGSTAMPNS of socket(7). Asking for a datagram's time costs
// only where we ask; SO_TIMESTAMPNS would add a control message to each.
const siocgstampns = 0x8907

// datagram returns the i-th datagram that recv took.
func (b *batch) datagram(i int) datagram {
	h, name := &b.in[i], &b.names[i]
	d := datagram{
		dst: b.local,
		msg: b.queries[i][:h.len],
		cut: h.hdr.Flags&unix.MSG_TRUNC != 0,
	}
	d.src = netip.AddrPortFrom(addrOf(name), name.Port>>8|name.Port<<8)
	if b.wildcard {
		d.dst = asked(b.controls[i][:h.hdr.Controllen])
	}
	return d
}

// asked returns the address that a datagram was sent to, from its control
// message, and makes of the message one that has the response sent from there.
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

// An origin is where a datagram came from, and which address it asked, as the
// kernel is told to send there from that.
type origin struct {
	name    unix.RawSockaddrInet6 // of either family
	control [controlRoom]byte
	vector  unix.Iovec
	hdr     unix.Msghdr
}

// keep makes o the origin of the i-th datagram that recv took. It must have been
// asked for with datagram before, and o must stay where it is.
func (b *batch) keep(i int, o *origin) {
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

// sendLate sends msg to o at once and reports whether the system took it. Other
// than the rest of batch it may be called from any goroutine, but only one at a
// time, and not after close.
func (b *batch) sendLate(o *origin, msg []byte) bool {
	o.vector.Base = &msg[0]
	o.vector.SetLen(len(msg))
	for {
		_, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(b.fd), uintptr(unsafe.Pointer(&o.hdr)), unix.MSG_DONTWAIT)
		if errno != unix.EINTR {
			o.vector.Base = nil // msg is the caller's
			return errno == 0
		}
	}
}

// out returns the empty buffer for the next response. It has room for the
// limit's octets.
func (b *batch) out() []byte { return b.buf[b.used : b.used : b.used+b.limit] }

// reply notes msg, in the buffer that out returned, as the response to the i-th
// datagram.
func (b *batch) reply(i int, msg []byte) {
	b.replies[b.n].Base = &msg[0]
	b.replies[b.n].SetLen(len(msg))
	in, h := &b.in[i].hdr, &b.outs[b.n].hdr
	h.Name, h.Namelen = in.Name, in.Namelen
	h.Control, h.Controllen = in.Control, in.Controllen
	b.n++
	b.used += len(msg)
}

// send sends the responses noted since recv and returns how many were lost: a
// response that the system refuses does not hold up the others. It waits while
// the socket's send buffer is full, but not longer than lookUp.
func (b *batch) send() (lost int) {
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
