package mmsg

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// header is struct mmsghdr of recvmmsg(2). As in C, the compiler pads it to its
// alignment.
type header struct {
	hdr unix.Msghdr
	n   uint32
}

// Batch is a number of datagrams with their buffers and headers.
type Batch struct {
	headers []header
	iovecs  []unix.Iovec
	names   []unix.RawSockaddrInet6 // large enough for IPv4 too
	buffers []byte
	size    int
}

// New returns a batch of n datagrams of at most size octets. If addressed is true,
// Recv stores the source of each datagram, and Send sends to it; otherwise the
// socket must be connected.
func New(n, size int, addressed bool) *Batch {
	b := &Batch{
		headers: make([]header, n),
		iovecs:  make([]unix.Iovec, n),
		buffers: make([]byte, n*size),
		size:    size,
	}
	if addressed {
		b.names = make([]unix.RawSockaddrInet6, n)
	}
	for i := range b.headers {
		b.iovecs[i].Base = &b.buffers[i*size]
		h := &b.headers[i].hdr
		h.Iov = &b.iovecs[i]
		h.SetIovlen(1)
		if addressed {
			h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		}
	}
	return b
}

// Recv reads at most n datagrams from the socket and returns how many it read. If
// there is none, it waits for one if wait is true, and otherwise returns EAGAIN.
func (b *Batch) Recv(fd, n int, wait bool) (int, error) {
	for i := range n {
		b.iovecs[i].SetLen(b.size)
		if b.names != nil {
			b.headers[i].hdr.Namelen = unix.SizeofSockaddrInet6
		}
	}
	if wait {
		// Syscall6 and not RawSyscall6, because the call can block.
		got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[0])), uintptr(n), unix.MSG_WAITFORONE, 0, 0)
		return count(got, errno)
	}
	got, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[0])), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
	return count(got, errno)
}

// Send sends the datagrams from number from up to, but not including, to. It
// returns how many the socket took, and does not wait for room.
func (b *Batch) Send(fd, from, to int) (int, error) {
	got, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[from])), uintptr(to-from), unix.MSG_DONTWAIT, 0, 0)
	return count(got, errno)
}

// count returns the result of a system call. An errno below 256 becomes an error
// without an allocation.
func count(n uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Received returns datagram i as Recv read it. It is valid until the next Recv.
func (b *Batch) Received(i int) []byte {
	n := min(int(b.headers[i].n), b.size)
	return b.buffers[i*b.size : i*b.size+n : (i+1)*b.size]
}

// SetLen sets the length of datagram i for Send.
func (b *Batch) SetLen(i, n int) { b.iovecs[i].SetLen(n) }
