package registry

import (
	"cmp"
	"iter"
	"slices"

	"github.com/internaldns/internaldns/registry/index"
)

// A factIndex is all facts but machines, with the orders by which they are found. It
// never changes.
type factIndex struct {
	byKey *index.Tree[Fact]
	// second has the objects of each kind in its second order (see kind).
	second   [numKinds]*index.Tree[Fact]
	networks *index.Tree[networkRow]
}

// A networkRow is a network that has, or has had, facts or a name. It stays when the
// last of them is deleted.
type networkRow struct {
	network Network
	objects int32  // apps, peers and Flycast addresses in it, and its name
	changed uint64 // the last commit that changed an answer
}

// find returns the object of that key, or nil.
func (x *factIndex) find(k Key) Fact {
	f, _ := x.byKey.Find(func(f Fact) int { return f.Key().Compare(k) })
	return f
}

// network returns the row of n; a row without objects if there is none.
func (x *factIndex) network(n Network) networkRow {
	row, _ := x.networks.Find(func(r networkRow) int { return cmp.Compare(r.network, n) })
	row.network = n
	return row
}

// apply makes the changes.
func (x *factIndex) apply(changes []Change) {
	if len(changes) == 0 {
		return
	}
	byKey := func(a, b Fact) int { return a.Key().Compare(b.Key()) }
	x.byKey = x.byKey.Apply(factMoves(changes, byKey), byKey)
	for k := range numKinds {
		if order := kinds[k].second; order != nil {
			byOrder := func(a, b Fact) int { return cmp.Or(order(a, b), byKey(a, b)) }
			ofKind := slices.DeleteFunc(slices.Clone(changes), func(c Change) bool { return c.Fact().Key().Kind != k })
			x.second[k] = x.second[k].Apply(factMoves(ofKind, byOrder), byOrder)
		}
	}
}

// factMoves returns the changes as moves in an order.
func factMoves(changes []Change, order func(a, b Fact) int) []index.Move[Fact] {
	moves := make([]index.Move[Fact], 0, len(changes))
	for _, c := range changes {
		if c.Before != nil && (c.After == nil || order(c.Before, c.After) != 0) {
			moves = append(moves, index.Move[Fact]{Entry: c.Before, Remove: true})
		}
		if c.After != nil {
			moves = append(moves, index.Move[Fact]{Entry: c.After})
		}
	}
	slices.SortFunc(moves, func(a, b index.Move[Fact]) int { return order(a.Entry, b.Entry) })
	return moves
}

// applyNetworks changes the rows of networks, and returns how many more networks have
// objects than before.
func (x *factIndex) applyNetworks(c *Changes) (more int) {
	rows := make(map[Network]networkRow, len(c.Networks))
	change := func(n Network, objects int32, changed uint64) {
		row, ok := rows[n]
		if !ok {
			row = x.network(n)
		}
		row.objects += objects
		row.changed = max(row.changed, changed)
		rows[n] = row
	}
	for _, n := range c.Networks {
		change(n, 0, c.Index)
	}
	for _, ch := range c.Others {
		n := ch.Fact().Key().In()
		switch {
		case n == 0 || ch.Before != nil && ch.After != nil:
		case ch.After != nil:
			change(n, 1, 0)
		default:
			change(n, -1, 0)
		}
	}
	moves := make([]index.Move[networkRow], 0, len(rows))
	for n, row := range rows {
		if had := x.network(n).objects > 0; had != (row.objects > 0) {
			if more++; had {
				more -= 2
			}
		}
		moves = append(moves, index.Move[networkRow]{Entry: row})
	}
	byNetwork := func(a, b networkRow) int { return cmp.Compare(a.network, b.network) }
	slices.SortFunc(moves, func(a, b index.Move[networkRow]) int { return byNetwork(a.Entry, b.Entry) })
	x.networks = x.networks.Apply(moves, byNetwork)
	return more
}

// between yields the objects, which are all Ps, from the one of the first key on as
// long as in holds, sorted by key.
func between[P Fact](x *factIndex, first Key, in func(Key) bool) iter.Seq[P] {
	return func(yield func(P) bool) {
		for f := range x.byKey.From(func(f Fact) bool { return f.Key().Compare(first) < 0 }) {
			if !in(f.Key()) || !yield(f.(P)) {
				return
			}
		}
	}
}

// ofKind yields all objects of a kind, which are Ps, sorted by key.
func ofKind[P Fact](x *factIndex, k Kind) iter.Seq[P] {
	return between[P](x, Key{Kind: k}, func(o Key) bool { return o.Kind == k })
}

// inNetwork yields the objects of a kind, which are Ps, that are in n, sorted by key.
func inNetwork[P Fact](x *factIndex, k Kind, n Network) iter.Seq[P] {
	first := Key{Kind: k, Network: n}
	if k == KindFlycast {
		first = Key{Kind: k, Address: n.Prefix().Addr()}
	}
	return between[P](x, first, func(o Key) bool { return o.Kind == k && o.In() == n })
}
