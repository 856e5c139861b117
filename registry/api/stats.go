package api

import (
	"net/http"
	"sync/atomic"
	"time"
)

// Stats is what an API has done since it began.
type Stats struct {
	InFlight int // requests that are being answered, waits and streams among them
	Waiting  int // of these, those that wait for commits
	Routes   []RouteStats
}

// RouteStats is what became of the requests of one route.
type RouteStats struct {
	// Route is a method and a pattern, such as "GET /v1/apps/{app}"; "" for all
	// requests that no route takes.
	Route string
	// Codes counts responses by status code.
	Codes map[int]uint64
	// Seconds is the time that all of them took together, and Buckets counts
	// those that took at most DurationBuckets[i] and more than the one before;
	// the last one is for the rest.
	Seconds float64
	Buckets []uint64
}

// DurationBuckets are the bounds of RouteStats.Buckets, in seconds. A write that
// waits for a disk takes some milliseconds, and one that waits for other nodes
// some tens.
var DurationBuckets = []float64{0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10}

// codes are the status codes that are counted; another one counts as 500.
var codes = [...]int{
	200, 201, 202, 204, 400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 422, 500, 503, 507,
}

// stats counts requests. All of it is made in init and never grows.
type stats struct {
	inFlight atomic.Int64
	routes   map[*route]*routeStats
}

type routeStats struct {
	name    string
	codes   [len(codes)]atomic.Uint64
	nanos   atomic.Int64
	buckets []atomic.Uint64
}

func (s *stats) init(routes []route) {
	s.routes = make(map[*route]*routeStats, len(routes)+1)
	add := func(r *route, name string) {
		s.routes[r] = &routeStats{name: name, buckets: make([]atomic.Uint64, len(DurationBuckets)+1)}
	}
	add(nil, "")
	for i := range routes {
		add(&routes[i], routes[i].String())
	}
}

// begin counts a request, which ends when done is called.
func (s *stats) begin(r *route) (done func(status int, took time.Duration)) {
	s.inFlight.Add(1)
	return func(status int, took time.Duration) {
		s.inFlight.Add(-1)
		s.routes[r].count(status, took)
	}
}

func (s *routeStats) count(status int, took time.Duration) {
	if status == 0 {
		status = http.StatusOK // as net/http has it
	}
	at := 0
	for i, code := range codes {
		if code == http.StatusInternalServerError {
			at = i
		}
	}
	for i, code := range codes {
		if code == status {
			at = i
		}
	}
	s.codes[at].Add(1)
	s.nanos.Add(int64(took))
	i := 0
	for i < len(DurationBuckets) && took.Seconds() > DurationBuckets[i] {
		i++
	}
	s.buckets[i].Add(1)
}

// Stats returns what was counted so far. Routes stand in the order of the table
// of routes, those that nothing took first.
func (a *API) Stats() Stats {
	out := Stats{InFlight: int(a.stats.inFlight.Load()), Waiting: len(a.watching)}
	add := func(s *routeStats) {
		r := RouteStats{Route: s.name, Codes: make(map[int]uint64), Seconds: time.Duration(s.nanos.Load()).Seconds()}
		for i, code := range codes {
			if n := s.codes[i].Load(); n > 0 {
				r.Codes[code] = n
			}
		}
		for i := range s.buckets {
			r.Buckets = append(r.Buckets, s.buckets[i].Load())
		}
		out.Routes = append(out.Routes, r)
	}
	add(a.stats.routes[nil])
	for i := range routes {
		add(a.stats.routes[&routes[i]])
	}
	return out
}
