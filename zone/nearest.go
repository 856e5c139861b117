package zone

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"strconv"
)

// A nearby is one machine of a nearest list.
type nearby struct {
	addr   address
	region string
	ping   uint64 // milliseconds, or farAway
}

// nearest is the scratch space of nearest lists.
type nearest struct {
	list    []nearby
	regions []ranked
}

// A ranked is a region of an app on the way to a nearest list.
type ranked struct {
	ping  uint64
	code  string
	index int     // among the app's regions
	head  address // its next address
	chunk int     // position of head in the region's addresses
	at    int
}

// topCount parses the label top<N> and returns N, or 0 if the label is none: N is
// decimal, from 1, without a leading zero. As many digits as fit a label are
// allowed; N stops growing where it is more than any app has machines.
func topCount(label []byte) int {
	const plenty = 1 << 27 // times 10 is an int32 still
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

// find returns the count nearest started machines of app to region from: by
// ping, then by address. The work grows with the number of the app's regions and
// with count, not with the number of its machines. The result is good until the
// next call.
func (s *nearest) find(app *app, geo *geography, from string, count int) []nearby {
	s.rank(app, geo, from)
	s.list = s.list[:0]
	for begin := 0; begin < len(s.regions) && len(s.list) < count; {
		end := begin + 1
		for end < len(s.regions) && s.regions[end].ping == s.regions[begin].ping {
			end++
		}
		s.merge(app, s.regions[begin:end], count)
		begin = end
	}
	return s.list
}

// rank lists the app's regions with started machines, the nearest first.
func (s *nearest) rank(app *app, geo *geography, from string) {
	row := geo.from(geo.number(from))
	s.regions = s.regions[:0]
	for i := range app.regions {
		r := &app.regions[i]
		if r.started.Empty() {
			continue
		}
		ping := uint64(farAway)
		if r.code == from {
			ping = 0
		} else if int(r.number) < len(row) {
			ping = row[r.number]
		}
		s.regions = append(s.regions, ranked{ping: ping, code: r.code, index: i, head: r.started.Chunk(0)[0]})
	}
	slices.SortFunc(s.regions, func(a, b ranked) int { return cmp.Compare(a.ping, b.ping) })
}

// merge appends the addresses of regions at one distance, in ascending order,
// until the list has count. It keeps the regions in a heap by their next
// address.
func (s *nearest) merge(app *app, heap []ranked, count int) {
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

// sift moves the i-th region of a heap down to its place.
func sift(heap []ranked, i int) {
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

// next moves r to its next address in set, if there is one.
func (r *ranked) next(set addressSet) bool {
	chunk := set.Chunk(r.chunk)
	if r.at++; r.at == len(chunk) {
		r.at = 0
		r.chunk++
		if chunk = set.Chunk(r.chunk); chunk == nil {
			return false
		}
	}
	r.head = chunk[r.at]
	return true
}

// appendLines appends the RDATA of a nearest list, as far as room goes, to dst.
func appendLines(dst []byte, list []nearby, room int) []byte {
	var buf [256]byte
	w := newTextWriter(dst, room, ';')
	for i := range list {
		n := &list[i]
		item := netip.AddrFrom16(n.addr).AppendTo(append(buf[:0], "ip="...))
		item = append(append(item, ",region="...), n.region...)
		if n.ping != farAway {
			item = strconv.AppendUint(append(item, ",ping="...), n.ping, 10)
		}
		if !w.add(item) {
			break
		}
	}
	return w.dst
}
