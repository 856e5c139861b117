package zone

import (
	"math/bits"
	"slices"
	"unsafe"
)

// A node of a trie is an inner node or a leaf. It stands by value in the array
// of its parent: a level costs a reader one cache line, and a change copies of
// each level on its way one array of at most 16 nodes.
//
// That copy is most of what a change costs, so a node is 16 octets and no
// larger. A slice of kids, one of entries and an edit would be 64. What a slice
// knows beside its first element, the head knows too: the number of elements is
// that of the bits set or of the entries counted, and arrays have no room to
// grow. The zero node is a leaf with nothing in it.
type node[V member] struct {
	head head
	// array is the first element of a slice: of kids in an inner node, of
	// entries in a leaf. nil if there are none.
	array unsafe.Pointer
}

// An entry is a value and what it stands under.
type entry[V member] struct {
	bits uint64
	val  V
}

// A head is what a node says of its array, from the lowest bits on:
//
//	16  one bit for each digit that has a kid, or the number of entries
//	 1  set in an inner node
//	47  the edit that made the array and may change it in place
//
// 16 bits for entries are plenty: a leaf exceeds leafMax only if all 64 bits of
// what is in it are equal, and these are a hash with a secret seed, or there is
// one value under them.
type head uint64

const (
	innerBit = 1 << 16
	editAt   = 17
)

// An edit numbers a commit, and is the right to change in place what carries the
// number: that was made for the same commit, and nobody else has seen it yet. A
// Publisher numbers its commits from 1, so that nothing is made by edit 0.
//
// No number comes again while anything carries it. Nodes have room for 2^47 of
// them, which at 100,000 commits a second, more than a processor makes, last for
// 44 years; and with the process all nodes end. What a Publisher made never gets
// into another's tables.
type edit uint64

// innerNode returns an inner node that e has made. There is a kid for each bit
// of the bitmap, in order.
func innerNode[V member](e edit, bitmap uint16, kids []node[V]) node[V] {
	return node[V]{head(e)<<editAt | innerBit | head(bitmap), unsafe.Pointer(unsafe.SliceData(kids))}
}

// leafNode returns a leaf that e has made. entries are in the order of their
// bits.
func leafNode[V member](e edit, entries []entry[V]) node[V] {
	return node[V]{head(e)<<editAt | head(len(entries)), unsafe.Pointer(unsafe.SliceData(entries))}
}

func (n node[V]) edit() edit     { return edit(n.head >> editAt) }
func (n node[V]) inner() bool    { return n.head&innerBit != 0 }
func (n node[V]) bitmap() uint16 { return uint16(n.head) } // of an inner node

// empty reports whether n holds nothing and is to be removed from its parent.
func (n node[V]) empty() bool { return n.head&0xFFFF == 0 }

// has reports whether n, an inner node, has a kid for values with that digit.
func (n node[V]) has(digit uint64) bool { return n.head>>digit&1 != 0 }

// rank returns where among the kids of n the one for that digit is, or belongs.
func (n node[V]) rank(digit uint64) int { return bits.OnesCount16(n.bitmap() & (1<<digit - 1)) }

// kid returns the node below n, an inner node, for values with that digit; an
// empty one if there is none. It is n.kids()[n.rank(digit)], but so small that
// the compiler puts it into lookups. What has a kid has it in bounds.
func (n node[V]) kid(digit uint64) (kid node[V]) {
	if n.has(digit) {
		kid = *(*node[V])(unsafe.Add(n.array, uintptr(n.rank(digit))*unsafe.Sizeof(kid)))
	}
	return kid
}

// kids returns the nodes below n: none if it is a leaf.
func (n node[V]) kids() []node[V] {
	if !n.inner() {
		return nil
	}
	return unsafe.Slice((*node[V])(n.array), bits.OnesCount16(n.bitmap()))
}

// entries returns what is in a leaf: nothing if n is none.
func (n node[V]) entries() []entry[V] {
	if n.inner() {
		return nil
	}
	return unsafe.Slice((*entry[V])(n.array), int(n.head&0xFFFF))
}

// owned returns n with an array that e may change.
func (n node[V]) owned(e edit) node[V] {
	switch {
	case n.edit() == e:
		return n
	case n.inner():
		return innerNode(e, n.bitmap(), slices.Clone(n.kids()))
	default:
		return leafNode(e, slices.Clone(n.entries()))
	}
}

// withKid returns n, an inner node, with another kid in the place of its i-th.
func (n node[V]) withKid(e edit, i int, kid node[V]) node[V] {
	n = n.owned(e)
	n.kids()[i] = kid
	return n
}

// insertedAt returns a copy of s with v before the i-th element, without room to
// grow.
func insertedAt[T any](s []T, i int, v T) []T {
	c := make([]T, len(s)+1)
	copy(c, s[:i])
	c[i] = v
	copy(c[i+1:], s[i:])
	return c
}

// removedAt returns a copy of s without the i-th element: nil if that was all.
func removedAt[T any](s []T, i int) []T {
	if len(s) == 1 {
		return nil
	}
	c := make([]T, len(s)-1)
	copy(c, s[:i])
	copy(c[i:], s[i+1:])
	return c
}
