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
//	    prefetchBatch       in a large registry: fetch what the answers need from memory
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
// On systems without recvmmsg a batch is one datagram (socket/batch_other.go).
//
// # A name that is not ours
//
// Where view.Lookup finds NotOurs, whoever asks, the Forwarder is asked, in
// forwarder.go; of our own names it never hears:
//
//	(*responder).respond
//	 └ foreign              Forwarder.Cached: a response at hand, refusals
//	                        included, is the response: no lock, no allocation
//	(*udpWorker).answer     otherwise, and the same over TCP:
//	 └ handOver             Forwarder.Submit takes the query over, with a function
//	                        to call when there is a response; if it does not, the
//	                        client is REFUSED now
//	…                       the worker goes on; some other goroutine finds out
//	(*lateReply).send       over UDP, that goroutine sends the response: from the
//	                        same socket and the address that was asked, without
//	                        waiting, and not when the socket has been closed
//	(*mailbox).put          over TCP, it leaves it in the mailbox of the
//	                        connection's worker, and rings
//	(*tcpWorker).deliver    and the worker writes it, if the connection that asked
//	                        is still there: connections are known by numbers that
//	                        are never used twice
//
// A miss allocates what remembers its client, and over TCP a copy of the query;
// neither starts a goroutine. How many may wait is for the Forwarder to say; of one
// TCP connection no more than tcpFlying do. At more, and while its client does not
// take responses, nothing is read of it. A late response that finds no room, in
// the mailbox or with its connection, is dropped and its query answered again when
// there is room: as a rule from the Forwarder's cache.
//
// A response that comes late is counted when it is sent, with the time since its
// query was read. What comes for a TCP connection that is gone is counted as a
// response that the system did not take.
//
// The order to stop ends submitting first. Then clients have settleLimit to get
// what they are owed, while everything else goes on; then the sockets close.
//
// # One TCP connection
//
// All listen addresses together have a few workers, and each connection is that
// worker's which accepts it:
//
//	(*tcpWorker).turn       until stop, and a little longer
//	 1. wait                for news of listeners and connections, in one system call
//	 2. accept, read        what is there, at once, into the worker's buffer
//	 3. answerAll           every whole query in it, through the same respond
//	    deliver             what the Forwarder has found for earlier ones; responses
//	                        may come in another order than queries
//	 4. flush               the responses, in one write of whole messages
//	 5. linger, expire      see who has gone, or is idle or old
//	 6. shard.Flush         this worker's counters
//
// A client that asks once and hangs up costs accept, read, write, read and close:
// it has mostly gone by the next turn, and then the worker never has the kernel
// watch for it. A connection holds memory only for half a query, or for responses
// that wait for its client to take them; until it does, nothing more is read of
// it. If its client closes its half, everything that it has asked is answered
// before the connection ends, and while the Forwarder has a query of it, it is not
// idle. When as many are open as may be, a new one takes the place of that which has
// been idle for longest: to hold all of them keeps nobody out.
//
// Elsewhere than on Linux, each connection has a goroutine (tcp_spawner.go).
package resolver
