package index

import (
	"iter"
	"slices"
	"sort"
)

// A Tree is a sorted sequence in leaves of up to maxLeaf entries. It never changes:
// Apply makes a new tree, which shares with the old one all nodes but those on the
// path to a change. A nil tree is empty.
//
// The caller passes the comparison to each method, which may compare by what is not in
// the entries.
type Tree[E any] struct {
	entries  []E        // of a leaf
	children []child[E] // of an inner node, which has one or more
}

// A child is a tree in an inner node. It is not empty.
type child[E any] struct {
	first E // the first entry of the tree
	*Tree[E]
}

// A change copies one leaf, and one inner node for each level. So a million entries of
// 16 octets make seven levels, and a change of one copies about 1.6 kB. Inner nodes
// twice as long would save half an octet an entry, and a change would copy a fifth
// more. With leaves half as long a change would copy a tenth less, and each entry
// would take 4 octets more.
const (
	maxLeaf     = 32
	maxChildren = 8
)

// Find returns the entry for which cmp returns 0. cmp returns a negative number for
// entries before it, and a positive one for entries after it.
func (t *Tree[E]) Find(cmp func(E) int) (e E, ok bool) {
	if t == nil {
		return e, false
	}
	for t.children != nil {
		lo, hi := 1, len(t.children) // the first child after the entry is between lo and hi
		for lo < hi {
			if mid := int(uint(lo+hi) / 2); cmp(t.children[mid].first) <= 0 {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		t = t.children[lo-1].Tree
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

// From yields the entries in order, from the first one for which before returns
// false.
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
	i = sort.Search(len(t.children), func(i int) bool { return !before(t.children[i].first) })
	for _, k := range t.children[max(0, i-1):] {
		if !k.walk(before, yield) {
			return false
		}
	}
	return true
}

// A Move changes one entry: it removes the entry, or inserts it in the place of an
// equal one.
type Move[E any] struct {
	Entry  E
	Remove bool
}

// Apply returns t after the moves, which must be sorted. cmp compares the entry of a
// move with an entry of t.
func (t *Tree[E]) Apply(moves []Move[E], cmp func(moved, in E) int) *Tree[E] {
	if len(moves) == 0 {
		return t
	}
	if t == nil {
		t = new(Tree[E])
	}
	children := t.after(nil, moves, cmp)
	for len(children) > 1 {
		children = appendInner(nil, children)
	}
	if len(children) == 0 {
		return nil
	}
	for t = children[0].Tree; len(t.children) == 1; {
		t = t.children[0].Tree
	}
	return t
}

// after applies the moves to t, and appends the nodes that replace it to dst.
func (t *Tree[E]) after(dst []child[E], moves []Move[E], cmp func(moved, in E) int) []child[E] {
	if t.children == nil {
		return appendLeaves(dst, merged(t.entries, moves, cmp))
	}
	children, rest := make([]child[E], 0, len(t.children)), t.children
	keep := func(n int) {
		if n > 0 {
			children = append(join(append(children, rest[0])), rest[1:n]...)
		}
		rest = rest[n:]
	}
	for len(moves) > 0 {
		// The first move is for the last child that does not begin after it, and so
		// are all moves before the next child.
		keep(sort.Search(len(rest)-1, func(i int) bool { return cmp(moves[0].Entry, rest[i+1].first) < 0 }))
		n := len(moves)
		if len(rest) > 1 {
			n = sort.Search(n, func(i int) bool { return cmp(moves[i].Entry, rest[1].first) >= 0 })
		}
		children = join(rest[0].after(children, moves[:n], cmp))
		moves, rest = moves[n:], rest[1:]
	}
	keep(len(rest))
	return appendInner(dst, children)
}

// merged returns the entries of a leaf after the moves.
func merged[E any](rest []E, moves []Move[E], cmp func(moved, in E) int) []E {
	n := len(rest) + len(moves)
	for _, mv := range moves {
		if mv.Remove {
			n -= 2 // neither the move nor, mostly, an entry
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

// join merges the last two children if the result is at most half full, so that the
// number of nodes falls with the number of entries.
func join[E any](children []child[E]) []child[E] {
	n := len(children)
	if n < 2 {
		return children
	}
	a, b := children[n-2].Tree, children[n-1].Tree
	if len(a.entries)+len(b.entries) > maxLeaf/2 || len(a.children)+len(b.children) > maxChildren/2 {
		return children
	}
	children[n-2].Tree = &Tree[E]{slices.Concat(a.entries, b.entries), slices.Concat(a.children, b.children)}
	return slices.Delete(children, n-1, n)
}

// appendLeaves appends the entries in leaves, which own them.
func appendLeaves[E any](dst []child[E], entries []E) []child[E] {
	for part := range parts(entries, maxLeaf) {
		dst = append(dst, child[E]{part[0], &Tree[E]{entries: part}})
	}
	return dst
}

// appendInner appends the children in inner nodes, which own them.
func appendInner[E any](dst []child[E], children []child[E]) []child[E] {
	for part := range parts(children, maxChildren) {
		dst = append(dst, child[E]{part[0].first, &Tree[E]{children: part}})
	}
	return dst
}

// parts yields s in one or more parts of equal length, of at most most elements. If
// there are several, or s has room to grow, they are copies.
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
