// Package forward resolves the names that are not local, by asking upstream
// servers.
//
// A Forwarder answers what it can at once (Cached), takes over what it cannot
// (Submit), and caches what it learns. It limits how many queries clients have in
// flight. It believes a response only as far as it answers the question that was
// sent. The goroutine that calls it never waits for an upstream.
//
// # One forwarded query
//
// The caller has parsed the query and found that the name is in none of the local
// zones. In the caller's goroutine, without a lock, an allocation or a reading of
// the clock:
//
//	(*Forwarder).Cached                                              forward.go
//	 1. allowed         RD is set, and the client may use forwarding; else REFUSED
//	 2. cache.Get       a fresh entry is copied, its TTLs counted down
//	                                                              package cache
//	 3. findSpecial     names that no upstream may be asked for are answered here
//	                                                                 special.go
//	 4. routes.find     which upstreams; none: REFUSED               routes.go
//	 5. cache.Failed    a question that has just failed is not asked again: the
//	                    client gets an entry out of date, or SERVFAIL
//
// Everything else is a miss. The caller hands it over, and learns if it is not
// taken:
//
//	(*Forwarder).Submit
//	 6. flights.join    limits are checked; equal questions become one flight, with
//	                    a list of clients                           flights.go
//	 7. flight.start    asks the first upstream, in the caller's goroutine
//	                                                                 flight.go
//	    Asker.Ask       one query over UDP, TCP or TLS         package upstream
//
// A flight is a state machine. From here on it takes a step when something has
// happened to one of its queries (flight.Step), or when time has passed
// (flight.Due). Each step decides what happens next, and does not wait:
//
//	(*flight).Step
//	 8. failed          asks in another way, asks the next upstream, or gives up
//	                                                                 ask.go
//	 9. land            the response goes into the cache
//	10. deliver         every client gets it, each with its own ID, letter case,
//	                    size and OPT record                         flights.go
//
// # When
//
// Counted from the start of a flight, if nothing comes before:
//
//	0 ms           the first upstream is asked
//	5 to 100 ms    the next one is asked too (a hedge): after the p95 of the first,
//	               or 100 ms while that is not known. Hedges are limited to one in
//	               10 flights, and 10 saved up. Without one left, the flight checks
//	               every 10 ms whether the first upstream has become silent
//	100 to 1,000 ms  the upstream's time is over: after three times its p95. That
//	               starts its probes. After three such queries it is silent, and
//	               others are asked first
//	300 ms         clients get the entry that is out of date, if there is one
//	               (Config.StaleAfter); the flight goes on
//	800, 1,400 ms  the next upstream is asked, or the same one again
//	1,800 ms       the flight fails if no upstream has answered anything, probes
//	               included: SERVFAIL, with extended error 22 or 23
//	5,000 ms       the flight fails in any case
//	+400 ms        queries that are still open after the response are canceled. At
//	               most 1,000 flights have such queries
//
// A probe is sent every 1,000 ms until the upstream answers, and may take 900 ms.
// An upstream is dead after two unanswered probes, or one if it is also silent;
// then it is not asked until any response comes from it, to a probe or to an earlier
// query. If all upstreams of a name are dead, a flight fails at once.
//
// A question that failed is not asked again for 2 s, and each time it fails again
// for twice as long, up to 5 minutes. That ends early if the failure was that of
// the upstreams and one of them answers again.
//
// A TLS connection must be made within 3 s. It is not used for further queries
// if a query on it has waited for 700 ms and nothing has come, and it is closed
// after 10 s without a response.
//
// # What runs
//
// Run starts one goroutine that refreshes entries that are used often before they
// expire, one that removes entries that are too old to be served, and one that
// follows resolv.conf. Flights have no goroutines. From the first UDP query on, package
// upstream has one that waits for UDP; and it has one for each query over TCP or TLS.
// Package clock calls what is due. All end with Run.
//
// How a response reaches a client over UDP or TCP: resolver/doc.go, A forwarded name.
package forward
