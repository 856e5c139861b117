// Package resolver reads queries from sockets and writes responses to them.
//
// A Server binds UDP and TCP at every listen address, and serves until its context
// is done. It knows the wire format and views. Package zone decides what a name
// means.
//
// # One UDP query
//
// Each listen address has one socket for each UDP worker (SO_REUSEPORT). Each
// worker is one goroutine. It has its own socket, buffers, Query and Answer, and
// shares nothing with other workers:
//
//	(*udpWorker).serve      until the socket is stopped
//	 1. batch.Recv          reads a batch of datagrams in one system call
//	 2. prefetchBatch       in a large registry: fetches what the answers need from memory
//	 3. respond             for each datagram, in respond.go:
//	     q.Parse            checks the form of the query
//	     table.For          finds the view of the client's network, by address
//	     view.Lookup        finds the answer in that view
//	     a.AppendTo         appends the response to the batch's buffer
//	 4. forget              drops the last client's view
//	 5. batch.Send          sends the batch of responses in one system call
//	 6. shard.Flush         publishes the worker's counters
//
// Between Recv and Send nothing locks, allocates, logs, waits or reads a clock.
// TestRespondAllocs and the benchmarks check that. If queries arrive faster than
// they are answered, the kernel drops them when the socket's buffer is full.
// Nothing queues in this package.
//
// On systems without recvmmsg, a batch is one datagram (socket/batch_other.go).
//
// # One TCP connection
//
// A connection belongs to the worker that accepts it. On Linux there are a few
// workers for all listen addresses together, each in one goroutine:
//
//	(*epollWorker).turn     until stop, and up to 0.2 s longer
//	 1. epoll_wait          waits for events of listeners and connections
//	 2. for each event:
//	     accept             accepts connections, and reads from each at once
//	     read               reads queries and answers them, see below
//	     retry              writes responses to a client that had not taken them
//	     deliver            writes the forwarder's late responses
//	 3. readFresh           reads once more from connections accepted in the turn before
//	 4. expire              closes connections that are idle or old
//	 5. forget              drops the last client's view
//	 6. shard.Flush         publishes the worker's counters
//
// Reading leads to responses in tcp.go, which knows no system call:
//
//	(*tcpWorker).received
//	 1. answerAll           finds each whole query in what was read
//	     respond            the same as over UDP
//	 2. flush               writes the responses in one call
//	 3. renew               sets a new idle deadline
//	 4. keep                copies the part of a query that remains
//	 5. next                waits for the next event, or closes the connection
//
// A client that sends one query and closes costs five system calls: accept, read,
// write, read, close. By the next turn it has usually closed, so the connection is
// never added to the epoll instance.
//
// A connection holds memory only for part of a query, and for responses that its
// client has not taken. Until the client takes them, no more queries are read from
// it. If the client closes its half, all its queries are answered before the
// connection is closed. While the forwarder has a query of it, a connection is not
// idle. If as many connections are open as may be, a new one replaces the one that
// has been idle for longest. So a client that holds all connections keeps no other
// client out.
//
// On other systems a goroutine for each connection reads and writes, and one worker
// answers under a lock (tcp_goroutines.go). Both ways have the same tests.
//
// # A forwarded name
//
// If view.Lookup finds zone.OutOfZone, the name is outside the zones of this server, and
// the Forwarder is asked. It is never asked for names in these zones:
//
//	respond
//	 1. answerForwarded     Forwarder.Cached: if it has a response, that is the
//	                        response; no lock, no allocation
//	answer, of udpWorker or tcpWorker, if it has none:
//	 2. later               makes the callback for the response
//	 3. submit              Forwarder.Submit takes the query, or it is REFUSED now
//	…                       the worker continues; the forwarder asks an upstream
//	over UDP, in the forwarder's goroutine:
//	 4. lateDatagram.send   sends the response from the same socket and address,
//	                        without waiting, unless the socket is closed
//	over TCP:
//	 4. lateQueue.put       queues the response, and wakes the connection's worker
//	 5. tcpWorker.deliver   writes it, if the connection is still open; a connection
//	                        is known by its pointer and a number that is never reused
//
// A query that is submitted costs two allocations: the callback, and the client's
// address (UDP) or a copy of the query (TCP). The Forwarder limits how many queries
// it has in all; of one TCP connection it has at most maxForwarded. If there is no
// room for a late response in the queue or the connection, it is dropped. The query
// is answered again when there is room, usually from the Forwarder's cache.
//
// A late response is counted when it is written, with the time since its query was
// read. If the TCP connection is closed by then, it is counted as a response that
// the system did not take.
//
// # Goroutines
//
// An idle Server on Linux has these, and no others:
//
//	goroutine           number                            ends when
//	Run                 1, the caller's                   the context is done and all others have ended
//	udpWorker.serve     UDPWorkers for each address       Run calls batch.Stop
//	tcpEpoll.serve      1                                 all TCP workers have ended
//	epollWorker.serve   TCPWorkers                        Run calls tcpEpoll.stop
//
// On other systems, in place of the last two: tcpGoroutines.serve, one accept for
// each listener, and one serveConn for each connection. They end when Run calls
// tcpGoroutines.stop and the connections are closed.
//
// Run waits for all of them. An error of one makes Run stop the others and return
// it. When its context is done, Run first ends submitting queries to the Forwarder
// and waits up to forwardGrace for its responses, while everything else continues.
// Then it stops the workers, which answer what has already arrived. Then it closes
// the sockets.
package resolver
