package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Keep is how keeping the facts goes, where they can be changed here.
type Keep struct {
	Writes      uint64 // made
	Failures    uint64 // not made, because what keeps the facts failed
	Available   bool   // whether it takes writes now
	Leases      int    // machines that have one; -1: not known
	Quarantined int    // keys that are not in effect
}

// API is what became of requests to the control API.
type API struct {
	InFlight, Waiting int
	Routes            []Route
}

// Route is what became of the requests of one route.
type Route struct {
	Name    string         // a method and a pattern; "" for requests that no route takes
	Codes   map[int]uint64 // by status code
	Buckets []uint64       // by time taken; the last bucket has no bound
	Bounds  []float64      // of Buckets, in seconds
	Seconds float64        // that all of them took
}

// Certificate is one that we show to others.
type Certificate struct {
	Setting  string // that names its file
	Expires  time.Time
	Failures uint64 // times that its files were at fault
}

func describeKeep(ch chan<- *prometheus.Desc) {
	for _, m := range []metric{keepWrites, keepFailures, keepAvailable, keepLeases, keepQuarantined} {
		ch <- m.desc
	}
}

func (k Keep) collect(ch chan<- prometheus.Metric) {
	keepWrites.send(ch, float64(k.Writes))
	keepFailures.send(ch, float64(k.Failures))
	available := 0.0
	if k.Available {
		available = 1
	}
	keepAvailable.send(ch, available)
	if k.Leases >= 0 {
		keepLeases.send(ch, float64(k.Leases))
	}
	keepQuarantined.send(ch, float64(k.Quarantined))
}

func describeAPI(ch chan<- *prometheus.Desc) {
	for _, m := range []metric{apiRequests, apiDuration, apiInFlight, apiWaiting} {
		ch <- m.desc
	}
}

func (a API) collect(ch chan<- prometheus.Metric) {
	apiInFlight.send(ch, float64(a.InFlight))
	apiWaiting.send(ch, float64(a.Waiting))
	for _, r := range a.Routes {
		name := r.Name
		if name == "" {
			name = "none"
		}
		total := uint64(0)
		for code, n := range r.Codes {
			total += n
			if n > 0 {
				apiRequests.send(ch, float64(n), name, strconv.Itoa(code))
			}
		}
		if total > 0 {
			apiDuration.sendBuckets(ch, r.Buckets, r.Seconds, func(i int) float64 { return r.Bounds[i] }, name)
		}
	}
}

func describeCertificates(ch chan<- *prometheus.Desc) {
	ch <- certExpiry.desc
	ch <- certFailures.desc
}

func (c Certificate) collect(ch chan<- prometheus.Metric) {
	certExpiry.send(ch, float64(c.Expires.Unix()), c.Setting)
	certFailures.send(ch, float64(c.Failures), c.Setting)
}
