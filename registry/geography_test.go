package registry

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestPing(t *testing.T) {
	at := func(code string, lat, lon float64) Region { return Region{Code: code, Latitude: lat, Longitude: lon} }
	g := newGeography(
		[]Region{
			at("here", 0, 0), at("near", 0, 0.001), at("pole", 90, 0), at("back", 0, 180), at("same", 0, 0),
			at("syd", 0, 1), // in the place of Sydney
			// 0.015 ms/km × 6371.0088 km × π/180 is 1.66792… ms a degree.
			at("low", 0, 0.899), at("high", 0, 0.9), // 1.4995 and 1.5011 ms
		},
		[]RTT{{"here", "moon", 1300}, {"near", "here", 7}, {"here", "fra", 90}, {"fra", "here", 91}, {"here", "here", 5}, {"zero", "here", 0}},
	)
	for _, tt := range []struct {
		name, from, to string
		want           int // -1: unknown
	}{
		{"within one region it is 0", "ams", "ams", 0},
		{"within one region it is 0, even if measured", "here", "here", 0},
		{"within one region it is 0, even without coordinates", "nowhere", "nowhere", 0},
		{"by distance; the one answer that was published has 135", "sjc", "ams", 132},
		{"by distance, back", "ams", "sjc", 132},
		{"as measured", "here", "fra", 90},
		{"as measured the other way, which differs", "fra", "here", 91},
		{"as measured the other way, if this way is not", "moon", "here", 1300},
		{"as measured the other way, rather than by distance", "here", "near", 7},
		{"as measured, also if 0", "here", "zero", 0},
		{"a quarter of the way around the earth", "here", "pole", 150},
		{"half way around the earth", "here", "back", 300},
		{"1.4995 ms are 1", "here", "low", 1},
		{"1.5011 ms are 2", "here", "high", 2},
		{"two regions in one place are 1 ms apart", "here", "same", 1},
		{"by the coordinates that were put for a built-in region", "syd", "here", 2},
		{"no coordinates", "here", "nowhere", -1},
		{"no coordinates of the first", "nowhere", "here", -1},
		{"a client without a region", "", "here", -1},
		{"a machine without a region", "here", "", -1},
		{"neither has a region", "", "", -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ms, known := g.Ping(tt.from, tt.to)
			if got := int(ms); known != (tt.want >= 0) || known && got != tt.want {
				t.Errorf("%s to %s is %d ms, %v; want %d", tt.from, tt.to, ms, known, tt.want)
			}
		})
	}
	codes := g.Codes()
	if !slices.IsSorted(codes) || !slices.Contains(codes, "moon") || !slices.Contains(codes, "pole") || !slices.Contains(codes, "ams") || slices.Contains(codes, "nowhere") {
		t.Errorf("the regions known are %v", codes)
	}
}

// The distance by the law of cosines, which is another formula.
func TestPingAgreesWithTheLawOfCosines(t *testing.T) {
	g := newGeography(nil, nil)
	const rad = math.Pi / 180
	for from, a := range BuiltinRegions() {
		for to, b := range BuiltinRegions() {
			if from == to {
				continue
			}
			cos := math.Sin(a.Latitude*rad)*math.Sin(b.Latitude*rad) + math.Cos(a.Latitude*rad)*math.Cos(b.Latitude*rad)*math.Cos((a.Longitude-b.Longitude)*rad)
			want := max(1, math.Acos(min(1, cos))*6371.0088*0.015)
			ms, known := g.Ping(from, to)
			if !known || math.Abs(float64(ms)-want) > 0.5001 {
				t.Errorf("%s to %s is %d ms, %v; want %.3f", from, to, ms, known, want)
			}
			if back, _ := g.Ping(to, from); back != ms {
				t.Errorf("%s to %s is %d ms, but back it is %d", from, to, ms, back)
			}
		}
	}
}

// The regions are Fly.io's. A machine can be in each, and all have coordinates.
func TestBuiltinRegions(t *testing.T) {
	regions := BuiltinRegions()
	for code, r := range regions {
		if r.Code != code || r.Name == "" {
			t.Errorf("region %s is %+v", code, r)
		}
		if fs := r.check(); fs != nil {
			t.Error(fs)
		}
		if r.Latitude == 0 || r.Longitude == 0 {
			t.Errorf("region %s has no coordinates: %+v", code, r)
		}
	}
	const codes = "ams arn atl bog bom bos cdg den dfw ewr eze fra gdl gig gru hkg iad jnb lax lhr mad mia nrt ord otp phx qro scl sea sin sjc syd waw yul yyz"
	if got := strings.Join(slices.Sorted(maps.Keys(regions)), " "); got != codes {
		t.Errorf("the built-in regions are\n%s\nwant\n%s", got, codes)
	}
	if ams := (Region{"ams", "Amsterdam, Netherlands", 52.3743, 4.8954}); regions["ams"] != ams {
		t.Errorf("Amsterdam is %+v, want %+v", regions["ams"], ams)
	}
}

func TestRegionsOfTheStoreChangeItsGeography(t *testing.T) {
	s := NewStore(nil)
	before := s.Snapshot()
	mustApply(t, s, script(t, "region moon 1 2\nrtt moon ams 1300")...)
	if ms, known := s.Snapshot().Geography().Ping("ams", "moon"); ms != 1300 || !known {
		t.Errorf("the moon is %d ms away, known: %v", ms, known)
	}
	if _, known := before.Geography().Ping("ams", "moon"); known {
		t.Error("the snapshot from before knows the moon")
	}
	mustApply(t, s, script(t, "region ams 0 0\nregion moon 0 90\n-rtt moon ams")...)
	if ms, _ := s.Snapshot().Geography().Ping("ams", "moon"); ms != 150 {
		t.Errorf("the moon is %d ms away, want 150", ms)
	}
	mustApply(t, s, script(t, "-region ams")...)
	if got, want := s.Snapshot().Geography().regions["ams"], BuiltinRegions()["ams"]; got != want {
		t.Errorf("after its override is gone, ams is %+v, want %+v", got, want)
	}
}
