package zone

import (
	"cmp"
	"slices"
	"testing"
)

// A numbered is an element of a sorted: equal ones can be told apart.
type numbered struct{ n, version int }

func order(n int) func(numbered) int { return func(v numbered) int { return cmp.Compare(v.n, n) } }

func elements(s sorted[numbered]) (all []numbered) {
	for c := range s.chunks {
		all = append(all, c...)
	}
	return all
}

// Random inserts and removes make of a sorted what they make of a slice, and
// leave all older versions as they were, over many chunks and back to none.
func TestSortedIsAPersistentSlice(t *testing.T) {
	const (
		size  = 1000
		steps = 6000
	)
	r := testRand(t)
	type version struct {
		s    sorted[numbered]
		want []numbered
	}
	var now version
	var old []version
	longest := 0
	var e edit
	for step := range steps {
		if step%7 == 0 { // a commit ends, the next begins
			old = append(old, now)
			e++
		}
		n := r.IntN(size)
		i, found := slices.BinarySearchFunc(now.want, n, func(v numbered, n int) int { return cmp.Compare(v.n, n) })
		if grows := step/1500%2 == 0; r.IntN(10) < 2 || grows && r.IntN(10) < 8 {
			v := numbered{n, step}
			now.s = now.s.insert(e, v, order(n))
			now.want = slices.Clone(now.want)
			if found {
				now.want[i] = v
			} else {
				now.want = slices.Insert(now.want, i, v)
			}
		} else {
			now.s = now.s.remove(e, order(n))
			if found {
				now.want = slices.Delete(slices.Clone(now.want), i, i+1)
			}
		}
		got, ok := now.s.find(order(n))
		j, there := slices.BinarySearchFunc(now.want, n, func(v numbered, n int) int { return cmp.Compare(v.n, n) })
		if ok != there || ok && got != now.want[j] {
			t.Fatalf("step %d: find %d gave %v, %v; it is there: %v", step, n, got, ok, there)
		}
		if now.s.empty() != (len(now.want) == 0) {
			t.Fatalf("step %d: empty is %v of %d elements", step, now.s.empty(), len(now.want))
		}
		if now.s.long != nil {
			longest = max(longest, len(now.s.long.chunks))
		}
	}
	for i, v := range append(old, now) {
		if got := elements(v.s); !slices.Equal(got, v.want) {
			t.Fatalf("version %d changed afterwards:\n got %v\nwant %v", i, got, v.want)
		}
		for c := range v.s.chunks {
			if len(c) == 0 || len(c) > chunkMax {
				t.Fatalf("version %d has a chunk of %d elements, want 1 to %d", i, len(c), chunkMax)
			}
		}
	}
	if longest < 4 {
		t.Errorf("there were never more than %d chunks: the test does not test long sequences", longest)
	}
	for _, v := range now.want {
		now.s = now.s.remove(e, order(v.n))
	}
	if !now.s.empty() || now.s.long != nil {
		t.Errorf("after removing all there is %v", elements(now.s))
	}
}

// Chunks that stop early are not asked for more.
func TestSortedChunksCanBeLeft(t *testing.T) {
	var s sorted[numbered]
	e := edit(1)
	for n := range 3 * chunkMax {
		s = s.insert(e, numbered{n: n}, order(n))
	}
	seen := 0
	for range s.chunks {
		if seen++; seen == 2 {
			break
		}
	}
	if seen != 2 {
		t.Errorf("saw %d chunks, want 2", seen)
	}
}

// The addresses of a region are walked one by one from the first to the last.
func TestRankedWalksItsAddresses(t *testing.T) {
	for _, size := range []int{1, 2, chunkMax, chunkMax + 1, 5 * chunkMax} {
		var set addressSet
		e := edit(1)
		for n := range size {
			a := address{14: byte(n >> 8), 15: byte(n)}
			set = set.insert(e, a, addressOrder(a))
		}
		r := ranked{head: first(set)}
		for n := range size {
			if want := (address{14: byte(n >> 8), 15: byte(n)}); r.head != want {
				t.Fatalf("of %d addresses, number %d is %v, want %v", size, n, r.head, want)
			}
			if more := r.next(set); more != (n < size-1) {
				t.Fatalf("of %d addresses, there is one after number %d: %v", size, n, more)
			}
		}
	}
}
