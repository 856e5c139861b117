package load

import (
	"cmp"
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

// Options are the options of a run. Server, and Queries or Ask, are required. The
// zero value of each other field stands for its default.
type Options struct {
	// Server is the server that is asked.
	Server netip.AddrPort
	// Transport carries the messages. Default UDP.
	Transport Transport
	// Queries are sent in order, again and again.
	Queries []dataset.Query
	// Ask, if set, makes the queries instead: it sets q to query number n, which is
	// the same each time. The run begins with number 0, and begins again after 2³²
	// queries. Ask is called on the generator's thread, twice for each query, and
	// should reuse the memory of q.
	Ask func(n uint32, q *dataset.Query)

	// Sockets is the number of UDP sockets or TCP connections; with TCPOnce, that
	// number is Window. Default 16: enough for SO_REUSEPORT to spread them over the
	// sockets of a server.
	Sockets int
	// Window is the number of queries outstanding in the closed loop. Default 128:
	// a few batches for a server that reads 32 at a time, and fewer than a default
	// socket buffer holds.
	Window int
	// Rate, in queries a second, makes the loop open. Flood makes it open at
	// the highest rate that the generator can send.
	Rate  float64
	Flood bool

	// Warmup comes before the measured time and is not counted. Default 0.
	Warmup time.Duration
	// Duration is the measured time. Default 5s.
	Duration time.Duration
	// Timeout is the time after which a query without a response is lost. Default
	// 1s. A run ends at most this long after Duration.
	Timeout time.Duration
	// Deadline is the time within which a right answer counts as goodput. Default
	// 100ms.
	Deadline time.Duration

	// Sample says that one response in this number has its answers compared. Default
	// 64, which costs about 1 % of the generator's time.
	Sample int
	// Echo accepts as a response a datagram that begins with the query, as a server
	// that returns datagrams unread sends it.
	Echo bool

	// Pin binds the generator's thread to CPU number CPU. The thread then polls and
	// does not sleep, because waking it would cost the server CPU time.
	Pin bool
	CPU int

	// Beside, if set, does other work on the generator's CPU. The generator calls it
	// in every turn of its loop. It reports whether there was work; its error ends
	// the run.
	Beside func() (bool, error)

	// Begin and End, if set, are called by the generator as the measured time begins
	// and ends. It sends nothing until they return.
	Begin, End func()
}

// WithDefaults returns the options with defaults in place of zero values.
func (o Options) WithDefaults() Options {
	o.Transport = cmp.Or(o.Transport, UDP)
	o.Sockets = cmp.Or(o.Sockets, 16)
	o.Window = cmp.Or(o.Window, 128)
	o.Duration = cmp.Or(o.Duration, 5*time.Second)
	o.Timeout = cmp.Or(o.Timeout, time.Second)
	o.Deadline = cmp.Or(o.Deadline, 100*time.Millisecond)
	o.Sample = cmp.Or(o.Sample, 64)
	if o.Transport == TCPOnce {
		o.Sockets = o.Window
	}
	return o
}

// Validate returns every fault of the options, each beginning with the field.
// Defaults must have been filled in.
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

// maxQuery is the longest query, in octets: the longest name, and room for EDNS
// options. A larger one would make every send buffer larger.
const maxQuery = 512
