// Package scale measures what the size of the registry costs: memory, the time
// from a fact's change to an answer, and what queries feel of it.
//
// The parts of internaldns run in this process as its serve command puts them
// together, over facts that package dataset makes: a registry file is written,
// parsed, and applied as a difference; a Publisher compiles every commit; a
// Server answers on loopback. What asks it may be another process, so that it
// does not wait where this one does.
//
// Every update that is measured is also looked up, and every response that is
// timed is checked: a run whose answers are wrong fails.
//
// # From a plan to tables
//
//	plan.go       how much of everything, how long it takes, what memory it needs
//	run.go        the parts of a run, in order
//	world.go      store, publisher and server over one dataset, from a file
//	memory.go     what the process and its heap hold; the collector's work
//	pick.go       machines to update, and what must be seen of them afterwards
//	update.go     one update: from Apply to an answer; how many a second
//	serve.go      queries at a constant rate, idle and while facts change
//	rate.go       updates at a constant rate meanwhile
//	app.go        many updates of one large app
//	delete.go     machines deleted, and the memory given back
//	record.go     what a run saves, as JSON
//	report.go     tables of what was saved, as text and as Markdown
package scale
