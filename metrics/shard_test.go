package metrics

import (
	"math"
	"strconv"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
)

func TestQueriesAreCountedUnderTheirLabels(t *testing.T) {
	for _, tt := range []struct {
		name  string
		proto string
		note  func(s *Shard)
		want  map[string]float64
	}{
		{
			"an AAAA query over UDP and IPv6", UDP,
			func(s *Shard) { s.Note(28, true, 0, 31, 59) },
			map[string]float64{
				`internaldns_dns_requests_total{family="2",proto="udp",type="AAAA"}`: 1,
				`internaldns_dns_responses_total{rcode="NOERROR"}`:                   1,
			},
		},
		{
			"a TXT query over TCP and IPv4 for a name that does not exist", TCP,
			func(s *Shard) { s.Note(16, false, 3, 31, 100) },
			map[string]float64{
				`internaldns_dns_requests_total{family="1",proto="tcp",type="TXT"}`: 1,
				`internaldns_dns_responses_total{rcode="NXDOMAIN"}`:                 1,
			},
		},
		{
			"the last type that has a name", UDP,
			func(s *Shard) { s.Note(255, true, 5, 31, 31) },
			map[string]float64{
				`internaldns_dns_requests_total{family="2",proto="udp",type="ANY"}`: 1,
				`internaldns_dns_responses_total{rcode="REFUSED"}`:                  1,
			},
		},
		{
			"types without a name, and a question that could not be read", UDP,
			func(s *Shard) {
				for _, qtype := range []uint16{0, 3, 254, 256, 65280, math.MaxUint16} {
					s.Note(qtype, true, 1, 31, 31)
				}
			},
			map[string]float64{
				`internaldns_dns_requests_total{family="2",proto="udp",type="other"}`: 6,
				`internaldns_dns_responses_total{rcode="FORMERR"}`:                    6,
			},
		},
		{
			"extended response codes, and those without a name", UDP,
			func(s *Shard) {
				for _, rcode := range []uint16{16, 23, 11, 17, 31, 32, 4095, math.MaxUint16} {
					s.Note(1, false, rcode, 31, 31)
				}
			},
			map[string]float64{
				`internaldns_dns_requests_total{family="1",proto="udp",type="A"}`: 8,
				`internaldns_dns_responses_total{rcode="BADVERS"}`:                1,
				`internaldns_dns_responses_total{rcode="BADCOOKIE"}`:              1,
				`internaldns_dns_responses_total{rcode="other"}`:                  6,
			},
		},
		{
			"drops and truncated responses", UDP,
			func(s *Shard) {
				s.Drop(DropShort)
				s.Drop(DropSend)
				s.Drop(DropSend)
				s.Truncated()
			},
			map[string]float64{
				`internaldns_dns_dropped_total{proto="udp",reason="short"}`: 1,
				`internaldns_dns_dropped_total{proto="udp",reason="send"}`:  2,
				`internaldns_dns_responses_truncated_total{proto="udp"}`:    1,
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d DNS
			s := d.NewShard(tt.proto)
			tt.note(s)
			if got := nonZero(t, &d); len(got) != 0 {
				t.Errorf("before Flush, a scrape sees %v", got)
			}
			s.Flush(time.Microsecond)
			got := nonZero(t, &d)
			for series, want := range tt.want {
				if got[series] != want {
					t.Errorf("%s is %v, want %v", series, got[series], want)
				}
				delete(got, series)
			}
			for series, n := range got {
				t.Errorf("%s is %v, want 0", series, n)
			}
		})
	}
}

func TestASizeFallsInTheFirstBucketThatHoldsIt(t *testing.T) {
	for _, n := range []int{1, 2, 3, 12, 31, 32, 33, 511, 512, 513, 1232, 4096, 32768, 32769, 65535} {
		i := sizeBucket(n)
		if i == sizeBuckets-1 {
			if float64(n) <= sizeBound(i-1) {
				t.Errorf("%d octets are in the last bucket, though %v would hold them", n, sizeBound(i-1))
			}
			continue
		}
		if float64(n) > sizeBound(i) || i > 0 && float64(n) <= sizeBound(i-1) {
			t.Errorf("%d octets are in the bucket up to %v", n, sizeBound(i))
		}
	}
}

func TestADurationFallsInTheFirstBucketThatHoldsIt(t *testing.T) {
	for _, tt := range []struct {
		d     time.Duration
		bound float64 // seconds
	}{
		{-time.Second, 1e-6}, // a clock that went back
		{0, 1e-6},
		{1, 1e-6},
		{time.Microsecond, 1e-6},
		{time.Microsecond + 1, 2e-6},
		{2 * time.Microsecond, 2e-6},
		{2*time.Microsecond + 1, 4e-6},
		{50 * time.Microsecond, 64e-6},
		{time.Millisecond, 1024e-6},
		{4 * time.Second, 4.194304},
		{8388608 * time.Microsecond, 8.388608},
		{8388608*time.Microsecond + 1, math.Inf(1)},
		{time.Hour, math.Inf(1)},
		{math.MaxInt64, math.Inf(1)},
	} {
		bound := math.Inf(1)
		if i := durationBucket(tt.d); i < durationBuckets-1 {
			bound = durationBound(i)
		}
		if bound != tt.bound {
			t.Errorf("%v is in the bucket up to %v s, want %v s", tt.d, bound, tt.bound)
		}
	}
}

