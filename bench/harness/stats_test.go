//go:build linux

package harness

import (
	"math"
	"testing"
	"time"
)

func TestTheMedianIsTheMiddleOfTheNumbers(t *testing.T) {
	nan := math.NaN()
	for _, tt := range []struct {
		figures []float64
		want    Spread
	}{
		{[]float64{3, 1, 2}, Spread{2, 1, 3}},
		{[]float64{4, 1, 2, 3}, Spread{2.5, 1, 4}},
		{[]float64{nan, 7, nan}, Spread{7, 7, 7}},
	} {
		if got := SpreadOf(tt.figures); got != tt.want {
			t.Errorf("SpreadOf(%v) = %v, want %v", tt.figures, got, tt.want)
		}
	}
	if got := SpreadOf(nil); !math.IsNaN(got.Median) || got.Ratio() != None || got.Time() != None {
		t.Errorf("the spread of nothing is %v, written %s and %s", got, got.Ratio(), got.Time())
	}
	var took []time.Duration
	for i := range 200 {
		took = append(took, time.Duration(200-i))
	}
	if got, want := LatencyOf(took), (Latency{101, 199, 200}); got != want || Median(took) != 100 {
		t.Errorf("the latency is %v, want %v; the median is %v", got, want, Median(took))
	}
}

func TestFiguresAreWrittenForPeople(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{Count(999), "999"}, {Count(1234567), "1,234,567"}, {Count(1999.6), "2,000"}, {Count(math.NaN()), None},
		{Time(0), None}, {Time(1234), "1.23 µs"}, {Time(45678 * time.Microsecond), "45.7 ms"}, {Time(90 * time.Second), "90.0 s"},
		{Octets(500), "500 B"}, {Octets(20 << 10), "20 KiB"}, {Octets(30 << 20), "30 MiB"}, {Octets(40 << 30), "40.0 GiB"},
		{Microseconds(1234), "1.23 µs"}, {Percent(0.1234, 1), "12.3 %"}, {Spread{1.5, 1, 2}.Ratio(), "**1.50** (1.00–2.00)"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
