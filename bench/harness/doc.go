// Package harness runs the scenarios of bench and reports what they measured.
//
// A Scenario is a plan, which flags fill in, and the figures that a run adds to
// it. The harness gives every scenario the same command: it checks the plan,
// prints an estimate, runs, saves a Record as JSON, and prints the figures. The
// report command makes RESULTS.md and its charts from saved records alone.
//
//	command.go   the command of a scenario, and the command report
//	plan.go      what the flags of plans have in common, and their faults
//	record.go    what a run saves, and how a record becomes a section of the page
//	page.go      Markdown tables, and how figures are written
//	stats.go     medians and latencies
//	process.go   programs that a scenario starts: servers, and the load generator
//	proc.go      what the kernel knows of processes: CPU time, memory, affinity
//	host.go      the machine, the checkout, the commit
//	helpers.go   commands that scenarios start from their own executable
package harness
