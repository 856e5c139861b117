// Package dnsload is the generator of package load as a command: flags for its
// options, queries from a file, from made-up facts or from whoever has the
// command, and the result as a table, as JSON, or as a line for benchstat.
//
// It is a package so that other programs can have the command as their own.
//
//	dnsload.go   the command: flags, and what it does in which order
//	queries.go   which queries are sent
//	probe.go     one query ahead of all, to say early that nobody answers
//	progress.go  what is shown meanwhile
package dnsload
