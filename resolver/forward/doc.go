// Package forward resolves the names that are not ours, by asking upstreams.
//
// A Forwarder answers what it can at once (Cached), takes over what it cannot
// (Submit), and keeps what it learned. It trusts nobody: not the clients, whose
// number and pace it bounds, and not the upstreams, whose responses it believes
// only as far as they answer the question that was sent. Trouble upstream is
// never waited for by the goroutine that calls it.
//
// # One forwarded query
//
// The caller has parsed the query and found that the name is in none of our
// zones. In the goroutine of the caller, without a lock, an allocation or a
// clock:
//
//	(*Forwarder).Cached
//	 1. may it be asked?      RD is set, the client is allowed, an upstream is
//	                          set: else REFUSED                    forward.go
//	 2. cache.Get             a fresh entry is copied, its TTLs counted down
//	                                                         package cache
//	 3. homes.find            names that nobody upstream may be asked for are
//	                          answered here                           home.go
//	 4. failures              what just failed is not tried again: an entry out
//	                          of date, or SERVFAIL              package cache
//
// Everything else is a miss. The caller hands it over, and is told when it
// cannot be taken:
//
//	(*Forwarder).Submit
//	 5. flights.join          bounds are checked; equal questions become one
//	                          flight, with a list of clients       flights.go
//
// A flight goes by express, where there is one and nothing speaks against it: the
// question leaves from the goroutine of the caller, and one goroutine waits for
// all responses, and does steps 9 to 11 (depart.go, express_linux.go). What takes
// long, or is not answered as it should be, is taken over from there
// (flight.resume), and is then what every other flight is from the beginning: a
// goroutine, and one more for each question it has open:
//
//	(*flight).run
//	 6. fly                   which upstream, when the next one, and when to give
//	                          up: flight.go; upstream.go knows who lives;
//	                          how it ends: landing.go
//	 7. NewQuery              made afresh: ID, letter case      package message
//	 8. exchange              a socket of its own; what does not match in
//	                          everything is counted, and waiting goes on
//	                        exchange_udp.go, exchange_stream.go, exchange_tls.go
//	 9. Clean                 the chain from QNAME is kept, all else dropped
//	                                                              package message
//	10. cache.Put
//	11. deliver               to every client of the flight, each with its own
//	                          ID, letter case, size and OPT
//
// A client for whom there is an answer out of date gets that when the flight
// takes longer than Config.StaleAfter, or fails; the flight goes on.
//
// # What runs
//
// Run starts one goroutine that refreshes what is asked for often before it goes
// out of date, one that drops from the cache what is too old to be served
// (prefetch.go), and one that follows resolv.conf (resolvconf.go). Beside them run
// the flights, one goroutine for each upstream that is in trouble (probe.go), and
// one for each TLS connection. All end with Run.
package forward
