package zone

import (
	"math/bits"
	"slices"
)

// A trie is a persistent map from 64 bits to values: changing it makes a new
// trie that shares with the old one all but a path of a few nodes. Readers of
// the old one see nothing. Values under one key of bits are told apart by their
// is method, so the bits may be a hash.
//
// Inner nodes branch on 4 bits, the first ones on top, which makes each level
// one hexadecimal digit: hasPrefix depends on it. Leaves hold up to leafMax
// values, so that a small map is one node.
type trie[V member] struct {
	root *node[V]
}

// A member is a value of a trie.
type member interface {
	comparable
	// is reports whether the value is the one that key names. It is asked only
	// of values stored under the key's bits.
	is(key []byte) bool
}

// A node stands in its parent's slice, so that a level of the trie costs a
// reader one cache line: node is as large as one.
type node[V member] struct {
	edit   *edit // the commit that made the node's slices and may change them in place
	bitmap uint16
	kids   []node[V]  // one for each bit that is set; nil in a leaf
	leaf   []entry[V] // in a leaf, by bits
}

type entry[V member] struct {
	bits uint64
	val  V
}

// An edit is the right to change nodes in place: those that carry it were made
// for the same commit and nobody else has seen them yet.
type edit struct{ _ byte }

// leafMax trades the length of a scan for the number of nodes. 16 entries are
// four cache lines.
const leafMax = 16

// get returns the value that key names, or the zero V.
func (t trie[V]) get(hash uint64, key []byte) V {
	n := t.root
	for shift := 60; n != nil; shift -= 4 {
		if n.kids == nil {
			for i := range n.leaf {
				if n.leaf[i].bits == hash && n.leaf[i].val.is(key) {
					return n.leaf[i].val
				}
			}
			break
		}
		n = n.kid(hash >> shift & 0xF)
	}
	var none V
	return none
}

// kid returns the node below n, which is no leaf, for bits with that digit; nil
// if there is none.
func (n *node[V]) kid(digit uint64) *node[V] {
	if n.bitmap>>digit&1 == 0 {
		return nil
	}
	return &n.kids[bits.OnesCount16(n.bitmap&(1<<digit-1))]
}

// hasPrefix reports whether any value's bits begin with the first count bits of
// prefix. count is a multiple of 4.
func (t trie[V]) hasPrefix(prefix uint64, count int) bool {
	n := t.root
	for shift := 60; n != nil; shift -= 4 {
		if n.kids == nil {
			drop := 64 - count
			return slices.ContainsFunc(n.leaf, func(e entry[V]) bool { return e.bits>>drop == prefix>>drop })
		}
		if 60-shift >= count {
			return true
		}
		n = n.kid(prefix >> shift & 0xF)
	}
	return false
}

// put returns t with val under hash, in the place of the value that key names
// if there is one.
func (t trie[V]) put(e *edit, hash uint64, key []byte, val V) trie[V] {
	root := t.own(e)
	root.put(e, 60, hash, key, val)
	return trie[V]{root}
}

// own returns t's root for e to change.
func (t trie[V]) own(e *edit) *node[V] {
	if t.root == nil {
		return &node[V]{edit: e}
	}
	if t.root.edit == e {
		return t.root
	}
	root := *t.root
	root.own(e)
	return &root
}

// own makes the slices of n, which e may change already, ones that e may change.
func (n *node[V]) own(e *edit) {
	if n.edit != e {
		n.edit, n.kids, n.leaf = e, slices.Clone(n.kids), slices.Clone(n.leaf)
	}
}

func (n *node[V]) put(e *edit, shift int, hash uint64, key []byte, val V) {
	n.own(e)
	if n.kids != nil {
		digit := hash >> shift & 0xF
		i := bits.OnesCount16(n.bitmap & (1<<digit - 1))
		if n.bitmap>>digit&1 == 0 {
			n.bitmap |= 1 << digit
			n.kids = slices.Insert(n.kids, i, node[V]{edit: e})
		}
		n.kids[i].put(e, shift-4, hash, key, val)
		return
	}
	at := len(n.leaf)
	for i := range n.leaf {
		if n.leaf[i].bits == hash && n.leaf[i].val.is(key) {
			n.leaf[i].val = val
			return
		}
		if n.leaf[i].bits > hash {
			at = min(at, i)
		}
	}
	n.leaf = slices.Insert(n.leaf, at, entry[V]{hash, val})
	if len(n.leaf) > leafMax && shift >= 0 {
		n.split(e, shift)
	}
}

