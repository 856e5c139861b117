package zone

import "slices"

// A trie is a persistent map from 64 bits to values: changing it makes a new
// trie that shares with the old one all but a path of a few nodes. Readers of
// the old one see nothing. Values under one key of bits are told apart by their
// is method, so the bits may be a hash.
//
// Inner nodes branch on 4 bits, the first ones on top, which makes each level
// one hexadecimal digit: hasPrefix depends on it. Leaves hold up to leafMax
// values, so that a small map is one node.
type trie[V member] struct {
	root node[V]
}

// A member is a value of a trie.
type member interface {
	comparable
	// is reports whether the value is the one that key names. It is asked only
	// of values stored under the key's bits.
	is(key []byte) bool
}

// leafMax trades the length of a scan for the number of nodes. 16 entries are
// four cache lines.
const leafMax = 16

// get returns the value that key names, or the zero V.
func (t trie[V]) get(hash uint64, key []byte) V {
	n := t.root
	for rest := hash; n.inner(); rest <<= 4 {
		n = n.kid(rest >> 60)
	}
	for _, x := range n.entries() {
		if x.bits == hash && x.val.is(key) {
			return x.val
		}
	}
	var none V
	return none
}

// hasPrefix reports whether any value's bits begin with the first count bits of
// prefix. count is a multiple of 4.
func (t trie[V]) hasPrefix(prefix uint64, count int) bool {
	n := t.root
	for shift := 60; n.inner(); shift -= 4 {
		if 60-shift >= count {
			return true
		}
		n = n.kid(prefix >> shift & 0xF)
	}
	drop := 64 - count
	return slices.ContainsFunc(n.entries(), func(x entry[V]) bool { return x.bits>>drop == prefix>>drop })
}

// put returns t with val under hash, in the place of the value that key names
// if there is one. Earlier results of the same commit are no longer good.
func (t trie[V]) put(e edit, hash uint64, key []byte, val V) trie[V] {
	return trie[V]{t.root.put(e, 60, hash, key, val)}
}

func (n node[V]) put(e edit, shift int, hash uint64, key []byte, val V) node[V] {
	if !n.inner() {
		return n.putEntry(e, shift, hash, key, val)
	}
	digit := hash >> shift & 0xF
	i := n.rank(digit)
	if !n.has(digit) {
		kid := leafNode(e, []entry[V]{{hash, val}})
		return innerNode(e, n.bitmap()|1<<digit, insertedAt(n.kids(), i, kid))
	}
	kid := n.kids()[i].put(e, shift-4, hash, key, val)
	return n.withKid(e, i, kid)
}

// putEntry is put in a leaf.
func (n node[V]) putEntry(e edit, shift int, hash uint64, key []byte, val V) node[V] {
	entries := n.entries()
	at := len(entries)
	for i, x := range entries {
		if x.bits == hash && x.val.is(key) {
			n = n.owned(e)
			n.entries()[i].val = val
			return n
		}
		if x.bits > hash {
			at = min(at, i)
		}
	}
	entries = insertedAt(entries, at, entry[V]{hash, val})
	if len(entries) > leafMax && shift >= 0 {
		return split(e, shift, entries)
	}
	return leafNode(e, entries)
}

// split returns an inner node with those entries below it.
func split[V member](e edit, shift int, entries []entry[V]) node[V] {
	var bitmap uint16
	var kids [16]node[V]
	count := 0
	for start := 0; start < len(entries); count++ {
		digit := entries[start].bits >> shift & 0xF
		end := start
		for end < len(entries) && entries[end].bits>>shift&0xF == digit {
			end++
		}
		part := slices.Clone(entries[start:end])
		bitmap |= 1 << digit
		if len(part) > leafMax && shift >= 4 {
			kids[count] = split(e, shift-4, part)
		} else {
			kids[count] = leafNode(e, part)
		}
		start = end
	}
	return innerNode(e, bitmap, slices.Clone(kids[:count]))
}

// drop returns t without the value that key names. Earlier results of the same
// commit are no longer good.
func (t trie[V]) drop(e edit, hash uint64, key []byte) trie[V] {
	var none V
	if t.get(hash, key) == none {
		return t
	}
	root := t.root.drop(e, 60, hash, key)
	if root.empty() {
		return trie[V]{}
	}
	return trie[V]{root}
}

// drop removes a value that is there.
func (n node[V]) drop(e edit, shift int, hash uint64, key []byte) node[V] {
	if !n.inner() {
		entries := n.entries()
		i := slices.IndexFunc(entries, func(x entry[V]) bool { return x.bits == hash && x.val.is(key) })
		return leafNode(e, removedAt(entries, i))
	}
	digit := hash >> shift & 0xF
	i := n.rank(digit)
	if kid := n.kids()[i].drop(e, shift-4, hash, key); kid.empty() {
		n = innerNode(e, n.bitmap()&^(1<<digit), removedAt(n.kids(), i))
	} else {
		n = n.withKid(e, i, kid)
	}
	return n.shrunk(e)
}

// shrunk returns n, or a leaf in its place if its kids are leaves with little in
// them, well below leafMax so that the next put does not split it again.
func (n node[V]) shrunk(e edit) node[V] {
	total := 0
	for _, kid := range n.kids() {
		if total += len(kid.entries()); kid.inner() || total > leafMax/2 {
			return n
		}
	}
	entries := make([]entry[V], 0, total)
	for _, kid := range n.kids() {
		entries = append(entries, kid.entries()...)
	}
	return leafNode(e, entries)
}

// all yields the values, in the order of their bits.
func (t trie[V]) all(yield func(V) bool) {
	t.root.all(yield)
}

func (n node[V]) all(yield func(V) bool) bool {
	for _, x := range n.entries() {
		if !yield(x.val) {
			return false
		}
	}
	for _, kid := range n.kids() {
		if !kid.all(yield) {
			return false
		}
	}
	return true
}

// A seeker looks for a value by its bits alone, in a trie of its own.
type seeker[V member] struct {
	node node[V] // where it has come to, at first the root
	hash uint64
	val  V // the first value under hash, if there is one
}

// seek has all seekers find their values. They go side by side, a level at a
// time, and touch what they will read in the next step before any of them waits
// for it. What seek returns depends on all that it touched.
func seek[V member](all []seeker[V]) (touched uint64) {
	for above, deeper := 0, true; deeper; above += 4 {
		deeper = false
		for i := range all {
			if s := &all[i]; s.node.inner() {
				s.node = s.node.kid(s.hash << above >> 60)
				deeper = true
			}
		}
	}
	for i := range all {
		if entries := all[i].node.entries(); len(entries) > 0 {
			touched += entries[0].bits
		}
	}
	for i := range all {
		s := &all[i]
		for _, x := range s.node.entries() {
			if x.bits == s.hash {
				s.val = x.val
				break
			}
		}
	}
	return touched
}
