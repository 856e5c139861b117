// Package mmsg moves datagrams of clients and of test servers in batches: many in
// one system call (recvmmsg, sendmmsg), over headers that are made once, without
// allocations. Unlike resolver/socket, it uses sockets of others and need not wait,
// as a client that polls many sockets must not.
//
// Elsewhere than on Linux it makes one call for each datagram.
package mmsg

// Buffer returns the whole buffer of datagram i, for a datagram to be sent.
func (b *Batch) Buffer(i int) []byte { return b.buffers[i*b.size : (i+1)*b.size : (i+1)*b.size] }
