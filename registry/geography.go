package registry

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
)

//go:embed regions.json
var regionsJSON []byte

// BuiltinRegions returns Fly.io's regions, by code. The caller must not change them.
var BuiltinRegions = sync.OnceValue(func() map[string]Region {
	var file struct{ Regions []Region }
	if err := json.Unmarshal(regionsJSON, &file); err != nil {
		panic(fmt.Sprintf("embedded regions: %v", err))
	}
	m := make(map[string]Region, len(file.Regions))
	for _, r := range file.Regions {
		m[r.Code] = r
	}
	return m
})

// A Geography holds the distances between regions. It never changes.
type Geography struct {
	regions map[string]Region
	rtts    map[[2]string]uint32
}

func newGeography(regions []Region, rtts []RTT) *Geography {
	g := &Geography{regions: maps.Clone(BuiltinRegions()), rtts: make(map[[2]string]uint32, len(rtts))}
	for _, r := range regions {
		g.regions[r.Code] = r
	}
	for _, r := range rtts {
		g.rtts[[2]string{r.From, r.To}] = r.MS
	}
	return g
}

// Codes returns the regions that have coordinates or a measured round trip, in
// alphabetical order.
func (g *Geography) Codes() []string {
	known := make(map[string]bool, len(g.regions))
	for code := range g.regions {
		known[code] = true
	}
	for pair := range g.rtts {
		known[pair[0]], known[pair[1]] = true, true
	}
	return slices.Sorted(maps.Keys(known))
}

// Ping returns the round trip between two regions in milliseconds: 0 within one
// region, else as measured, else as measured the other way, else estimated from
// the distance. It reports false if none of these is known, or if from is "", as for a
// client without a region.
func (g *Geography) Ping(from, to string) (ms uint32, known bool) {
	if from == "" || to == "" {
		return 0, false
	}
	if from == to {
		return 0, true
	}
	if ms, known = g.rtts[[2]string{from, to}]; known {
		return ms, true
	}
	if ms, known = g.rtts[[2]string{to, from}]; known {
		return ms, true
	}
	a, okA := g.regions[from]
	b, okB := g.regions[to]
	if !okA || !okB {
		return 0, false
	}
	return max(1, uint32(math.Round(distance(a, b)*pingPerKM))), true
}

const (
	// earthRadiusKM is the mean radius of the earth.
	earthRadiusKM = 6371.0088

	// pingPerKM is in milliseconds. It gives 132 ms between San Jose and Amsterdam,
	// where the one answer of Fly's that was published has 135 ms.
	pingPerKM = 0.015
)

// distance returns the great-circle distance in km (haversine formula).
func distance(a, b Region) float64 {
	const rad = math.Pi / 180
	lat := (b.Latitude - a.Latitude) * rad
	lon := (b.Longitude - a.Longitude) * rad
	h := math.Sin(lat/2)*math.Sin(lat/2) +
		math.Cos(a.Latitude*rad)*math.Cos(b.Latitude*rad)*math.Sin(lon/2)*math.Sin(lon/2)
	return 2 * earthRadiusKM * math.Asin(math.Min(1, math.Sqrt(h)))
}
