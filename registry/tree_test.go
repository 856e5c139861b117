package registry

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// A tree is a sorted slice to whoever reads it, and what readers of an old one
// see does not change.
func TestTreeIsAPersistentSortedSlice(t *testing.T) {
	type entry struct{ key, value int }
	compare := func(a, b entry) int { return cmp.Compare(a.key, b.key) }
	for seed := range uint64(20 * *soak) {
		r := rand.New(rand.NewPCG(seed, 0))
		keys := 1 + r.IntN(1<<(1+r.IntN(13)))
		var root *tree[entry]
		var twin []entry
		deepest := 0
		type version struct {
			root *tree[entry]
			twin []entry
		}
		var old []version
		for round := range 60 {
			old = append(old, version{root, slices.Clone(twin)})
			most := 1 + r.IntN(1<<r.IntN(12))
			removing := r.IntN(3) * 50 // of 100: none, half or all of what is changed
			var moves []move[entry]
			for range most {
				moves = append(moves, move[entry]{entry{r.IntN(keys), round}, r.IntN(100) < removing})
			}
			slices.SortFunc(moves, func(a, b move[entry]) int { return compare(a.entry, b.entry) })
			moves = slices.CompactFunc(moves, func(a, b move[entry]) bool { return a.entry.key == b.entry.key })
			for _, mv := range moves {
				i, found := slices.BinarySearchFunc(twin, mv.entry, compare)
				switch {
				case found && mv.remove:
					twin = slices.Delete(twin, i, i+1)
				case found:
					twin[i] = mv.entry
				case !mv.remove:
					twin = slices.Insert(twin, i, mv.entry)
				}
			}
			root = root.apply(moves, compare)
			checkVersion := func(v version) {
				leaves, entries := checkTree(t, v.root, compare)
				if !slices.Equal(entries, v.twin) {
					t.Fatalf("seed %d round %d: the tree holds %v, want %v", seed, round, entries, v.twin)
				}
				deepest = max(deepest, leaves)
				if want := len(v.twin)/(maxLeaf/4) + 1; leaves > 2*want {
					t.Errorf("seed %d round %d: %d entries stand in %d leaves", seed, round, len(v.twin), leaves)
				}
			}
			checkVersion(version{root, twin})
			checkVersion(old[r.IntN(len(old))])
			for range 20 {
				key := r.IntN(keys + 1)
				at, has := slices.BinarySearchFunc(twin, entry{key: key}, compare)
				got, found := root.find(func(e entry) int { return cmp.Compare(e.key, key) })
				if found != has || found && got != twin[at] {
					t.Fatalf("seed %d round %d: find %d gives %v, %v", seed, round, key, got, found)
				}
				var rest []entry
				for e := range root.from(func(e entry) bool { return e.key < key }) {
					if rest = append(rest, e); len(rest) == 100 {
						break
					}
				}
				if want := twin[at:min(len(twin), at+100)]; !slices.Equal(rest, want) {
					t.Fatalf("seed %d round %d: from %d come %v, want %v", seed, round, key, rest, want)
				}
			}
		}
		if keys > 4000 && deepest <= maxKids {
			t.Errorf("seed %d: the most leaves there were is %d: the test does not test inner nodes", seed, deepest)
		}
	}
}

// A change of one entry must copy its leaf and the nodes above it, and nothing
// beside.
func TestTreeCopiesOnePath(t *testing.T) {
	compare := cmp.Compare[int]
	var moves []move[int]
	for i := range 50_000 {
		moves = append(moves, move[int]{entry: 2 * i})
	}
	before := (*tree[int])(nil).apply(moves, compare)
	for _, mv := range []move[int]{{entry: 33_333}, {entry: 44_444}, {entry: 44_444, remove: true}} {
		after := before.apply([]move[int]{mv}, compare)
		old := make(map[*tree[int]]bool)
		var nodes func(n *tree[int], visit func(*tree[int]))
		nodes = func(n *tree[int], visit func(*tree[int])) {
			visit(n)
			for _, k := range n.kids {
				nodes(k.tree, visit)
			}
		}
		nodes(before, func(n *tree[int]) { old[n] = true })
		fresh, depth := 0, 1
		nodes(after, func(n *tree[int]) {
			if !old[n] {
				fresh++
			}
		})
		for n := after; n.kids != nil; n = n.kids[0].tree {
			depth++
		}
		if fresh != depth {
			t.Errorf("%+v makes %d nodes in a tree of %d levels", mv, fresh, depth)
		}
	}
}
