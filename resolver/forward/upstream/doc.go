// Package upstream asks one server one question.
//
// An Address is where a server is. A Server is one Address at work: how it is
// doing, what it cannot do, and what was counted. A Query is one question that is
// put to one Server in one way. An Asker sends queries over UDP, TCP and TLS, and
// reports to each query's Owner what became of it.
//
// # One query over UDP
//
//	(*Asker).Ask
//	 1. poller.ask      a socket that is connected for this query, which gives it
//	                    a new random port                   poller_linux.go
//	 2. Query.Make      random ID and letter case           package message
//	(*poller).run
//	 3. poller.receive  epoll says that a message has come
//	 4. Asker.examine   does it match the query? (RFC 5452) udp.go
//	 5. Clean           only what answers the question      package message
//	 6. Asker.finish    the server's health and counts      query.go, health.go
//	 7. Owner.Step      the owner decides what happens next
//
// Where there is no epoll, and over TCP and TLS, each query under way has a
// goroutine that waits, and takes steps 4 to 7.
//
// # Locks
//
// Everything that happens to a query happens while its owner is locked. Below that
// lock comes the one of Server, and below both come those of clock.Timers, of the
// poller and of the Asker. A goroutine that holds one of these never locks an owner.
//
// # Health
//
// A Server that does not answer a query in its time is probed, once a second,
// until it answers anything. A server is silent after three such queries in a row:
// others are asked first then. It is dead after two unanswered probes, or one if it
// is also silent: it is not asked until any response comes from it, to a probe or to
// an earlier query. So for each server that is not healthy, a probe is under way or
// due.
package upstream
