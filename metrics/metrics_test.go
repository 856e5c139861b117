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
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

var update = flag.Bool("update", false, "write testdata/metrics.txt anew")

// Operators build dashboards on the metrics that the list in testdata has.
func TestTheMetricsAreThoseOfTheList(t *testing.T) {
	const golden = "testdata/metrics.txt"
	var b strings.Builder
	for _, f := range gather(t, all()...) {
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
	for _, f := range gather(t, all()...) {
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
			t.Errorf("the help text of %s does not end with a full stop: %q", name, f.GetHelp())
		}
	}
}

func TestTheRuntimeAndTheProcessAreScraped(t *testing.T) {
	families, err := New(&DNS{}).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"go_goroutines", "process_resident_memory_bytes", "internaldns_dns_requests_total"} {
		if !slices.ContainsFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == want }) {
			t.Errorf("no %s in the scrape", want)
		}
	}
}

func TestRequestsToTheAPIAreScraped(t *testing.T) {
	a := NewAPI()
	for range 3 {
		a.Begin()
		a.Done("GET /v1/apps", 200, time.Millisecond)
	}
	a.Begin()
	a.Done("GET /v1/apps", 0, 0) // net/http answers 200
	a.Begin()
	a.Done("", 404, time.Minute)
	a.Begin()
	done := a.Wait()
	a.Wait()()
	got := nonZero(t, a)
	want := map[string]float64{
		`internaldns_api_requests_total{code="200",route="GET /v1/apps"}`: 4,
		`internaldns_api_requests_total{code="404",route="none"}`:         1,
		`internaldns_api_requests_in_flight`:                              1,
		`internaldns_api_requests_waiting`:                                1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("the counts are\n%v\nwant\n%v", got, want)
	}
	done()
	if got := nonZero(t, a)["internaldns_api_requests_waiting"]; got != 0 {
		t.Errorf("%v wait, want none", got)
	}
	h := gather(t, a)[0].GetMetric()[0].GetHistogram() // GET /v1/apps
	if b := h.GetBucket(); h.GetSampleCount() != 4 || h.GetSampleSum() != 0.003 || len(b) != 7 || b[0].GetCumulativeCount() != 4 {
		t.Errorf("the histogram of 3 requests of 1 ms and one of 0 is %v", h)
	}
}

func TestStoreAndCertificatesAreScraped(t *testing.T) {
	got := nonZero(t, allFigures())
	for series, want := range map[string]float64{
		`internaldns_store_available`:                                           1,
		`internaldns_store_leases`:                                              3,
		`internaldns_certificate_reload_failures_total{setting="api_cert"}`:     2,
		`internaldns_certificate_expiry_timestamp_seconds{setting="etcd_cert"}`: 1_900_000_000,
	} {
		if got[series] != want {
			t.Errorf("%s is %v, want %v", series, got[series], want)
		}
	}
}

