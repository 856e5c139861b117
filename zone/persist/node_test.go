package persist

import (
	"math/bits"
	"runtime"
	"strconv"
	"testing"
	"unsafe"
	"weak"
)

// These sizes decide how much a change copies, and how many cache lines a lookup
// loads.
func TestSizes(t *testing.T) {
	for _, tt := range []struct {
		of        string
		got, want uintptr
	}{
		{"a node", unsafe.Sizeof(node[*word]{}), 16},
		{"an entry", unsafe.Sizeof(entry[*word]{}), 16},
	} {
		if tt.got != tt.want {
			t.Errorf("%s takes %d octets, want %d", tt.of, tt.got, tt.want)
		}
	}
}

// A node returns the parts that it was made of, up to the largest that fit.
func TestNodeReturnsItsParts(t *testing.T) {
	kids, entries := make([]node[*word], 16), make([]entry[*word], 1<<16-1)
	for _, e := range []Edit{0, 1, 2, 1<<32 + 5, 1 << 46, 1<<47 - 1} {
		for _, bitmap := range []uint16{1, 2, 1 << 15, 0x8001, 0x1234, 0xFFFF} {
			n := innerNode(e, bitmap, kids[:bits.OnesCount16(bitmap)])
			if n.edit() != e || !n.inner() || n.empty() || n.bitmap() != bitmap || len(n.kids()) != bits.OnesCount16(bitmap) || n.entries() != nil {
				t.Errorf("of edit %d with bitmap %x: %d, inner %v, empty %v, bitmap %x, %d kids, %d entries",
					e, bitmap, n.edit(), n.inner(), n.empty(), n.bitmap(), len(n.kids()), len(n.entries()))
			}
			rank := 0
			for digit := range uint64(16) {
				if n.has(digit) != (bitmap>>digit&1 == 1) || n.rank(digit) != rank {
					t.Errorf("bitmap %x: digit %x is there: %v, at %d of the kids, want %d", bitmap, digit, n.has(digit), n.rank(digit), rank)
				}
				if n.has(digit) {
					rank++
				}
			}
		}
		for _, count := range []int{0, 1, leafMax, leafMax + 1, 1<<16 - 1} {
			n := leafNode(e, entries[:count])
			if n.edit() != e || n.inner() || n.empty() != (count == 0) || len(n.entries()) != count || n.kids() != nil {
				t.Errorf("of edit %d with %d entries: %d, inner %v, empty %v, %d entries, %d kids",
					e, count, n.edit(), n.inner(), n.empty(), len(n.entries()), len(n.kids()))
			}
		}
	}
}

// arrays adds the arrays of n and of all below it.
func (n node[V]) arrays(to map[unsafe.Pointer]bool) {
	to[n.array] = true
	for _, kid := range n.kids() {
		kid.arrays(to)
	}
}

// A change makes one array for each level of its path and shares all others. A commit
// changes in place what it made itself.
func TestTrieCopiesOnlyThePath(t *testing.T) {
	const values = 10_000
	spread := func(i uint64) uint64 { return i * 0x9E3779B97F4A7C15 }
	name := func(i uint64) []byte { return strconv.AppendUint(nil, i, 10) }
	var tr Trie[*word]
	for i := range uint64(values) {
		tr = tr.Put(1, spread(i), name(i), &word{key: string(name(i))})
	}
	arraysOf := func(tr Trie[*word]) map[unsafe.Pointer]bool {
		all := make(map[unsafe.Pointer]bool)
		tr.root.arrays(all)
		return all
	}
	before, now := arraysOf(tr), tr
	for i := range uint64(100) {
		depth := 1
		for n, rest := tr.root, spread(i); n.inner(); n, rest = n.kid(rest>>60), rest<<4 {
			depth++
		}
		again := tr.Put(2+Edit(i), spread(i), name(i), &word{key: string(name(i))})
		less := tr.Drop(2+Edit(i), spread(i), name(i))
		for _, changed := range []Trie[*word]{again, less} {
			made := 0
			for array := range arraysOf(changed) {
				if !before[array] {
					made++
				}
			}
			if made == 0 || made > depth {
				t.Errorf("changing the value %d made %d arrays, with %d nodes on the path", i, made, depth)
			}
		}
		now = now.Put(2, spread(i), name(i), &word{key: string(name(i))})
	}
	changed := arraysOf(now)
	for i := range uint64(100) {
		now = now.Put(2, spread(i), name(i), &word{key: string(name(i))})
	}
	for array := range arraysOf(now) {
		if !changed[array] {
			t.Fatal("a commit copied what it had made itself")
		}
	}
}

// The garbage collector keeps values that only a trie holds, and frees those that no trie
// holds any more.
func TestTrieKeepsItsValuesAlive(t *testing.T) {
	const values = 3000
	spread := func(i int) uint64 { return uint64(i) * 0x9E3779B97F4A7C15 }
	name := func(i int) []byte { return strconv.AppendInt(nil, int64(i), 10) }
	var tr Trie[*word]
	var of [values]weak.Pointer[word]
	e := Edit(1)
	for i := range values {
		w := &word{string(name(i)), "value"}
		tr, of[i] = tr.Put(e, spread(i), name(i), w), weak.Make(w)
		if i%100 == 0 {
			runtime.GC()
			e++
		}
	}
	kept := func(i int) bool { return i%3 == 0 }
	for i := range values {
		if !kept(i) {
			tr = tr.Drop(e, spread(i), name(i))
		}
		if i%100 == 0 {
			e++
		}
	}
	runtime.GC()
	for i, w := range of {
		if got := w.Value(); (got != nil) != kept(i) {
			t.Fatalf("the value %d is in memory: %v, in the trie: %v", i, got != nil, kept(i))
		}
		if w := tr.Get(spread(i), name(i)); (w != nil) != kept(i) || w != nil && w.val != "value" {
			t.Fatalf("the value %d is %v", i, w)
		}
	}
}