// split makes an inner node of a leaf.
func (n *node[V]) split(e *edit, shift int) {
	leaf := n.leaf
	n.leaf = nil
	for start := 0; start < len(leaf); {
		digit := leaf[start].bits >> shift & 0xF
		end := start
		for end < len(leaf) && leaf[end].bits>>shift&0xF == digit {
			end++
		}
		kid := node[V]{edit: e, leaf: slices.Clone(leaf[start:end])}
		if len(kid.leaf) > leafMax && shift >= 4 {
			kid.split(e, shift-4)
		}
		n.bitmap |= 1 << digit
		n.kids = append(n.kids, kid)
		start = end
	}
}

// drop returns t without the value that key names.
func (t trie[V]) drop(e *edit, hash uint64, key []byte) trie[V] {
	var none V
	if t.get(hash, key) == none {
		return t
	}
	root := t.own(e)
	if root.drop(e, 60, hash, key); root.empty() {
		return trie[V]{}
	}
	return trie[V]{root}
}

// empty reports whether n holds nothing and is to be removed from its parent.
func (n *node[V]) empty() bool { return len(n.kids) == 0 && len(n.leaf) == 0 }

// drop removes a value that is there.
func (n *node[V]) drop(e *edit, shift int, hash uint64, key []byte) {
	n.own(e)
	if n.kids == nil {
		n.leaf = slices.DeleteFunc(n.leaf, func(x entry[V]) bool { return x.bits == hash && x.val.is(key) })
		return
	}
	digit := hash >> shift & 0xF
	i := bits.OnesCount16(n.bitmap & (1<<digit - 1))
	if n.kids[i].drop(e, shift-4, hash, key); n.kids[i].empty() {
		n.bitmap &^= 1 << digit
		n.kids = slices.Delete(n.kids, i, i+1)
	}
	n.shrink()
}

// shrink makes a leaf of an inner node whose kids are leaves with little in
// them, well below leafMax so that the next put does not split it again.
func (n *node[V]) shrink() {
	total := 0
	for i := range n.kids {
		if total += len(n.kids[i].leaf); n.kids[i].kids != nil || total > leafMax/2 {
			return
		}
	}
	leaf := make([]entry[V], 0, total)
	for i := range n.kids {
		leaf = append(leaf, n.kids[i].leaf...)
	}
	n.bitmap, n.kids, n.leaf = 0, nil, leaf
}

// all yields the values, in the order of their bits.
func (t trie[V]) all(yield func(V) bool) {
	t.root.all(yield)
}

func (n *node[V]) all(yield func(V) bool) bool {
	if n == nil {
		return true
	}
	for _, x := range n.leaf {
		if !yield(x.val) {
			return false
		}
	}
	for i := range n.kids {
		if !n.kids[i].all(yield) {
			return false
		}
	}
	return true
}

// A seeker looks for a value by its bits alone, in a trie of its own.
type seeker[V member] struct {
	node *node[V] // where it has come to, at first the root; nil if there is no way
	hash uint64
	val  V // the first value under hash, if there is one
}

// seek has all seekers find their values. They go side by side, a level at a
// time, and touch what they will read in the next step before any of them waits
// for it. What seek returns depends on all that it touched.
func seek[V member](all []seeker[V]) (touched uint64) {
	for shift, deeper := 60, true; deeper; shift -= 4 {
		deeper = false
		for i := range all {
			s := &all[i]
			if s.node == nil || s.node.kids == nil {
				continue
			}
			if s.node = s.node.kid(s.hash >> shift & 0xF); s.node != nil {
				touched += uint64(s.node.bitmap)
				deeper = true
			}
		}
	}
	for i := range all {
		if n := all[i].node; n != nil && len(n.leaf) > 0 {
			touched += n.leaf[0].bits
		}
	}
	for i := range all {
		s := &all[i]
		if s.node == nil {
			continue
		}
		for j := range s.node.leaf {
			if e := &s.node.leaf[j]; e.bits == s.hash {
				s.val = e.val
				break
			}
		}
	}
	return touched
}
