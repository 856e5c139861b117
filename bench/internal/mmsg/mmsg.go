// Package mmsg moves datagrams in batches, with one system call for many and
// without an allocation: recvmmsg and sendmmsg over headers that are made once.
//
// Elsewhere than on Linux it makes one call for each datagram, so that what is
// built on it runs, if not fast.
package mmsg

// Cap returns the number of datagrams that the batch can hold.
func (b *Batch) Cap() int { return len(b.buffers) / b.size }

// Buffer returns the whole buffer of datagram i, to write what is to be sent.
func (b *Batch) Buffer(i int) []byte { return b.buffers[i*b.size : (i+1)*b.size : (i+1)*b.size] }
