package forward

import (
	"slices"

	"github.com/internaldns/internaldns/zone/wire"
)

// routes say which upstreams are asked for which names. They are immutable.
type routes struct {
	rest     *group            // for what no suffix covers; nil: nobody
	suffixes map[string]*group // by wire format in lower case
	above    map[string]bool   // names that a suffix, or one of our zones, is below
}

// ourReverse is the apex of the one zone of ours that is below a name kept at home.
const ourReverse = "\x01a\x01a\x01d\x01f\x03ip6\x04arpa\x00"

// noteAbove notes the names that name is below.
func (r *routes) noteAbove(name string) {
	for name[0] != 0 {
		name = name[1+int(name[0]):]
		r.above[name] = true
	}
}

// A group is the upstreams of a route, in the order in which they are asked. It
// is immutable.
type group struct {
	suffix    string // "." for the rest
	upstreams []*upstream
}

// find returns who is asked for q's name, and the number of labels of the suffix
// that says so; nil if nobody is.
func (r *routes) find(q *wire.Query) (*group, int) {
	if len(r.suffixes) > 0 {
		name := q.Name()
		for n := q.Labels(); n > 0; n-- {
			if g := r.suffixes[string(name)]; g != nil {
				return g, n
			}
			name = wire.Parent(name)
		}
	}
	return r.rest, 0
}

// findName is find for a name in wire format.
func (r *routes) findName(name string) *group {
	if len(r.suffixes) > 0 {
		for ; name[0] != 0; name = name[1+int(name[0]):] {
			if g := r.suffixes[name]; g != nil {
				return g
			}
		}
	}
	return r.rest
}

// groups returns all groups, the rest first and the others by name.
func (r *routes) groups() []*group {
	var gs []*group
	if r.rest != nil {
		gs = append(gs, r.rest)
	}
	var named []*group
	for _, g := range r.suffixes {
		named = append(named, g)
	}
	slices.SortFunc(named, func(a, b *group) int {
		if a.suffix < b.suffix {
			return -1
		}
		return 1
	})
	return append(gs, named...)
}

// live appends the upstreams of g that are not dead to buf: first those that
// answer, then those that have fallen silent. Both stand in their own order.
func (g *group) live(buf []*upstream) []*upstream {
	for _, u := range g.upstreams {
		if !u.dead.Load() && !u.silent() {
			buf = append(buf, u)
		}
	}
	for _, u := range g.upstreams {
		if !u.dead.Load() && u.silent() && !slices.Contains(buf, u) {
			buf = append(buf, u)
		}
	}
	return buf
}
