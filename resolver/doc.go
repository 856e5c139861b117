// Package resolver takes queries from sockets and puts responses into them.
//
// A Server binds UDP and TCP at every listen address and serves until its
// context ends. It knows wire form and views; what a name means is the business
// of package zone.
//
// # One UDP query
//
// Each listen address has one socket for each worker (SO_REUSEPORT), and each
// worker is one goroutine that owns its socket, its buffers, one Query and one
// Answer, and shares nothing:
//
//	(*udpWorker).serve      until the socket is closed
//	 1. recv                a batch of datagrams in one system call
//	 2. respond             for each of them, in respond.go:
//	     q.Parse            what its form decides
//	     table.For          the view of the client's network, from its address
//	     view.Lookup        what the name says in that view
//	     answer.AppendTo    the response, into the worker's buffer
//	 3. send                the batch of responses in one system call
//	 4. shard.Flush         this worker's counters
//
// Between recv and send nothing locks, allocates, logs, waits or reads a clock;
// TestRespondAllocs and the benchmarks say so. If queries come faster than they
// are answered, the kernel drops them at the full socket buffer: nothing queues
// here.
//
// On systems without recvmmsg a batch is one datagram (batch_other.go).
//
// # One TCP connection
//
// A connection is served by one goroutine, which reads what is there, answers
// every whole query in it through the same respond, and writes the responses
// together. It holds buffers from a small stock, and ends when the client is
// idle, old or does not take its answers.
package resolver
