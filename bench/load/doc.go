// Package load sends queries to a DNS server as fast as one CPU can, or at a
// constant rate, and checks and times the responses.
//
// One Run is one goroutine on one thread, which can do other work in its turns
// (Options.Beside). It allocates nothing for a query, whether queries are given or
// made as they go (Options.Ask), and moves UDP datagrams by sendmmsg and recvmmsg,
// so that what it measures is the server and not itself.
//
// # Loops
//
//	closed   a window of queries is outstanding; each response lets another go.
//	         Finds the peak, and flatters latency: a slow server is asked less.
//	open     queries fall due at a constant rate whatever the server does, and
//	         latency counts from when a query was due, not from when it could
//	         be sent: a stall is seen by every query that fell into it.
//	flood    open, at the highest rate that the generator can send.
//
// # What is checked
//
// Every response must carry the ID of a query outstanding on the socket that it
// came to, be a response, and repeat the question octet for octet; anything
// else is counted by its fault and the query stays outstanding. Every accepted
// response must have the RCODE that the query wants, and a sample of them the
// answers. A query without a response within the timeout is lost.
//
// A query belongs to the measured time if it was due in it, whenever its
// response comes.
//
// # Where to look
//
//	run.go       the loop: receive, send, expire, rest
//	pace.go      how many queries are due, and since when
//	flights.go   queries outstanding on one socket, by ID
//	check.go     is this the response, and is it right
//	udp.go tcp.go once.go   the three ways to carry a message
//	tally.go result.go report.go   what is counted, and how it is told
package load
