package metrics

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

var update = flag.Bool("update", false, "write testdata/metrics.txt anew")

// The list in testdata is what operators build dashboards on.
func TestTheListOfMetricsIsTheOneWrittenDown(t *testing.T) {
	const golden = "testdata/metrics.txt"
	var b strings.Builder
	for _, f := range gather(t, &DNS{}, allFigures()) {
		fmt.Fprintf(&b, "%s %s\n\t%s\n", f.GetName(), strings.ToLower(f.GetType().String()), f.GetHelp())
		for _, label := range labelsOf(f) {
			fmt.Fprintf(&b, "\t%s\n", label)
		}
	}
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the metrics are not those of %s; go test -update writes it anew. Got\n%s", golden, b.String())
	}
}

func TestEveryMetricObeysPrometheusNaming(t *testing.T) {
	for _, f := range gather(t, &DNS{}, allFigures()) {
		name := f.GetName()
		if !strings.HasPrefix(name, "internaldns_") {
			t.Errorf("%s does not begin with internaldns_", name)
		}
		if (f.GetType() == dto.MetricType_COUNTER) != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %v: counters, and only they, end in _total", name, f.GetType())
		}
		if f.GetType() == dto.MetricType_HISTOGRAM && !strings.HasSuffix(name, "_seconds") && !strings.HasSuffix(name, "_bytes") {
			t.Errorf("%s is a histogram without a unit", name)
		}
		if !strings.HasSuffix(f.GetHelp(), ".") {
			t.Errorf("the help text of %s is no sentence: %q", name, f.GetHelp())
		}
	}
}

func TestTheRuntimeAndTheProcessAreScrapedToo(t *testing.T) {
	families, err := New(&DNS{}, Figures{Build: Build{"v1", "abc", "go1"}}).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"go_goroutines", "process_resident_memory_bytes", "internaldns_dns_requests_total"} {
		if !slices.ContainsFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == want }) {
			t.Errorf("no %s in the scrape", want)
		}
	}
}

func TestWhatBecameOfTheAPIsRequestsAndCertificatesIsScraped(t *testing.T) {
	got := nonZero(t, allFigures())
	for series, want := range map[string]float64{
		`internaldns_api_requests_total{code="200",route="GET /v1/apps"}`:       3,
		`internaldns_api_requests_total{code="404",route="GET /v1/apps"}`:       1,
		`internaldns_api_requests_total{code="500",route="GET /v1/apps"}`:       0,
		`internaldns_api_requests_in_flight`:                                    2,
		`internaldns_api_requests_waiting`:                                      1,
		`internaldns_store_available`:                                           1,
		`internaldns_certificate_reload_failures_total{setting="api_cert"}`:     2,
		`internaldns_certificate_expiry_timestamp_seconds{setting="etcd_cert"}`: 1_900_000_000,
		`internaldns_store_leases`:                                              3,
	} {
		if got[series] != want {
			t.Errorf("%s is %v, want %v", series, got[series], want)
		}
	}
}

func TestAStateThatIsNotKnownIsCountedAsUnknown(t *testing.T) {
	f := allFigures()
	f.Facts = func() Facts {
		return Facts{Machines: map[string]int{"started": 3, "levitating": 2, "web.internal": 1}}
	}
	got := nonZero(t, f)
	for series, want := range map[string]float64{
		`internaldns_registry_machines{state="started"}`: 3,
		`internaldns_registry_machines{state="unknown"}`: 3,
		`internaldns_registry_objects{kind="machine"}`:   6,
	} {
		if got[series] != want {
			t.Errorf("%s is %v, want %v", series, got[series], want)
		}
	}
	for series := range got {
		if strings.Contains(series, "levitating") || strings.Contains(series, "web.internal") {
			t.Errorf("a state from the facts became the series %s", series)
		}
	}
}

