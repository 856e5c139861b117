package zone

import (
	"bytes"
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/internaldns/internaldns/registry"
)

// A nearby is one item of a nearest list.
type nearby struct {
	addr   address
	region string
	ping   uint64 // milliseconds, or unknownPing
}

// nearest makes nearest lists. It is meant to be reused.
type nearest struct {
	list    []nearby
	cursors []cursor
}

// A cursor walks the addresses of the started machines in one region of an app.
type cursor struct {
	ping  uint64
	code  string
	index int     // of the region in app.regions
	head  address // the next address
	chunk int     // where head is: chunk of the region's addresses, and index in the chunk
	at    int
}

// topCount parses the label top<N> and returns N, or 0 if the label has another form. N
// is decimal, at least 1, and without a leading zero. A label may have as many digits as
// it has room for: topCount returns at most 2^27, which is more than any app has
// machines.
func topCount(label []byte) int {
	const plenty = 1 << 27 // 10 times as much still fits in an int32
	if len(label) < 4 || string(label[:3]) != "top" || label[3] == '0' {
		return 0
	}
	n := 0
	for _, c := range label[3:] {
		if c < '0' || c > '9' {
			return 0
		}
		n = min(n*10+int(c-'0'), plenty)
	}
	return n
}

// find returns the count started machines of app that are nearest to region from, by
// ping, then by address. The work grows with the number of the app's regions and with
// count, not with the number of its machines. The result is good until the next call.
func (s *nearest) find(app *app, geo *geography, from string, count int) []nearby {
	s.start(app, geo, from)
	s.list = s.list[:0]
	for begin := 0; begin < len(s.cursors) && len(s.list) < count; {
		end := begin + 1
		for end < len(s.cursors) && s.cursors[end].ping == s.cursors[begin].ping {
			end++
		}
		s.merge(app, s.cursors[begin:end], count)
		begin = end
	}
	return s.list
}

// start makes a cursor for each region of the app with started machines, the nearest
// first.
func (s *nearest) start(app *app, geo *geography, from string) {
	row := geo.from(geo.number(from))
	s.cursors = s.cursors[:0]
	for i := range app.regions {
		r := &app.regions[i]
		if r.started.Empty() {
			continue
		}
		ping := uint64(unknownPing)
		if r.code == from {
			ping = 0
		} else if int(r.number) < len(row) {
			ping = row[r.number]
		}
		s.cursors = append(s.cursors, cursor{ping: ping, code: r.code, index: i, head: r.started.Chunk(0)[0]})
	}
	slices.SortFunc(s.cursors, func(a, b cursor) int { return cmp.Compare(a.ping, b.ping) })
}

// merge appends the addresses of regions with the same ping, in ascending order, until
// the list has count items. heap is a binary heap of their cursors by the next address.
func (s *nearest) merge(app *app, heap []cursor, count int) {
	for i := len(heap)/2 - 1; i >= 0; i-- {
		sift(heap, i)
	}
	for len(heap) > 0 && len(s.list) < count {
		top := &heap[0]
		s.list = append(s.list, nearby{top.head, top.code, top.ping})
		if !top.next(app.regions[top.index].started) {
			heap[0] = heap[len(heap)-1]
			heap = heap[:len(heap)-1]
		}
		sift(heap, 0)
	}
}

// sift moves the i-th cursor of a heap down to its place.
func sift(heap []cursor, i int) {
	for {
		least := i
		for k := 2*i + 1; k <= 2*i+2 && k < len(heap); k++ {
			if bytes.Compare(heap[k].head[:], heap[least].head[:]) < 0 {
				least = k
			}
		}
		if least == i {
			return
		}
		heap[i], heap[least] = heap[least], heap[i]
		i = least
	}
}

// next moves c to the next address of set, and reports whether there is one.
func (c *cursor) next(set addressSet) bool {
	chunk := set.Chunk(c.chunk)
	if c.at++; c.at == len(chunk) {
		c.at = 0
		c.chunk++
		if chunk = set.Chunk(c.chunk); chunk == nil {
			return false
		}
	}
	c.head = chunk[c.at]
	return true
}

// appendLines appends the TXT RDATA of a nearest list, with as many items as fit in room
// octets.
func appendLines(dst []byte, list []nearby, room int) []byte {
	var buf [256]byte
	w := newTextWriter(dst, room, ';')
	for i := range list {
		n := &list[i]
		item := netip.AddrFrom16(n.addr).AppendTo(append(buf[:0], "ip="...))
		item = append(append(item, ",region="...), n.region...)
		if n.ping != unknownPing {
			item = strconv.AppendUint(append(item, ",ping="...), n.ping, 10)
		}
		if !w.add(item) {
			break
		}
	}
	return w.dst
}

// A codes gives each region code a small number, when the code is first seen. Only the
// Publisher adds to it. A number always means the same region.
type codes map[string]uint32

func (c codes) number(code string) uint32 {
	n, ok := c[code]
	if !ok {
		n = uint32(len(c)) + 1 // 0 means no region
		c[code] = n
	}
	return n
}

// unknownPing is the ping between two regions if it is unknown. It is longer than any
// measured ping, since these have 32 bits.
const unknownPing = math.MaxUint64

// A geography is the table of pings between numbered regions. The row of a region is
// made when a client in that region first asks.
type geography struct {
	facts   *registry.Geography
	codes   []string // by number; "" for a region that facts does not have
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

// number returns the number of a region; 0 if its distances are unknown.
func (g *geography) number(code string) uint32 { return g.numbers[code] }

// from returns the pings from a region, in milliseconds, indexed by the number of the
// other region. Numbers past the end have an unknown ping. The row is nil for region 0.
func (g *geography) from(number uint32) []uint64 {
	if number == 0 || int(number) >= len(g.rows) {
		return nil
	}
	if row := g.rows[number].Load(); row != nil {
		return *row
	}
	row := make([]uint64, len(g.codes))
	for to, code := range g.codes {
		row[to] = unknownPing
		if ms, known := g.facts.Ping(g.codes[number], code); known {
			row[to] = uint64(ms)
		}
	}
	g.rows[number].Store(&row)
	return row
}