func TestABatchCountsItsDurationOncePerQuery(t *testing.T) {
	var d DNS
	s := d.NewShard(UDP)
	for range 32 {
		s.Note(28, true, 0, 40, 600)
	}
	s.Drop(DropResponse)
	s.Flush(3 * time.Microsecond)
	s.Flush(time.Hour) // an empty batch has no duration

	h := histogramOf(t, &d, "internaldns_dns_request_duration_seconds", UDP)
	if h.GetSampleCount() != 32 {
		t.Errorf("%d durations, want 32", h.GetSampleCount())
	}
	if got, want := h.GetSampleSum(), 32*3e-6; math.Abs(got-want) > 1e-12 {
		t.Errorf("durations add up to %v s, want %v s", got, want)
	}
	for _, b := range h.GetBucket() {
		if want := uint64(32); b.GetUpperBound() >= 4e-6 && b.GetCumulativeCount() != want {
			t.Errorf("%d queries took up to %v s, want %d", b.GetCumulativeCount(), b.GetUpperBound(), want)
		} else if b.GetUpperBound() < 3e-6 && b.GetCumulativeCount() != 0 {
			t.Errorf("%d queries took up to %v s, want 0", b.GetCumulativeCount(), b.GetUpperBound())
		}
	}
	if h := histogramOf(t, &d, "internaldns_dns_request_size_bytes", UDP); h.GetSampleSum() != 32*40 {
		t.Errorf("queries have %v octets, want %d", h.GetSampleSum(), 32*40)
	}
	if h := histogramOf(t, &d, "internaldns_dns_response_size_bytes", UDP); h.GetSampleSum() != 32*600 {
		t.Errorf("responses have %v octets, want %d", h.GetSampleSum(), 32*600)
	}
}

// Run with the race detector, this test also finds unsynchronized access.
func TestScrapesSeeEveryQueryOfEveryShardOnce(t *testing.T) {
	const workers, batches, batch = 4, 50, 32
	var d DNS
	done := make(chan struct{})
	var scrapes sync.WaitGroup
	scrapes.Go(func() {
		for last := 0.0; ; {
			total := 0.0
			for series, n := range nonZero(t, &d) {
				if series == `internaldns_dns_responses_total{rcode="NOERROR"}` {
					total = n
				}
			}
			if total < last {
				t.Errorf("responses went from %v to %v", last, total)
			}
			last = total
			select {
			case <-done:
				return
			default:
			}
		}
	})
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			s := d.NewShard(UDP)
			for range batches {
				for range batch {
					s.Note(28, true, 0, 40, 100)
				}
				s.Flush(time.Microsecond)
			}
		})
	}
	wg.Wait()
	close(done)
	scrapes.Wait()

	got := nonZero(t, &d)[`internaldns_dns_responses_total{rcode="NOERROR"}`]
	if want := float64(workers * batches * batch); got != want {
		t.Errorf("%v responses, want %v", got, want)
	}
}

func TestAShardCountsForItsTransport(t *testing.T) {
	var d DNS
	d.NewShard(UDP)
	s := d.NewShard(TCP)
	s.Note(28, true, 0, 40, 100)
	s.Flush(0)
	if got := nonZero(t, &d)[`internaldns_dns_requests_total{family="2",proto="tcp",type="AAAA"}`]; got != 1 {
		t.Errorf("%v queries over TCP, want 1", got)
	}
}

func TestOpenConnectionsAreThoseAcceptedAndNotClosed(t *testing.T) {
	var d DNS
	for range 3 {
		d.Accepted()
	}
	d.Closed(ClosedIdle)
	want := map[string]float64{
		`internaldns_tcp_connections_open`:                        2,
		`internaldns_tcp_connections_total`:                       3,
		`internaldns_tcp_connections_closed_total{reason="idle"}`: 1,
	}
	got := nonZero(t, &d)
	for series, n := range want {
		if got[series] != n {
			t.Errorf("%s is %v, want %v", series, got[series], n)
		}
	}
}

// Counting does not allocate.
func TestNoteAllocs(t *testing.T) {
	var d DNS
	s := d.NewShard(UDP)
	got := testing.AllocsPerRun(1000, func() {
		s.Note(28, true, 0, 40, 100)
		s.Drop(DropShort)
		s.Truncated()
		s.Flush(time.Microsecond)
	})
	if got != 0 {
		t.Errorf("counting a query: %v allocs, want 0", got)
	}
}

func histogramOf(t testing.TB, d *DNS, name, proto string) *dto.Histogram {
	t.Helper()
	for _, f := range gather(t, d) {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == proto {
				return m.GetHistogram()
			}
		}
	}
	t.Fatalf("no histogram %s of %s", name, proto)
	return nil
}

// BenchmarkNote measures what counting costs a query in a batch of 32, and one
// that is answered alone, as most over TCP are. One op is one batch.
//
//	BenchmarkNote/32   6.0 ns/query   0 allocs/op
//	BenchmarkNote/1    73 ns/query   0 allocs/op
//
// On a Xeon VM with two cores, go1.26.8, 2026-11. A query costs microseconds.
func BenchmarkNote(b *testing.B) {
	for _, batch := range []int{32, 1} {
		b.Run(strconv.Itoa(batch), func(b *testing.B) {
			var d DNS
			s := d.NewShard(UDP)
			b.ReportAllocs()
			for b.Loop() {
				for range batch {
					s.Note(28, true, 0, 40, 100)
				}
				s.Flush(20 * time.Microsecond)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/query")
		})
	}
}
