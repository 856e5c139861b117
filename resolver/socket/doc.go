// Package socket reads and writes datagrams in batches, binds UDP sockets and
// TCP listeners, and tells the kernel which threads of the program answer
// queries. It knows nothing of DNS.
//
// A Batch owns one UDP socket. On Linux it reads and writes up to BatchSize
// datagrams in one system call each; elsewhere, one datagram in each call.
//
// AnsweringThreads binds goroutines to threads that the kernel runs before the
// other threads of the program.
package socket
