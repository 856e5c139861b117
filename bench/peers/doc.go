// Package peers measures DNS servers side by side, in one run, on one machine:
// what an answered query costs each of them, as a multiple of what it costs a
// server that does nothing.
//
// Every server is held to one CPU and the generator to another. In each round
// every server is measured once, and its figures are compared with the echo's of
// the same round: what disturbs a machine for a second disturbs both. The
// figures shown are medians over the rounds, with the least and the greatest.
//
// CPU time is that of all the server's processes, in user and kernel mode, by
// the kernel's own clock in nanoseconds; a query is answered when its response
// was accepted by package load.
//
// # From a plan to a page
//
//	plan.go       what is to be measured, and how long that takes at most
//	peer.go servers.go ours.go   the servers: version, configuration, command
//	process.go account.go        one server running: started, accounted, stopped
//	measure.go    a series: rounds over servers
//	forward.go forwarders.go     names of others, and the servers that forward them
//	overload.go quota.go         more queries than a server can answer
//	record.go     what a run saves, as JSON
//	figures.go    medians and ratios of what was saved
//	report.go chart.go           RESULTS.md and the chart, from the JSON alone
//
// A server that is not installed, or does not start, is named with the reason in
// every report.
package peers
