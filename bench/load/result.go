package load

import (
	"time"

	"github.com/miekg/dns"
)

// Result is what became of a run. Durations are in nanoseconds in JSON.
type Result struct {
	Server    string    `json:"server"`
	Transport Transport `json:"transport"`
	// Loop is closed, open or flood.
	Loop    string  `json:"loop"`
	Sockets int     `json:"sockets"`
	Window  int     `json:"window,omitempty"` // closed loop
	Rate    float64 `json:"rate,omitempty"`   // open loop, as asked for

	// Elapsed is the measured time.
	Elapsed  time.Duration `json:"elapsed_ns"`
	Timeout  time.Duration `json:"timeout_ns"`
	Deadline time.Duration `json:"deadline_ns"`

	Counts
	// RCodes counts the answered queries by RCODE.
	RCodes  map[string]uint64 `json:"rcodes"`
	Latency Latency           `json:"latency"`
	// Wrongs describes the first few wrong responses.
	Wrongs []string `json:"wrongs,omitempty"`
}

// Latency is from when a query was due until its response was read. Lost
// queries have none: read it together with Lost.
type Latency struct {
	Min  time.Duration `json:"min_ns"`
	Mean time.Duration `json:"mean_ns"`
	P50  time.Duration `json:"p50_ns"`
	P90  time.Duration `json:"p90_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`
}

// QPS returns the responses that came in a second of the measured time.
func (r *Result) QPS() float64 { return r.perSecond(r.Received) }

// SentQPS returns the queries that were sent in a second of the measured time.
func (r *Result) SentQPS() float64 { return r.perSecond(r.Sent) }

// Goodput returns the right answers within the deadline, in a second.
func (r *Result) Goodput() float64 { return r.perSecond(r.Within) }

// Loss returns the share of queries without a response.
func (r *Result) Loss() float64 {
	if r.Sent == 0 {
		return 0
	}
	return float64(r.Lost) / float64(r.Sent)
}

func (r *Result) perSecond(n uint64) float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(n) / r.Elapsed.Seconds()
}

func (g *generator) result() Result {
	h := g.latency
	at := func(percentile float64) time.Duration { return time.Duration(h.ValueAtPercentile(percentile)) }
	r := Result{
		Server:    g.Server.String(),
		Transport: g.Transport,
		Loop:      "closed",
		Sockets:   g.Sockets,
		Window:    g.Window,
		Elapsed:   time.Duration(max(0, min(g.now, g.end)-g.begin)),
		Timeout:   g.Timeout,
		Deadline:  g.Deadline,
		Counts:    g.tally.Counts,
		RCodes:    map[string]uint64{},
	}
	switch {
	case g.Flood:
		r.Loop, r.Window = "flood", 0
	case g.Options.Rate > 0:
		r.Loop, r.Window, r.Rate = "open", 0, g.Options.Rate
	}
	if h.TotalCount() > 0 {
		r.Latency = Latency{
			Min: time.Duration(h.Min()), Mean: time.Duration(h.Mean()), Max: time.Duration(h.Max()),
			P50: at(50), P90: at(90), P99: at(99), P999: at(99.9),
		}
	}
	for rcode, n := range g.rcodes {
		if n > 0 {
			r.RCodes[dns.RcodeToString[rcode]] = n
		}
	}
	for _, e := range g.examples {
		r.Wrongs = append(r.Wrongs, e.String())
	}
	return r
}
