// Package dnsload is the generator of package load as a command: flags for its
// options, queries from a file or from made-up facts, and the result as a table,
// as JSON, or as a line for benchstat.
//
// It is a package so that other programs can have the command as their own.
package dnsload
