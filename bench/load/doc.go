// Package load sends queries to a DNS server as fast as one CPU can, or at a
// constant rate, and checks and times the responses.
//
// One Run is one goroutine on one thread, which can do other work in its loop
// (Options.Beside). So that the server is measured and not the generator, a query
// allocates nothing, even if it is made when it is sent (Options.Ask), and UDP
// datagrams are moved by sendmmsg and recvmmsg.
//
// # Loops
//
//	closed   a window of queries is outstanding; each response lets the next query
//	         be sent. Finds the peak. Latency looks better than it is, because a slow
//	         server gets fewer queries.
//	open     queries are due at a constant rate whatever the server does. Latency
//	         counts from when a query was due, so that every query that was due
//	         during a stall shows it.
//	flood    open, at the highest rate that the generator can send.
//
// # What is checked
//
// Every response must have the ID of a query that is outstanding on its socket, be
// a response, and repeat the question octet for octet. Other messages are counted
// by their fault, and the query stays outstanding. Every accepted response must
// have the right RCODE, and a sample of them the right answers. A query without a
// response within the timeout is lost.
//
// A query belongs to the measured time if it was due in it, whenever its response
// comes.
//
// # Where to look
//
//	run.go       the loop: receive, send, expire, rest
//	pace.go      how many queries are due, and since when
//	pending.go   the queries of one socket that wait for a response, by ID
//	check.go     whether a message is the response, and whether it is right
//	sockets.go   what all carriers do with their sockets
//	udp.go tcp.go          the carriers
//	tally.go result.go     what is counted, and how it is written
package load
