// Package persist holds the persistent containers that package zone keeps its
// names in: Trie, a map, and Sorted, a sequence.
//
// A change to a persistent container returns a new one, which shares all but a
// few small arrays with the old one. Readers of the old one see no change, so
// they need no lock. One goroutine at a time makes changes.
//
// Every change carries an Edit, the number of the commit that it belongs to. A
// commit changes in place what it made itself, and copies what an earlier one
// made. So after a change, only its result may be used: an earlier result of
// the same Edit may have changed.
package persist

import "slices"

// A Trie is a persistent map from 64 bits to values. Values with the same bits
// are distinguished by their Is method, so the bits may be a hash. The zero Trie is
// empty.
//
// Inner nodes branch on 4 bits, the highest first, so each level is one
// hexadecimal digit: HasPrefix depends on that. Leaves hold up to leafMax values,
// so a small map is one node.
type Trie[V Member] struct {
	root node[V]
}

// A Member is a value of a Trie.
type Member interface {
	comparable
	// Is reports whether key names this value. A Trie asks only values that are
	// stored under the bits it looks for.
	Is(key []byte) bool
}

// leafMax is the most values in a leaf. A larger leaf takes longer to scan, a
// smaller one makes more nodes. 16 entries are four cache lines.
const leafMax = 16

// Get returns the value that key names, or the zero V.
func (t Trie[V]) Get(hash uint64, key []byte) V {
	n := t.root
	for rest := hash; n.inner(); rest <<= 4 {
		n = n.kid(rest >> 60)
	}
	for _, x := range n.entries() {
		if x.bits == hash && x.val.Is(key) {
			return x.val
		}
	}
	var none V
	return none
}

// HasPrefix reports whether the bits of any value begin with the first count bits
// of prefix. count must be a multiple of 4.
func (t Trie[V]) HasPrefix(prefix uint64, count int) bool {
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

// Put returns t with val under hash. val replaces the value that key names, if
// there is one.
func (t Trie[V]) Put(e Edit, hash uint64, key []byte, val V) Trie[V] {
	return Trie[V]{t.root.put(e, 60, hash, key, val)}
}

func (n node[V]) put(e Edit, shift int, hash uint64, key []byte, val V) node[V] {
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

// putEntry is put for a leaf.
func (n node[V]) putEntry(e Edit, shift int, hash uint64, key []byte, val V) node[V] {
	entries := n.entries()
	at := len(entries)
	for i, x := range entries {
		if x.bits == hash && x.val.Is(key) {
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
func split[V Member](e Edit, shift int, entries []entry[V]) node[V] {
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

// Drop returns t without the value that key names. It returns t if there is none.
func (t Trie[V]) Drop(e Edit, hash uint64, key []byte) Trie[V] {
	var none V
	if t.Get(hash, key) == none {
		return t
	}
	root := t.root.drop(e, 60, hash, key)
	if root.empty() {
		return Trie[V]{}
	}
	return Trie[V]{root}
}

// drop removes a value, which n must have.
func (n node[V]) drop(e Edit, shift int, hash uint64, key []byte) node[V] {
	if !n.inner() {
		entries := n.entries()
		i := slices.IndexFunc(entries, func(x entry[V]) bool { return x.bits == hash && x.val.Is(key) })
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

// shrunk returns a leaf in place of n if all of n's kids are leaves and hold at
// most leafMax/2 values together; else it returns n. The limit is well below
// leafMax, so that the next put does not split the leaf again.
func (n node[V]) shrunk(e Edit) node[V] {
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

// A Search finds a value by its bits alone; see Find.
type Search[V Member] struct {
	Bits  uint64
	Found V       // the first value stored under Bits; the zero V if there is none
	node  node[V] // where the search has come to
}

// In makes t the Trie to search.
func (s *Search[V]) In(t Trie[V]) { s.node = t.root }

// Find runs all searches side by side, one level of their tries at a time. It
// reads the memory for the next step of every search before it uses any of it,
// so that the searches wait for memory together and not one after another. The
// result depends on all memory read: use it, so that the compiler keeps the
// reads.
func Find[V Member](all []Search[V]) (read uint64) {
	for above, deeper := 0, true; deeper; above += 4 {
		deeper = false
		for i := range all {
			if s := &all[i]; s.node.inner() {
				s.node = s.node.kid(s.Bits << above >> 60)
				deeper = true
			}
		}
	}
	for i := range all {
		if entries := all[i].node.entries(); len(entries) > 0 {
			read += entries[0].bits
		}
	}
	for i := range all {
		s := &all[i]
		for _, x := range s.node.entries() {
			if x.bits == s.Bits {
				s.Found = x.val
				break
			}
		}
	}
	return read
}
