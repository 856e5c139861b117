//go:build unix && !linux

package mmsg

import "golang.org/x/sys/unix"

// Batch is a number of datagrams with their buffers.
type Batch struct {
	lengths   []int
	from      []unix.Sockaddr
	buffers   []byte
	size      int
	addressed bool
}

// New returns a batch of n datagrams of at most size octets. With addressed,
// Recv notes where each datagram came from, and Send sends it there; without,
// the socket must be connected.
func New(n, size int, addressed bool) *Batch {
	return &Batch{lengths: make([]int, n), from: make([]unix.Sockaddr, n), buffers: make([]byte, n*size), size: size, addressed: addressed}
}

// Recv takes at most n waiting datagrams from the socket and returns how many
// it took. With wait, it blocks until there is one; without, it returns
// EAGAIN if there is none.
func (b *Batch) Recv(fd, n int, wait bool) (int, error) {
	for i := range n {
		flags := unix.MSG_DONTWAIT
		if wait && i == 0 {
			flags = 0
		}
		got, from, err := unix.Recvfrom(fd, b.Buffer(i), flags)
		if err != nil {
			if i > 0 {
				return i, nil
			}
			return 0, err
		}
		b.lengths[i], b.from[i] = got, from
	}
	return n, nil
}

// Send sends the datagrams from up to (but not including) to, and returns how
// many the socket took. It does not wait for room.
func (b *Batch) Send(fd, from, to int) (int, error) {
	for i := from; i < to; i++ {
		msg := b.Buffer(i)[:b.lengths[i]]
		var err error
		if b.addressed {
			err = unix.Sendto(fd, msg, unix.MSG_DONTWAIT, b.from[i])
		} else {
			_, err = unix.Write(fd, msg)
		}
		if err != nil {
			if i > from {
				return i - from, nil
			}
			return 0, err
		}
	}
	return to - from, nil
}

// Received returns datagram i as Recv took it. It is good until the next Recv.
func (b *Batch) Received(i int) []byte { return b.Buffer(i)[:b.lengths[i]] }

// SetLen sets the octets of datagram i that Send sends.
func (b *Batch) SetLen(i, n int) { b.lengths[i] = n }
