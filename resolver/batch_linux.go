package resolver

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A batch reads and writes up to batchSize datagrams of one socket in one system
// call each. Its arrays are laid out once; the kernel fills and reads them in
// place.
type batch struct {
	rc       syscall.RawConn
	local    netip.Addr // where the socket is bound; unspecified on a wildcard listener
	wildcard bool

	slots [batchSize]slot
	in    [batchSize]mmsghdr
	outs  [batchSize]mmsghdr // the first n are to be sent
	n     int

	// began is when the last recvmmsg was entered. If a worker has not been
	// there for staleAfter, what it finds may have waited so long: until it
	// has found a fresh datagram, it takes them singly and looks at each.
	began time.Time
	wary  bool
	stale int // datagrams dropped since stales was called
	age   func(fd uintptr) time.Duration

	// Of the system call under way. The functions are made once, so that
	// calling them through rc does not allocate.
	readable, writable func(fd uintptr) bool
	pollable           func(fd uintptr)
	got                int
	filled             int // headers that the kernel wrote into
	sent               int
	errno              syscall.Errno
}

// A slot holds one datagram: where it came from, what the kernel said of it, its
// octets, and the room for the response.
type slot struct {
	name    unix.RawSockaddrInet6 // of either family: the larger of the two
	control [controlRoom]byte
	inVec   unix.Iovec
	outVec  unix.Iovec
	query   [queryRoom]byte
	out     []byte
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// controlRoom holds the packet info of IPv6, the larger one.
const controlRoom = 40

func newBatch(conn *net.UDPConn, local netip.Addr, limit int) (*batch, error) {
	rc, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	b := &batch{rc: rc, local: local, wildcard: local.IsUnspecified(), age: age}
	buf := make([]byte, batchSize*limit)
	for i := range b.slots {
		s := &b.slots[i]
		s.out = buf[i*limit : i*limit : (i+1)*limit]
		s.inVec.Base = &s.query[0]
		s.inVec.SetLen(queryRoom)
		h := &b.in[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&s.name))
		h.Iov = &s.inVec
		h.SetIovlen(1)
		h.Namelen = unix.SizeofSockaddrInet6
		if b.wildcard {
			h.Control = &s.control[0]
			h.SetControllen(controlRoom)
		}
		b.outs[i].hdr.SetIovlen(1)
	}
	b.readable = func(fd uintptr) bool { return b.recvmmsg(fd) }
	b.writable = func(fd uintptr) bool { return b.sendmmsg(fd) }
	b.pollable = func(fd uintptr) { b.recvmmsg(fd) }
	// The first question for the age of a datagram has the kernel note them.
	if err := control(rc, func(fd int) error { age(uintptr(fd)); return nil }); err != nil {
		return nil, err
	}
	return b, nil
}

// recv waits for datagrams and returns how many it took.
func (b *batch) recv() (int, error) {
	for {
		if err := b.rc.Read(b.readable); err != nil {
			return 0, err
		}
		if n, err := b.received(); n > 0 || err != nil {
			return n, err
		}
	}
}

// stales returns how many datagrams were dropped for their age since the last
// call.
func (b *batch) stales() int {
	n := b.stale
	b.stale = 0
	return n
}

// poll takes the datagrams that are there, also after the read deadline. It
// returns 0 if there are none.
func (b *batch) poll() (int, error) {
	for {
		if err := b.rc.Control(b.pollable); err != nil {
			return 0, err
		}
		if b.errno == unix.EAGAIN {
			return 0, nil
		}
		if n, err := b.received(); n > 0 || err != nil {
			return n, err
		}
	}
}

func (b *batch) received() (int, error) {
	b.n = 0
	if b.errno != 0 {
		return 0, os.NewSyscallError("recvmmsg", b.errno)
	}
	return b.got, nil
}

// recvmmsg reports whether the call is over; false: nothing was there.
func (b *batch) recvmmsg(fd uintptr) bool {
	now := time.Now()
	b.wary = b.wary || now.Sub(b.began) >= staleAfter
	b.began = now
	room := uintptr(batchSize)
	if b.wary {
		room = 1
	}
	for i := range b.in[:b.filled] { // what the last call overwrote
		h := &b.in[i].hdr
		h.Namelen = unix.SizeofSockaddrInet6
		if b.wildcard {
			h.SetControllen(controlRoom)
		}
	}
	b.filled = 0
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.in)), room, unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		b.got, b.errno = int(n), errno
		if errno != 0 {
			b.got = 0
		}
		b.filled = b.got
		switch {
		case errno != 0:
		case b.wary && b.age(fd) >= staleAfter:
			b.got = 0
			b.stale++
		default:
			b.wary = false
		}
		return errno != unix.EAGAIN
	}
}

