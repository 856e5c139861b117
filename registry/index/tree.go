package index

import (
	"iter"
	"slices"
	"sort"
)

// A Tree is a sequence in order, cut into leaves of up to maxLeaf. It never
// changes: Apply makes a new tree, which shares with the old one all nodes but
// those on the way to a change. A nil tree is empty.
//
// What entries are compared by need not be in them: the caller brings the
// comparison.
type Tree[E any] struct {
	entries []E      // of a leaf
	kids    []kid[E] // of an inner node, which has one or more
}

// A kid is a tree that is not empty, in an inner node.
type kid[E any] struct {
	first E // of the tree, at any time
	*Tree[E]
}

// Every change copies one leaf, and one inner node for each level. A million
// entries of 16 octets make seven levels then, and a change of one about 1.6 kB.
// Inner nodes twice as long would save half an octet an entry and cost a fifth
// more; leaves half as long would save a tenth and cost 4 octets an entry.
const (
	maxLeaf = 32
	maxKids = 8
)

// Find returns the entry for which cmp gives 0. cmp gives a negative number for
// entries before it, and a positive one for entries behind it.
func (t *Tree[E]) Find(cmp func(E) int) (e E, ok bool) {
	if t == nil {
		return e, false
	}
	for t.kids != nil {
		lo, hi := 1, len(t.kids) // of the kids from lo on, the first behind it is hi or before
		for lo < hi {
			if mid := int(uint(lo+hi) / 2); cmp(t.kids[mid].first) <= 0 {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		t = t.kids[lo-1].Tree
	}
	lo, hi := 0, len(t.entries)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		switch c := cmp(t.entries[mid]); {
		case c == 0:
			return t.entries[mid], true
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return e, false
}

// From yields the entries in order, from the first that is not before what is
// looked for.
func (t *Tree[E]) From(before func(E) bool) iter.Seq[E] {
	return func(yield func(E) bool) { t.walk(before, yield) }
}

func (t *Tree[E]) walk(before func(E) bool, yield func(E) bool) bool {
	if t == nil {
		return true
	}
	i := sort.Search(len(t.entries), func(i int) bool { return !before(t.entries[i]) })
	for _, e := range t.entries[i:] {
		if !yield(e) {
			return false
		}
	}
	i = sort.Search(len(t.kids), func(i int) bool { return !before(t.kids[i].first) })
	for _, k := range t.kids[max(0, i-1):] {
		if !k.walk(before, yield) {
			return false
		}
	}
	return true
}

// A Move changes one entry: it inserts the entry or replaces the one that is
// equal to it, or removes it.
type Move[E any] struct {
	Entry  E
	Remove bool
}

// Apply returns t after the moves, which are in order. cmp compares what a move
// is about with an entry of t.
func (t *Tree[E]) Apply(moves []Move[E], cmp func(moved, in E) int) *Tree[E] {
	if len(moves) == 0 {
		return t
	}
	if t == nil {
		t = new(Tree[E])
	}
	kids := t.after(nil, moves, cmp)
	for len(kids) > 1 {
		kids = appendInner(nil, kids)
	}
	if len(kids) == 0 {
		return nil
	}
	for t = kids[0].Tree; len(t.kids) == 1; {
		t = t.kids[0].Tree
	}
	return t
}

// after appends what becomes of t to the kids of the node above.
func (t *Tree[E]) after(dst []kid[E], moves []Move[E], cmp func(moved, in E) int) []kid[E] {
	if t.kids == nil {
		return appendLeaves(dst, merged(t.entries, moves, cmp))
	}
	kids, rest := make([]kid[E], 0, len(t.kids)), t.kids
	keep := func(n int) {
		if n > 0 {
			kids = append(join(append(kids, rest[0])), rest[1:n]...)
		}
		rest = rest[n:]
	}
	for len(moves) > 0 {
		// The first move is for the last kid that does not begin behind it, and so
		// are those before the next kid.
		keep(sort.Search(len(rest)-1, func(i int) bool { return cmp(moves[0].Entry, rest[i+1].first) < 0 }))
		n := len(moves)
		if len(rest) > 1 {
			n = sort.Search(n, func(i int) bool { return cmp(moves[i].Entry, rest[1].first) >= 0 })
		}
		kids = join(rest[0].after(kids, moves[:n], cmp))
		moves, rest = moves[n:], rest[1:]
	}
	keep(len(rest))
	return appendInner(dst, kids)
}

// merged returns the entries of a leaf after the moves.
func merged[E any](rest []E, moves []Move[E], cmp func(moved, in E) int) []E {
	n := len(rest) + len(moves)
	for _, mv := range moves {
		if mv.Remove {
			n -= 2 // neither it nor, as a rule, an entry
		}
	}
	out := make([]E, 0, max(0, n))
	for _, mv := range moves {
		at, found := slices.BinarySearchFunc(rest, mv.Entry, func(in, moved E) int { return -cmp(moved, in) })
		out = append(out, rest[:at]...)
		rest = rest[at:]
		if found {
			rest = rest[1:]
		}
		if !mv.Remove {
			out = append(out, mv.Entry)
		}
	}
	return append(out, rest...)
}

// join makes one of the last two kids if that leaves it half empty, so that
// nodes do not stay many when entries become few.
func join[E any](kids []kid[E]) []kid[E] {
	n := len(kids)
	if n < 2 {
		return kids
	}
	a, b := kids[n-2].Tree, kids[n-1].Tree
	if len(a.entries)+len(b.entries) > maxLeaf/2 || len(a.kids)+len(b.kids) > maxKids/2 {
		return kids
	}
	kids[n-2].Tree = &Tree[E]{slices.Concat(a.entries, b.entries), slices.Concat(a.kids, b.kids)}
	return slices.Delete(kids, n-1, n)
}

// appendLeaves appends leaves of the entries, and appendInner inner nodes of the
// kids, with room to grow if it takes several. They own what they are given.

func appendLeaves[E any](dst []kid[E], entries []E) []kid[E] {
	for part := range parts(entries, maxLeaf) {
		dst = append(dst, kid[E]{part[0], &Tree[E]{entries: part}})
	}
	return dst
}

func appendInner[E any](dst []kid[E], kids []kid[E]) []kid[E] {
	for part := range parts(kids, maxKids) {
		dst = append(dst, kid[E]{part[0].first, &Tree[E]{kids: part}})
	}
	return dst
}

// parts yields s cut evenly into parts of at most most elements, if it takes
// more than one; each but s itself has memory of its own.
func parts[T any](s []T, most int) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		n := 1
		if fill := most * 3 / 4; len(s) > most {
			n = (len(s) + fill - 1) / fill
		} else if cap(s)-len(s) <= 1 {
			if len(s) > 0 {
				yield(s)
			}
			return
		}
		for i := range n {
			if part := s[len(s)*i/n : len(s)*(i+1)/n]; len(part) > 0 && !yield(append(make([]T, 0, len(part)), part...)) {
				return
			}
		}
	}
}
