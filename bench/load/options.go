package load

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/internaldns/internaldns/bench/dataset"
)

// Transport is how messages are carried.
type Transport string

const (
	// UDP sends datagrams from several sockets, each with its own port.
	UDP Transport = "udp"
	// TCP sends many queries over each of several connections without waiting
	// for responses (RFC 7766, Section 6.2.1.1).
	TCP Transport = "tcp"
	// TCPOnce opens a connection for every query.
	TCPOnce Transport = "tcp-once"
)

// Options says what a run does. The zero value of each field but Server, and
// Queries or Ask, stands for its default.
type Options struct {
	// Server is asked.
	Server netip.AddrPort
	// Transport carries the messages. Default UDP.
	Transport Transport
	// Queries are sent in order, again and again.
	Queries []dataset.Query
	// Ask, if set, makes the queries instead: it fills in number n, the same
	// each time that it is asked for it. The run begins with 0, and comes to
	// that again after 2³² queries. It is called on the generator's thread, twice
	// for a query, and should reuse the memory of q.
	Ask func(n uint32, q *dataset.Query)

	// Sockets is the number of UDP sockets or TCP connections; with TCPOnce
	// Window is. Default 16: enough that SO_REUSEPORT spreads them over the
	// sockets of a server.
	Sockets int
	// Window is the number of queries outstanding in the closed loop. Default
	// 128: a few batches for a server that takes 32 at once, and fewer than
	// the default socket buffer holds.
	Window int
	// Rate, in queries a second, makes the loop open. Flood makes it open at
	// the highest rate that the generator can send.
	Rate  float64
	Flood bool

	// Warmup comes before the measured time and is not counted. Default 0.
	Warmup time.Duration
	// Duration is the measured time. Default 5s.
	Duration time.Duration
	// Timeout is how long a response may take before its query is lost.
	// Default 1s. A run ends at most this long after Duration.
	Timeout time.Duration
	// Deadline is what a response must keep to be of use: goodput counts
	// right answers within it. Default 100ms.
	Deadline time.Duration

	// Sample: one response of so many has its answers compared with what the
	// query wants. Default 64, which costs about 1 % of the generator's time.
	Sample int
	// Echo accepts the query itself for a response, as a server that returns
	// datagrams unread sends it, and the query with more octets behind it.
	Echo bool

	// Pin binds the generator's thread to the CPU numbered CPU, and has it
	// spin where it would sleep: a server that must wake the generator is
	// charged for that.
	Pin bool
	CPU int

	// Beside, if set, is called in every turn of the loop, by the generator
	// itself, and reports whether it had anything to do: other work on its CPU
	// that must not wait for another thread's turn. Its error ends the run.
	Beside func() (bool, error)

	// Begin and End, if set, are called as the measured time begins and ends,
	// by the generator itself: it sends nothing meanwhile.
	Begin, End func()
}

// WithDefaults returns the options with defaults where nothing is said.
func (o Options) WithDefaults() Options {
	o.Transport = orDefault(o.Transport, UDP)
	o.Sockets = orDefault(o.Sockets, 16)
	o.Window = orDefault(o.Window, 128)
	o.Duration = orDefault(o.Duration, 5*time.Second)
	o.Timeout = orDefault(o.Timeout, time.Second)
	o.Deadline = orDefault(o.Deadline, 100*time.Millisecond)
	o.Sample = orDefault(o.Sample, 64)
	if o.Transport == TCPOnce {
		o.Sockets = o.Window
	}
	return o
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Validate returns every fault of the options, each beginning with the field.
// Defaults are to be filled in before.
func (o Options) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !o.Server.IsValid() {
		fault("server: must be an address and a port")
	}
	switch o.Transport {
	case UDP, TCP, TCPOnce:
	default:
		fault("transport: must be udp, tcp or tcp-once, got %q", o.Transport)
	}
	if (len(o.Queries) == 0) == (o.Ask == nil) {
		fault("queries: there are none, or there is ask beside them")
	}
	for i := range o.Queries {
		if n := len(o.Queries[i].Message); n > maxQuery || n < 12+o.Queries[i].Question {
			fault("queries: number %d has %d octets, must have at most %d and a question", i, n, maxQuery)
			break
		}
	}
	if o.Sockets < 1 || o.Sockets > 1024 {
		fault("sockets: must be from 1 to 1024, got %d", o.Sockets)
	}
	if o.Window < 1 || o.Window > 1<<20 {
		fault("window: must be from 1 to %d, got %d", 1<<20, o.Window)
	}
	if o.Rate < 0 || o.Rate > 0 && o.Flood {
		fault("rate: must be positive, and not asked for together with flood, got %v", o.Rate)
	}
	if o.Transport == TCPOnce && (o.Flood || o.Window > 1024) {
		fault("transport: tcp-once cannot flood, and holds at most 1024 connections")
	}
	if o.Rate*o.Timeout.Seconds() > float64(o.Sockets)*maxPending {
		fault("sockets: %d cannot tell apart the queries of %v at %v a second; use %d or more",
			o.Sockets, o.Timeout, o.Rate, int(o.Rate*o.Timeout.Seconds()/maxPending)+1)
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"duration", o.Duration}, {"timeout", o.Timeout}, {"deadline", o.Deadline}} {
		if d.value <= 0 {
			fault("%s: must be positive, got %v", d.field, d.value)
		}
	}
	if o.Warmup < 0 {
		fault("warmup: must not be negative, got %v", o.Warmup)
	}
	if o.Deadline > o.Timeout {
		fault("deadline: %v is longer than the timeout of %v", o.Deadline, o.Timeout)
	}
	if o.Sample < 1 {
		fault("sample: must be positive, got %d", o.Sample)
	}
	return errors.Join(faults...)
}

// maxQuery bounds a query, in octets: the longest name with EDNS options to
// spare. Larger ones would make every send buffer larger.
const maxQuery = 512