func TestTheAgeOfTheSourceIsThatOfItsLastGoodReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := Source{}
		f := Figures{Source: func() Source { return source }}
		const age = "internaldns_source_age_seconds"

		if got, ok := nonZero(t, f)[age]; ok {
			t.Errorf("a source that was never read is %v s old, want no age", got)
		}
		source = Source{LastGood: time.Now(), Reads: 1}
		time.Sleep(90 * time.Second)
		if got := nonZero(t, f)[age]; got != 90 {
			t.Errorf("a source read 90 s ago is %v s old", got)
		}
	})
}

// One upstream's figures each have a series of their own, and the sums of its
// histogram are right.
func TestEachUpstreamHasItsFigures(t *testing.T) {
	f := allFigures().Forward()
	u := &f.Upstreams[0]
	for i := range u.Responses {
		u.Responses[i] = uint64(100 + i)
	}
	u.Timeouts, u.Errors, u.Hedges, u.Probes, u.Healthy = 11, 12, 13, 14, true
	second := *u
	second.Name, second.Healthy, second.Timeouts = "tls://192.0.2.54:853#dns.example", false, 99
	f.Upstreams = append(f.Upstreams, second)
	figures := Figures{Forward: func() Forward { return f }}
	got := nonZero(t, figures)
	const to = `{to="192.0.2.53:53"}`
	for series, want := range map[string]float64{
		`internaldns_forward_requests_total{proto="tcp",to="192.0.2.53:53"}`:                    2,
		`internaldns_forward_requests_total{proto="tls",to="192.0.2.53:53"}`:                    3,
		`internaldns_forward_responses_total{rcode="NOERROR",to="192.0.2.53:53"}`:               100,
		`internaldns_forward_responses_total{rcode="NXDOMAIN",to="192.0.2.53:53"}`:              103,
		`internaldns_forward_responses_total{rcode="NOTZONE",to="192.0.2.53:53"}`:               110,
		`internaldns_forward_responses_total{rcode="other",to="192.0.2.53:53"}`:                 111,
		`internaldns_forward_mismatches_total{reason="question",to="192.0.2.53:53"}`:            5,
		`internaldns_forward_timeouts_total` + to:                                               11,
		`internaldns_forward_errors_total` + to:                                                 12,
		`internaldns_forward_hedges_total` + to:                                                 13,
		`internaldns_forward_healthcheck_probes_total` + to:                                     14,
		`internaldns_forward_healthy` + to:                                                      1,
		`internaldns_forward_timeouts_total{to="tls://192.0.2.54:853#dns.example"}`:             99,
		`internaldns_forward_healthy{to="tls://192.0.2.54:853#dns.example"}`:                    0,
		`internaldns_forward_refused_total{reason="client"}`:                                    7,
		`internaldns_forward_requests_total{proto="udp",to="tls://192.0.2.54:853#dns.example"}`: 1,
	} {
		if got[series] != want {
			t.Errorf("%s is %v, want %v", series, got[series], want)
		}
	}
	for _, family := range gather(t, figures) {
		if family.GetName() != "internaldns_forward_request_duration_seconds" {
			continue
		}
		h := family.GetMetric()[0].GetHistogram()
		b := h.GetBucket()
		if h.GetSampleCount() != 6 || h.GetSampleSum() != 0.015 || len(b) != 2 ||
			b[0].GetUpperBound() != 0.001 || b[0].GetCumulativeCount() != 3 ||
			b[1].GetUpperBound() != 0.002 || b[1].GetCumulativeCount() != 5 {
			t.Errorf("the histogram of 3, 2 and 1 responses in 15 ms is %v", h)
		}
	}
}

