package load

import "math"

// pace is how many queries are to be sent, and when each was due. Times are in ns
// since the run began.
type pace struct {
	window int     // closed loop: queries outstanding at most
	rate   float64 // open loop: queries a second; 0 means closed, +Inf a flood
	sent   uint64  // queries sent so far
}

func newPace(o *Options) pace {
	switch {
	case o.Flood:
		return pace{rate: math.Inf(1)}
	case o.Rate > 0:
		return pace{rate: o.Rate}
	}
	return pace{window: o.Window}
}

// open reports whether queries are due whatever the server does.
func (p *pace) open() bool { return p.rate > 0 }

// due returns how many queries may be sent at now, at most limit.
func (p *pace) due(now int64, outstanding, limit int) int {
	switch {
	case !p.open():
		return min(limit, p.window-outstanding)
	case math.IsInf(p.rate, 1):
		return limit
	}
	behind := uint64(float64(now)/1e9*p.rate) + 1 - p.sent // the first is due at once
	return int(min(uint64(limit), behind))
}

// when returns the time at which the query after the next i is due.
func (p *pace) when(i int, now int64) int64 {
	if !p.open() || math.IsInf(p.rate, 1) {
		return now
	}
	return int64(float64(p.sent+uint64(i)) / p.rate * 1e9)
}

// wait returns the time until a query is due, in ns; in the closed loop, the longest
// there is.
func (p *pace) wait(now int64) int64 {
	if !p.open() {
		return math.MaxInt64
	}
	return max(0, p.when(0, now)-now)
}