func TestAnUnknownStateIsCountedAsUnknown(t *testing.T) {
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

func TestTheAgeOfTheSourceIsTheTimeSinceItsLastGoodReading(t *testing.T) {
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

// One upstream's counts each have a series of their own, and the sums of its
// histogram are right.
func TestEachUpstreamHasItsCounts(t *testing.T) {
	healthy := NewUpstream("192.0.2.53:53", []string{"", "id", "question"}, func() bool { return true })
	dead := NewUpstream("tls://192.0.2.54:853#dns.example", []string{"", "id", "question"}, func() bool { return false })
	times := func(n int, count func()) {
		for range n {
			count()
		}
	}
	for rcode := range uint16(13) { // 11 and 12 are other
		times(int(100+rcode), func() { healthy.Response(rcode, 64*time.Microsecond) })
	}
	healthy.Response(3, 2*time.Millisecond)
	healthy.Response(3, time.Minute)
	times(2, func() { healthy.Request(OverTCP) })
	times(3, func() { healthy.Request(OverTLS) })
	dead.Request(OverUDP)
	times(5, func() { healthy.Mismatch(2) })
	healthy.Timeouts.Add(11)
	healthy.Errors.Add(12)
	healthy.Hedges.Add(13)
	healthy.Probes.Add(14)
	dead.Timeouts.Add(99)
	f := &Forward{Now: func() ForwardState { return ForwardState{Upstreams: []*Upstream{healthy, dead}} }}
	got := nonZero(t, f)
	const to = `{to="192.0.2.53:53"}`
	for series, want := range map[string]float64{
		`internaldns_forward_requests_total{proto="tcp",to="192.0.2.53:53"}`:                    2,
		`internaldns_forward_requests_total{proto="tls",to="192.0.2.53:53"}`:                    3,
		`internaldns_forward_responses_total{rcode="NOERROR",to="192.0.2.53:53"}`:               100,
		`internaldns_forward_responses_total{rcode="NXDOMAIN",to="192.0.2.53:53"}`:              105,
		`internaldns_forward_responses_total{rcode="NOTZONE",to="192.0.2.53:53"}`:               110,
		`internaldns_forward_responses_total{rcode="other",to="192.0.2.53:53"}`:                 223,
		`internaldns_forward_mismatches_total{reason="id",to="192.0.2.53:53"}`:                  0,
		`internaldns_forward_mismatches_total{reason="question",to="192.0.2.53:53"}`:            5,
		`internaldns_forward_timeouts_total` + to:                                               11,
		`internaldns_forward_errors_total` + to:                                                 12,
		`internaldns_forward_hedges_total` + to:                                                 13,
		`internaldns_forward_healthcheck_probes_total` + to:                                     14,
		`internaldns_forward_healthy` + to:                                                      1,
		`internaldns_forward_timeouts_total{to="tls://192.0.2.54:853#dns.example"}`:             99,
		`internaldns_forward_healthy{to="tls://192.0.2.54:853#dns.example"}`:                    0,
		`internaldns_forward_requests_total{proto="udp",to="tls://192.0.2.54:853#dns.example"}`: 1,
	} {
		if got[series] != want {
			t.Errorf("%s is %v, want %v", series, got[series], want)
		}
	}
	for _, family := range gather(t, f) {
		if family.GetName() != "internaldns_forward_request_duration_seconds" {
			continue
		}
		const n = 13*100 + 12*13/2 // of 64 µs
		h := family.GetMetric()[0].GetHistogram()
		b := h.GetBucket()
		if h.GetSampleCount() != n+2 || h.GetSampleSum() != (n*64*time.Microsecond+2*time.Millisecond+time.Minute).Seconds() || len(b) != latencyBuckets-1 ||
			b[0].GetUpperBound() != 64e-6 || b[0].GetCumulativeCount() != n ||
			b[5].GetUpperBound() != 2048e-6 || b[4].GetCumulativeCount() != n || b[5].GetCumulativeCount() != n+1 || b[len(b)-1].GetCumulativeCount() != n+1 {
			t.Errorf("the histogram of %d responses in 64 µs, one in 2 ms and one in 1 min is %v", n, h)
		}
	}
}

// Each count has a series of its own, and counts of all stripes add up.
func TestEachCountOfAForwardHasItsSeries(t *testing.T) {
	f := &Forward{Now: func() ForwardState {
		return ForwardState{Waiting: 101, Questions: 102, CacheEntries: 103, CacheOctets: 104, Evictions: 105}
	}}
	for c := range ForwardCount(len(forwardCounts)) {
		for i := range uint16(c + 1) {
			f.Count(1000+i, c)
		}
	}
	got := nonZero(t, f)
	want := map[string]float64{
		`internaldns_cache_hits_total{type="success"}`:            1,
		`internaldns_cache_hits_total{type="denial"}`:             2,
		`internaldns_cache_hits_total{type="failure"}`:            3,
		`internaldns_cache_served_stale_total`:                    4,
		`internaldns_cache_misses_total`:                          5,
		`internaldns_cache_prefetch_total`:                        6,
		`internaldns_forward_kept_home_total`:                     7,
		`internaldns_forward_joined_total`:                        8,
		`internaldns_forward_failures_total`:                      9,
		`internaldns_forward_responses_truncated_total`:           10,
		`internaldns_forward_refused_total{reason="rd"}`:          11,
		`internaldns_forward_refused_total{reason="client"}`:      12,
		`internaldns_forward_refused_total{reason="no_upstream"}`: 13,
		`internaldns_forward_refused_total{reason="full"}`:        14,
		`internaldns_forward_refused_total{reason="source"}`:      15,
		`internaldns_forward_queries_waiting`:                     101,
		`internaldns_forward_questions_open`:                      102,
		`internaldns_cache_entries`:                               103,
		`internaldns_cache_size_bytes`:                            104,
		`internaldns_cache_evictions_total`:                       105,
	}
	if !maps.Equal(got, want) {
		t.Errorf("the counts are\n%v\nwant\n%v", got, want)
	}
}

// A stripe fills whole cache lines, so that two never share one.
func TestAStripeFillsItsCacheLines(t *testing.T) {
	if size := unsafe.Sizeof(Forward{}.stripes[0]); size%64 != 0 {
		t.Errorf("a stripe takes %d octets, want a multiple of 64", size)
	}
}

// all returns collectors that have every metric.
func all() []prometheus.Collector {
	a := NewAPI()
	a.Begin()
	a.Done("GET /v1/apps", 200, time.Second)
	a.Done("GET /v1/apps", 404, time.Second)
	u := NewUpstream("192.0.2.53:53", []string{"", "id", "question"}, func() bool { return true })
	f := &Forward{Now: func() ForwardState { return ForwardState{Upstreams: []*Upstream{u}} }}
	return []prometheus.Collector{&DNS{}, allFigures(), a, f}
}

func allFigures() Figures {
	return Figures{
		Build:  Build{"v1.2.3", "0123456789ab", "go1.26"},
		States: []string{"started", "stopped"},
		Facts:  func() Facts { return Facts{} },
		Source: func() Source { return Source{LastGood: time.Now()} },
		Keep:   func() Keep { return Keep{Writes: 9, Failures: 2, Available: true, Leases: 3, Quarantined: 1} },
		Certificates: func() []Certificate {
			return []Certificate{{"api_cert", time.Unix(1_800_000_000, 0), 2}, {"etcd_cert", time.Unix(1_900_000_000, 0), 0}}
		},
	}
}

// gather scrapes the collectors and returns their metrics. It fails the test if two
// have the same name and labels.
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