// age returns how long ago the datagram received last from a socket arrived; 0
// if the kernel has not noted it.
func age(fd uintptr) time.Duration {
	var ts unix.Timespec
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, siocgstampns, uintptr(unsafe.Pointer(&ts))); errno != 0 {
		return 0
	}
	return time.Since(time.Unix(ts.Unix()))
}

// siocgstampns is SIOCGSTAMPNS of socket(7). Asking for a datagram's time costs
// only where we ask; SO_TIMESTAMPNS would add a control message to each.
const siocgstampns = 0x8907

// datagram returns the i-th datagram that recv took.
func (b *batch) datagram(i int) datagram {
	s, h := &b.slots[i], &b.in[i]
	d := datagram{
		dst: b.local,
		msg: s.query[:h.len],
		cut: h.hdr.Flags&unix.MSG_TRUNC != 0,
	}
	port := s.name.Port>>8 | s.name.Port<<8
	if s.name.Family == unix.AF_INET {
		// A sockaddr_in: the address stands where IPv6 has its flow label.
		v4 := *(*[4]byte)(unsafe.Pointer(&s.name.Flowinfo))
		d.src = netip.AddrPortFrom(netip.AddrFrom4(v4), port)
	} else {
		d.src = netip.AddrPortFrom(netip.AddrFrom16(s.name.Addr), port)
	}
	if b.wildcard {
		d.dst = s.asked(int(h.hdr.Controllen))
	}
	return d
}

// asked returns the address that a datagram was sent to, from its control
// message, and makes of the message one that has the response sent from there.
func (s *slot) asked(controllen int) netip.Addr {
	const head = unix.SizeofCmsghdr
	if controllen < head {
		return netip.Addr{}
	}
	level, kind := binary.NativeEndian.Uint32(s.control[8:]), binary.NativeEndian.Uint32(s.control[12:])
	switch {
	case level == unix.SOL_IPV6 && kind == unix.IPV6_PKTINFO && controllen >= head+unix.SizeofInet6Pktinfo:
		// struct in6_pktinfo: address, interface. Only link-local addresses
		// need the interface; for others routing decides, as it does for
		// every other packet.
		addr := netip.AddrFrom16([16]byte(s.control[head:]))
		if !addr.IsLinkLocalUnicast() {
			clear(s.control[head+16 : head+20])
		}
		return addr
	case level == unix.SOL_IP && kind == unix.IP_PKTINFO && controllen >= head+unix.SizeofInet4Pktinfo:
		// struct in_pktinfo: interface, source to send from, address asked.
		clear(s.control[head : head+4])
		copy(s.control[head+4:head+8], s.control[head+8:head+12])
		return netip.AddrFrom4([4]byte(s.control[head+8:]))
	}
	return netip.Addr{}
}

// out returns the empty buffer for the response to the i-th datagram.
func (b *batch) out(i int) []byte { return b.slots[i].out }

// reply notes msg, in the buffer that out returned, as the response to the i-th
// datagram.
func (b *batch) reply(i int, msg []byte) {
	s, h := &b.slots[i], &b.outs[b.n].hdr
	b.n++
	s.outVec.Base = &msg[0]
	s.outVec.SetLen(len(msg))
	in := &b.in[i].hdr
	h.Name, h.Namelen = in.Name, in.Namelen
	h.Iov = &s.outVec
	h.Control, h.Controllen = in.Control, in.Controllen
}

// send sends the responses noted since recv and returns how many were lost: a
// response that the system refuses does not hold up the others. It waits while
// the socket's send buffer is full.
func (b *batch) send() (lost int) {
	for b.sent = 0; b.sent < b.n; {
		if err := b.rc.Write(b.writable); err != nil {
			return lost + b.n - b.sent
		}
		if b.errno != 0 {
			lost++
			b.sent++
		}
	}
	b.n = 0
	return lost
}

// sendmmsg reports whether the call is over; false: the send buffer is full.
func (b *batch) sendmmsg(fd uintptr) bool {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&b.outs[b.sent])), uintptr(b.n-b.sent), unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if b.errno = errno; errno == 0 {
			b.sent += int(n)
		}
		return errno != unix.EAGAIN
	}
}
