package persist

import (
	"math/bits"
	"slices"
	"unsafe"
)

// A node of a Trie is an inner node or a leaf. A node is stored by value in the
// array of its parent. So a reader loads one cache line for each level, and a
// change copies one array of at most 16 nodes for each level.
//
// These copies are most of the cost of a change, so a node is only 16 octets. A
// slice of kids, a slice of entries and an Edit would take 64. The head holds the
// number of elements instead: it is the number of bits set in an inner node, and
// the number of entries in a leaf. Arrays have no spare capacity. The zero node
// is an empty leaf.
type node[V Member] struct {
	head head
	// array points to the first kid of an inner node, or to the first entry of a
	// leaf. It is nil if there are none.
	array unsafe.Pointer
}

// An entry is a value of a leaf and its bits.
type entry[V Member] struct {
	bits uint64
	val  V
}

// A head describes the array of a node, from the lowest bits on:
//
//	16  in an inner node, one bit for each digit that has a kid; in a leaf, the
//	    number of entries
//	 1  set in an inner node
//	47  the Edit that made the array, and may change it in place
//
// A leaf has more than leafMax entries only if all of them have the same 64 bits.
// The bits are a hash with a secret seed, or belong to one value, so 16 bits are
// enough to count entries.
type head uint64

const (
	innerBit = 1 << 16
	editAt   = 17
)

// An Edit is the number of a commit. A commit may change in place what carries
// its number, because no reader has seen it yet. Number commits from 1, since
// nothing is made by Edit 0, and never use a number twice.
//
// A node has room for 2^47 numbers. At 100,000 commits a second these last for 44
// years.
type Edit uint64

// innerNode returns an inner node made by e. kids has one node for each bit of
// bitmap, in order.
func innerNode[V Member](e Edit, bitmap uint16, kids []node[V]) node[V] {
	return node[V]{head(e)<<editAt | innerBit | head(bitmap), unsafe.Pointer(unsafe.SliceData(kids))}
}

// leafNode returns a leaf made by e. entries are in the order of their bits.
func leafNode[V Member](e Edit, entries []entry[V]) node[V] {
	return node[V]{head(e)<<editAt | head(len(entries)), unsafe.Pointer(unsafe.SliceData(entries))}
}

func (n node[V]) edit() Edit     { return Edit(n.head >> editAt) }
func (n node[V]) inner() bool    { return n.head&innerBit != 0 }
func (n node[V]) bitmap() uint16 { return uint16(n.head) } // of an inner node

// empty reports whether n holds nothing, so that its parent must remove it.
func (n node[V]) empty() bool { return n.head&0xFFFF == 0 }

// has reports whether n, an inner node, has a kid for that digit.
func (n node[V]) has(digit uint64) bool { return n.head>>digit&1 != 0 }

// rank returns the index among n's kids of the one for that digit, or the index
// at which to insert it.
func (n node[V]) rank(digit uint64) int { return bits.OnesCount16(n.bitmap() & (1<<digit - 1)) }

// kid returns the kid of n, an inner node, for that digit; an empty node if there
// is none. It is n.kids()[n.rank(digit)] without the bounds check, which makes it
// small enough for the compiler to inline. The index is in bounds if has is true.
func (n node[V]) kid(digit uint64) (kid node[V]) {
	if n.has(digit) {
		kid = *(*node[V])(unsafe.Add(n.array, uintptr(n.rank(digit))*unsafe.Sizeof(kid)))
	}
	return kid
}

// kids returns the kids of an inner node; none for a leaf.
func (n node[V]) kids() []node[V] {
	if !n.inner() {
		return nil
	}
	return unsafe.Slice((*node[V])(n.array), bits.OnesCount16(n.bitmap()))
}

// entries returns the entries of a leaf; none for an inner node.
func (n node[V]) entries() []entry[V] {
	if n.inner() {
		return nil
	}
	return unsafe.Slice((*entry[V])(n.array), int(n.head&0xFFFF))
}

// owned returns n with an array that e may change.
func (n node[V]) owned(e Edit) node[V] {
	switch {
	case n.edit() == e:
		return n
	case n.inner():
		return innerNode(e, n.bitmap(), slices.Clone(n.kids()))
	default:
		return leafNode(e, slices.Clone(n.entries()))
	}
}

// withKid returns n, an inner node, with its i-th kid replaced.
func (n node[V]) withKid(e Edit, i int, kid node[V]) node[V] {
	n = n.owned(e)
	n.kids()[i] = kid
	return n
}

// insertedAt returns a copy of s with v before the i-th element, without spare
// capacity.
func insertedAt[T any](s []T, i int, v T) []T {
	c := make([]T, len(s)+1)
	copy(c, s[:i])
	c[i] = v
	copy(c[i+1:], s[i:])
	return c
}

// removedAt returns a copy of s without the i-th element; nil if nothing is left.
func removedAt[T any](s []T, i int) []T {
	if len(s) == 1 {
		return nil
	}
	c := make([]T, len(s)-1)
	copy(c, s[:i])
	copy(c[i:], s[i+1:])
	return c
}
