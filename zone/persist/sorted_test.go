package persist

import (
	"cmp"
	"slices"
	"testing"
)

// A numbered is an element of a Sorted, ordered by n. The version distinguishes elements of
// the same n.
type numbered struct{ n, version int }

func order(n int) func(numbered) int { return func(v numbered) int { return cmp.Compare(v.n, n) } }

func elements(s Sorted[numbered]) (all []numbered) {
	for c := range s.Chunks {
		all = append(all, c...)
	}
	return all
}

// After random inserts and removes, a Sorted holds what a slice holds after the same changes,
// and all older versions are unchanged. It grows to many chunks and shrinks to none.
func TestSortedIsAPersistentSlice(t *testing.T) {
	const (
		size  = 1000
		steps = 6000
	)
	r := testRand(t)
	type version struct {
		s    Sorted[numbered]
		want []numbered
	}
	var now version
	var old []version
	longest := 0
	var e Edit
	for step := range steps {
		if step%7 == 0 { // a commit ends, the next begins
			old = append(old, now)
			e++
		}
		n := r.IntN(size)
		i, found := slices.BinarySearchFunc(now.want, n, func(v numbered, n int) int { return cmp.Compare(v.n, n) })
		if grows := step/1500%2 == 0; r.IntN(10) < 2 || grows && r.IntN(10) < 8 {
			v := numbered{n, step}
			now.s = now.s.Insert(e, v, order(n))
			now.want = slices.Clone(now.want)
			if found {
				now.want[i] = v
			} else {
				now.want = slices.Insert(now.want, i, v)
			}
		} else {
			now.s = now.s.Remove(e, order(n))
			if found {
				now.want = slices.Delete(slices.Clone(now.want), i, i+1)
			}
		}
		got, ok := now.s.Find(order(n))
		j, there := slices.BinarySearchFunc(now.want, n, func(v numbered, n int) int { return cmp.Compare(v.n, n) })
		if ok != there || ok && got != now.want[j] {
			t.Fatalf("step %d: find %d gave %v, %v; it is there: %v", step, n, got, ok, there)
		}
		if now.s.Empty() != (len(now.want) == 0) {
			t.Fatalf("step %d: empty is %v of %d elements", step, now.s.Empty(), len(now.want))
		}
		if now.s.long != nil {
			longest = max(longest, len(now.s.long.chunks))
		}
	}
	for i, v := range append(old, now) {
		if got := elements(v.s); !slices.Equal(got, v.want) {
			t.Fatalf("version %d changed afterwards:\n got %v\nwant %v", i, got, v.want)
		}
		for c := range v.s.Chunks {
			if len(c) == 0 || len(c) > ChunkMax {
				t.Fatalf("version %d has a chunk of %d elements, want 1 to %d", i, len(c), ChunkMax)
			}
		}
	}
	if longest < 4 {
		t.Errorf("there were never more than %d chunks: the test does not test long sequences", longest)
	}
	for _, v := range now.want {
		now.s = now.s.Remove(e, order(v.n))
	}
	if !now.s.Empty() || now.s.long != nil {
		t.Errorf("after removing all there is %v", elements(now.s))
	}
}

// A loop over chunks can end early.
func TestSortedChunksCanBeLeft(t *testing.T) {
	var s Sorted[numbered]
	e := Edit(1)
	for n := range 3 * ChunkMax {
		s = s.Insert(e, numbered{n: n}, order(n))
	}
	seen := 0
	for range s.Chunks {
		if seen++; seen == 2 {
			break
		}
	}
	if seen != 2 {
		t.Errorf("saw %d chunks, want 2", seen)
	}
}
