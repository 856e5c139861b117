package zone

import (
	"math"
	"sync/atomic"

	"github.com/internaldns/internaldns/registry"
)

// A codes gives each region code that was ever seen a small number. Only the
// Publisher adds to it; numbers are never given twice.
type codes map[string]uint32

func (c codes) number(code string) uint32 {
	n, ok := c[code]
	if !ok {
		n = uint32(len(c)) + 1 // 0 is no region
		c[code] = n
	}
	return n
}

// farAway is the ping between regions of which nothing is known. No measured
// one is as long, which is why pings take 64 bits here.
const farAway = math.MaxUint64

// A geography is the table of pings between numbered regions. Rows are made
// when a client of that region first asks.
type geography struct {
	facts   *registry.Geography
	codes   []string // by number; "" where a number means nothing to facts
	numbers map[string]uint32
	rows    []atomic.Pointer[[]uint64]
}

func newGeography(facts *registry.Geography, c codes) *geography {
	known := facts.Codes()
	for _, code := range known {
		c.number(code)
	}
	g := &geography{
		facts:   facts,
		codes:   make([]string, len(c)+1),
		numbers: make(map[string]uint32, len(known)),
		rows:    make([]atomic.Pointer[[]uint64], len(c)+1),
	}
	for _, code := range known {
		g.codes[c[code]] = code
		g.numbers[code] = c[code]
	}
	return g
}

// number returns the number of a region, or 0 if the geography has no such
// region. Regions without a number are far from all others.
func (g *geography) number(code string) uint32 { return g.numbers[code] }

// from returns the pings from a region to those with numbers below its length.
// The row is nil for region 0.
func (g *geography) from(number uint32) []uint64 {
	if number == 0 || int(number) >= len(g.rows) {
		return nil
	}
	if row := g.rows[number].Load(); row != nil {
		return *row
	}
	row := make([]uint64, len(g.codes))
	for to, code := range g.codes {
		row[to] = farAway
		if ms, known := g.facts.Ping(g.codes[number], code); known {
			row[to] = uint64(ms)
		}
	}
	g.rows[number].Store(&row)
	return row
}
