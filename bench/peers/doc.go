// Package peers measures DNS servers side by side, in one run, on one machine:
// the CPU time of an answered query, as a multiple of that of an echo, a server
// that only returns datagrams.
//
// Every server is bound to one CPU and the generator to another. Each round
// measures every server once, and compares it with the echo of the same round, so
// that what disturbs the machine for a second disturbs both. Figures are medians
// over the rounds, with the least and the greatest.
//
// CPU time is that of all processes of a server, in user and kernel mode. A query
// counts as answered when package load accepts its response.
//
//	scenario.go   the plan: series, and the servers of each
//	peer.go       the servers: version, configuration, command
//	measure.go    a series: rounds over servers
//	forward.go    forwarded names: from a cache, and new ones
//	overload.go   more queries than a server can answer
//	figures.go    medians and ratios
//	report.go     the tables
//	chart.go      the charts
//
// Two builds of internaldns are compared by --peers echo,internaldns,internaldns=FILE:
// both run in the same rounds.
//
// A server that is not installed, or does not start, is in the report with the
// reason.
package peers
