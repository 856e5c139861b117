package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// An API counts requests to the control API. It is a prometheus.Collector. Its
// methods may be called from any goroutine.
type API struct {
	requests          *prometheus.CounterVec
	durations         *prometheus.HistogramVec
	inFlight, waiting prometheus.Gauge
}

// apiBuckets are the bounds of the durations of requests, in seconds. A write that
// waits for a disk takes some milliseconds, and one that waits for other nodes
// some tens.
var apiBuckets = []float64{0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10}

// NewAPI returns an API that counts from zero.
func NewAPI() *API {
	return &API{
		requests:  prometheus.NewCounterVec(prometheus.CounterOpts(apiRequests.opts), apiRequests.labels),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: apiDuration.opts.Name, Help: apiDuration.opts.Help, Buckets: apiBuckets}, apiDuration.labels),
		inFlight:  prometheus.NewGauge(prometheus.GaugeOpts(apiInFlight.opts)),
		waiting:   prometheus.NewGauge(prometheus.GaugeOpts(apiWaiting.opts)),
	}
}

// Begin counts a request that has come. Done must follow.
func (a *API) Begin() { a.inFlight.Inc() }

// Done counts the end of a request that took so long. route is one of the routes'
// names, "" if no route takes the request; status is 0 if nothing was sent, which
// net/http makes 200.
func (a *API) Done(route string, status int, took time.Duration) {
	if route == "" {
		route = "none"
	}
	if status == 0 {
		status = http.StatusOK
	}
	a.inFlight.Dec()
	a.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	a.durations.WithLabelValues(route).Observe(took.Seconds())
}

// Wait counts a request that begins to wait for changes, until done is called.
func (a *API) Wait() (done func()) {
	a.waiting.Inc()
	return a.waiting.Dec
}

// Describe implements prometheus.Collector.
func (a *API) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range a.collectors() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (a *API) Collect(ch chan<- prometheus.Metric) {
	for _, c := range a.collectors() {
		c.Collect(ch)
	}
}

func (a *API) collectors() []prometheus.Collector {
	return []prometheus.Collector{a.requests, a.durations, a.inFlight, a.waiting}
}
