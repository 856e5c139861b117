// Package scale measures what the size of the registry costs: memory, the time
// from a change of a fact to the answer that shows it, and the latency of queries
// while facts change.
//
// The parts of internaldns run in this process as its serve command puts them
// together, with facts of package dataset: a registry file is written, parsed and
// applied as a difference; a Publisher compiles every commit; a Server answers on
// loopback. The queries come from another process.
//
// Every update is also looked up, and every response is checked: a wrong answer
// fails the run.
//
//	scenario.go   the plan, and the parts of a run in order
//	world.go      store, publisher and server over one dataset; loading a file
//	update.go     updates: one by one, in batches, and at a constant rate
//	serve.go      queries at a constant rate, while the registry is idle or changes
//	delete.go     machines deleted, and the memory given back
//	usage.go      CPU time, memory, allocations and collections of this process
//	report.go     the tables
package scale
