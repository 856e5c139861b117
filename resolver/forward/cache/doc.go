// Package cache holds the responses of upstreams, and which questions failed.
//
// A Cache maps a Question to an Entry, which is the response to send to clients,
// and remembers failures for a short time (RFC 9520). It holds at most a given
// number of octets. Names that are asked for often stay, however many other names
// pass through (W-TinyLFU). Get and AppendTo take no lock and do not allocate.
//
// Package cache reads no clock and starts no goroutines: the caller says what time
// it is.
package cache