// The cache's metrics distinguish the kinds of hits.
func TestHitsOfTheCacheAreToldApart(t *testing.T) {
	got := nonZero(t, Figures{Forward: func() Forward {
		return Forward{
			Hits: 1, Denials: 2, FailureHits: 3, Stale: 4, Home: 5, Misses: 6, Joined: 7, Failed: 8, Truncated: 9,
			Prefetches: 10, Evictions: 11, Waiting: 12, Flights: 13, CacheEntries: 14, CacheOctets: 15,
		}
	}})
	delete(got, "internaldns_build_info{goversion=\"\",revision=\"\",version=\"\"}")
	want := map[string]float64{
		`internaldns_cache_hits_total{type="success"}`:  1,
		`internaldns_cache_hits_total{type="denial"}`:   2,
		`internaldns_cache_hits_total{type="failure"}`:  3,
		`internaldns_cache_served_stale_total`:          4,
		`internaldns_forward_kept_home_total`:           5,
		`internaldns_cache_misses_total`:                6,
		`internaldns_forward_joined_total`:              7,
		`internaldns_forward_failures_total`:            8,
		`internaldns_forward_responses_truncated_total`: 9,
		`internaldns_cache_prefetch_total`:              10,
		`internaldns_cache_evictions_total`:             11,
		`internaldns_forward_queries_waiting`:           12,
		`internaldns_forward_questions_open`:            13,
		`internaldns_cache_entries`:                     14,
		`internaldns_cache_size_bytes`:                  15,
	}
	if !maps.Equal(got, want) {
		t.Errorf("the figures are\n%v\nwant\n%v", got, want)
	}
}

func allFigures() Figures {
	return Figures{
		Build:  Build{"v1.2.3", "0123456789ab", "go1.26"},
		States: []string{"started", "stopped"},
		Facts:  func() Facts { return Facts{} },
		Source: func() Source { return Source{LastGood: time.Now()} },
		Keep:   func() Keep { return Keep{Writes: 9, Failures: 2, Available: true, Leases: 3, Quarantined: 1} },
		API: func() API {
			return API{InFlight: 2, Waiting: 1, Routes: []Route{
				{},
				{"GET /v1/apps", map[int]uint64{200: 3, 404: 1, 500: 0}, []uint64{3, 0, 1}, []float64{0.001, 0.1}, 0.5},
			}}
		},
		Forward: func() Forward {
			return Forward{
				Upstreams: []Upstream{{
					Name:         "192.0.2.53:53",
					Requests:     []Count{{"udp", 1}, {"tcp", 2}, {"tls", 3}},
					Responses:    make([]uint64, 12),
					Mismatches:   []Count{{"id", 4}, {"question", 5}},
					Latency:      []uint64{3, 2, 1},
					LatencyBound: func(i int) time.Duration { return time.Millisecond << i },
					LatencySum:   15 * time.Millisecond,
				}},
				Refused: []Count{{"rd", 6}, {"client", 7}},
			}
		},
		Certificates: func() []Certificate {
			return []Certificate{{"api_cert", time.Unix(1_800_000_000, 0), 2}, {"etcd_cert", time.Unix(1_900_000_000, 0), 0}}
		},
	}
}

// gather scrapes the collectors, which checks that what they send is what they
// describe.
func gather(t testing.TB, collectors ...prometheus.Collector) []*dto.MetricFamily {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	for _, c := range collectors {
		if err := r.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// nonZero scrapes c and returns its counters and gauges that are not zero, as
// name{label="value",…}.
func nonZero(t testing.TB, c prometheus.Collector) map[string]float64 {
	t.Helper()
	series := map[string]float64{}
	for _, f := range gather(t, c) {
		for _, m := range f.GetMetric() {
			v := m.GetCounter().GetValue() + m.GetGauge().GetValue()
			if v == 0 {
				continue
			}
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name := f.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			series[name] = v
		}
	}
	return series
}

// labelsOf returns each label of f with the values it takes, and the bounds of
// its buckets.
func labelsOf(f *dto.MetricFamily) []string {
	values := map[string][]string{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if !slices.Contains(values[l.GetName()], l.GetValue()) {
				values[l.GetName()] = append(values[l.GetName()], l.GetValue())
			}
		}
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		lines = append(lines, name+": "+strings.Join(values[name], " "))
	}
	if h := f.GetMetric()[0].GetHistogram(); h != nil {
		var bounds []string
		for _, b := range h.GetBucket() {
			bounds = append(bounds, fmt.Sprint(b.GetUpperBound()))
		}
		lines = append(lines, "buckets: "+strings.Join(bounds, " "))
	}
	return lines
}
