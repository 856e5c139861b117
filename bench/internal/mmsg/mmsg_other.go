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

// New returns a batch of n datagrams of at most size octets. If addressed is true,
// Recv stores the source of each datagram, and Send sends to it; otherwise the
// socket must be connected.
func New(n, size int, addressed bool) *Batch {
	return &Batch{lengths: make([]int, n), from: make([]unix.Sockaddr, n), buffers: make([]byte, n*size), size: size, addressed: addressed}
}

// Recv reads at most n datagrams from the socket and returns how many it read. If
// there is none, it waits for one if wait is true, and otherwise returns EAGAIN.
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

// Send sends the datagrams from number from up to, but not including, to. It
// returns how many the socket took, and does not wait for room.
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

// Received returns datagram i as Recv read it. It is valid until the next Recv.
func (b *Batch) Received(i int) []byte { return b.Buffer(i)[:b.lengths[i]] }

// SetLen sets the length of datagram i for Send.
func (b *Batch) SetLen(i, n int) { b.lengths[i] = n }
