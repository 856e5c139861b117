package mmsg

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// header is struct mmsghdr of recvmmsg(2). Its size is rounded up to that of
// its alignment by the compiler, as C does.
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

// New returns a batch of n datagrams of at most size octets. With addressed,
// Recv notes where each datagram came from, and Send sends it there; without,
// the socket must be connected.
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

// Recv takes at most n waiting datagrams from the socket and returns how many
// it took. With wait, it blocks until there is one; without, it returns
// EAGAIN if there is none.
func (b *Batch) Recv(fd, n int, wait bool) (int, error) {
	for i := range n {
		b.iovecs[i].SetLen(b.size)
		if b.names != nil {
			b.headers[i].hdr.Namelen = unix.SizeofSockaddrInet6
		}
	}
	if wait {
		// The scheduler must know of a call that blocks.
		got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[0])), uintptr(n), unix.MSG_WAITFORONE, 0, 0)
		return count(got, errno)
	}
	got, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[0])), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
	return count(got, errno)
}

// Send sends the datagrams from up to (but not including) to, and returns how
// many the socket took. It does not wait for room.
func (b *Batch) Send(fd, from, to int) (int, error) {
	got, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[from])), uintptr(to-from), unix.MSG_DONTWAIT, 0, 0)
	return count(got, errno)
}

// count returns the error as a plain comparison shows it, which for numbers
// below 256 costs no allocation.
func count(n uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Received returns datagram i as Recv took it. It is good until the next Recv.
func (b *Batch) Received(i int) []byte {
	n := min(int(b.headers[i].n), b.size)
	return b.buffers[i*b.size : i*b.size+n : (i+1)*b.size]
}

// SetLen sets the octets of datagram i that Send sends.
func (b *Batch) SetLen(i, n int) { b.iovecs[i].SetLen(n) }
