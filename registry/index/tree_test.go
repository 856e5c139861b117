package index

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// A tree has the entries of a sorted slice, and an old tree does not change.
func TestTreeIsAPersistentSortedSlice(t *testing.T) {
	type entry struct{ key, value int }
	compare := func(a, b entry) int { return cmp.Compare(a.key, b.key) }
	for seed := range uint64(20 * *soak) {
		r := rand.New(rand.NewPCG(seed, 0))
		keys := 1 + r.IntN(1<<(1+r.IntN(13)))
		var root *Tree[entry]
		var twin []entry
		deepest := 0
		type version struct {
			root *Tree[entry]
			twin []entry
		}
		var old []version
		for round := range 60 {
			old = append(old, version{root, slices.Clone(twin)})
			most := 1 + r.IntN(1<<r.IntN(12))
			removing := r.IntN(3) * 50 // per cent of the changes
			var moves []Move[entry]
			for range most {
				moves = append(moves, Move[entry]{entry{r.IntN(keys), round}, r.IntN(100) < removing})
			}
			slices.SortFunc(moves, func(a, b Move[entry]) int { return compare(a.Entry, b.Entry) })
			moves = slices.CompactFunc(moves, func(a, b Move[entry]) bool { return a.Entry.key == b.Entry.key })
			for _, mv := range moves {
				i, found := slices.BinarySearchFunc(twin, mv.Entry, compare)
				switch {
				case found && mv.Remove:
					twin = slices.Delete(twin, i, i+1)
				case found:
					twin[i] = mv.Entry
				case !mv.Remove:
					twin = slices.Insert(twin, i, mv.Entry)
				}
			}
			root = root.Apply(moves, compare)
			checkVersion := func(v version) {
				leaves, entries := checkTree(t, v.root, compare)
				if !slices.Equal(entries, v.twin) {
					t.Fatalf("seed %d round %d: the tree holds %v, want %v", seed, round, entries, v.twin)
				}
				deepest = max(deepest, leaves)
				// Leaves of different parents are not joined, so a few may be almost empty.
				if want := len(v.twin)/(maxLeaf/4) + 1; leaves > 2*want+2 {
					t.Errorf("seed %d round %d: %d entries are in %d leaves", seed, round, len(v.twin), leaves)
				}
			}
			checkVersion(version{root, twin})
			checkVersion(old[r.IntN(len(old))])
			for range 20 {
				key := r.IntN(keys + 1)
				at, has := slices.BinarySearchFunc(twin, entry{key: key}, compare)
				got, found := root.Find(func(e entry) int { return cmp.Compare(e.key, key) })
				if found != has || found && got != twin[at] {
					t.Fatalf("seed %d round %d: Find %d returns %v, %v", seed, round, key, got, found)
				}
				var rest []entry
				for e := range root.From(func(e entry) bool { return e.key < key }) {
					if rest = append(rest, e); len(rest) == 100 {
						break
					}
				}
				if want := twin[at:min(len(twin), at+100)]; !slices.Equal(rest, want) {
					t.Fatalf("seed %d round %d: From %d yields %v, want %v", seed, round, key, rest, want)
				}
			}
		}
		if keys > 4000 && deepest <= maxChildren {
			t.Errorf("seed %d: there were at most %d leaves: the test does not test inner nodes", seed, deepest)
		}
	}
}

// A change of one entry must copy its leaf and the nodes above it, and no other node.
func TestTreeCopiesOnePath(t *testing.T) {
	compare := cmp.Compare[int]
	var moves []Move[int]
	for i := range 50_000 {
		moves = append(moves, Move[int]{Entry: 2 * i})
	}
	before := (*Tree[int])(nil).Apply(moves, compare)
	for _, mv := range []Move[int]{{Entry: 33_333}, {Entry: 44_444}, {Entry: 44_444, Remove: true}} {
		after := before.Apply([]Move[int]{mv}, compare)
		old := make(map[*Tree[int]]bool)
		var nodes func(n *Tree[int], visit func(*Tree[int]))
		nodes = func(n *Tree[int], visit func(*Tree[int])) {
			visit(n)
			for _, k := range n.children {
				nodes(k.Tree, visit)
			}
		}
		nodes(before, func(n *Tree[int]) { old[n] = true })
		fresh, depth := 0, 1
		nodes(after, func(n *Tree[int]) {
			if !old[n] {
				fresh++
			}
		})
		for n := after; n.children != nil; n = n.children[0].Tree {
			depth++
		}
		if fresh != depth {
			t.Errorf("%+v makes %d nodes in a tree of %d levels", mv, fresh, depth)
		}
	}
}

// checkTree fails the test if a node is empty, too long, not sorted or has a wrong first
// entry, or if the leaves are not all on one level. It returns the number of leaves, and
// the entries.
func checkTree[E any](t testing.TB, root *Tree[E], cmp func(a, b E) int) (leaves int, entries []E) {
	t.Helper()
	depth := -1
	var check func(n *Tree[E], level int)
	check = func(n *Tree[E], level int) {
		if len(n.entries)+len(n.children) == 0 || len(n.entries) > maxLeaf || len(n.children) > maxChildren || len(n.entries) > 0 && n.children != nil {
			t.Errorf("a node of %d entries and %d children", len(n.entries), len(n.children))
		}
		if room := cap(n.entries) - len(n.entries); room > 1 {
			t.Errorf("a leaf of %d entries has room for %d more", len(n.entries), room)
		}
		for _, k := range n.children {
			at := len(entries)
			if check(k.Tree, level+1); cmp(k.first, entries[at]) != 0 {
				t.Errorf("a child that begins with %v has the first entry %v", entries[at], k.first)
			}
		}
		if n.children == nil {
			entries = append(entries, n.entries...)
			if leaves++; depth < 0 {
				depth = level
			} else if level != depth {
				t.Errorf("there are leaves on levels %d and %d", depth, level)
			}
		}
	}
	if root != nil {
		check(root, 0)
	}
	for i := 1; i < len(entries); i++ {
		if cmp(entries[i-1], entries[i]) >= 0 {
			t.Errorf("%v is before %v", entries[i-1], entries[i])
		}
	}
	return leaves, entries
}
