package zone

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A word is a value of a trie, stored under bits that tests choose.
type word struct{ key, val string }

func (w *word) is(key []byte) bool { return w.key == string(key) }

// testRand returns a source of randomness and says on failure how to get it
// again.
func testRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// Random puts and drops make of a trie what they make of a map, and leave all
// older versions as they were.
func TestTrieIsAPersistentMap(t *testing.T) {
	type slot struct {
		bits uint64
		key  string
	}
	for _, tt := range []struct {
		name string
		bits func(*rand.Rand) uint64
		keys int // that can stand under the same bits
	}{
		{"spread bits", (*rand.Rand).Uint64, 1},
		{"bits that share digits", func(r *rand.Rand) uint64 { return r.Uint64() & r.Uint64() & r.Uint64() & 0xF00000000000F0F1 }, 2},
		{"bits that differ at the end", func(r *rand.Rand) uint64 { return 0xABCD<<48 | r.Uint64N(64) }, 1},
		{"one hash for all", func(r *rand.Rand) uint64 { return 7 }, 60},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := testRand(t)
			type version struct {
				trie trie[*word]
				want map[slot]string
			}
			now := version{want: make(map[slot]string)}
			var old []version
			var e *edit
			pool := make([]slot, 200)
			for i := range pool {
				pool[i] = slot{tt.bits(r), string(rune('a' + r.IntN(tt.keys)))}
			}
			for step := range 4000 {
				if step%17 == 0 { // a commit ends, the next begins
					old = append(old, version{now.trie, maps.Clone(now.want)})
					e = new(edit)
				}
				s := pool[r.IntN(len(pool))]
				grows := step/500%2 == 0
				if p := r.IntN(10); p < 2 || p < 8 && grows {
					w := &word{s.key, string(rune('0' + r.IntN(10)))}
					now.trie = now.trie.put(e, s.bits, []byte(s.key), w)
					now.want[s] = w.val
				} else {
					now.trie = now.trie.drop(e, s.bits, []byte(s.key))
					delete(now.want, s)
				}
				if step%50 > 0 {
					continue
				}
				for _, v := range append(slices.Clone(old[max(0, len(old)-3):]), old[r.IntN(len(old))], now) {
					count := 0
					for range v.trie.all {
						count++
					}
					if count != len(v.want) {
						t.Fatalf("step %d: %d values, want %d", step, count, len(v.want))
					}
					for _, s := range pool {
						got := v.trie.get(s.bits, []byte(s.key))
						if want, ok := v.want[s]; ok != (got != nil) || ok && got.val != want {
							t.Fatalf("step %d: under %x %q is %v, want %q, %v", step, s.bits, s.key, got, want, ok)
						}
						digits := r.IntN(17)
						prefix, drop := s.bits^uint64(r.IntN(2))<<r.IntN(64), 64-4*digits
						want := false
						for s := range v.want {
							want = want || s.bits>>drop == prefix>>drop
						}
						if got := v.trie.hasPrefix(prefix, 4*digits); got != want {
							t.Fatalf("step %d: the first %d digits of %016x are there: %v, want %v", step, digits, prefix, got, want)
						}
					}
				}
			}
			for s := range now.want {
				now.trie = now.trie.drop(e, s.bits, []byte(s.key))
			}
			if now.trie.root != nil {
				t.Errorf("the empty trie has a node: %+v", now.trie.root)
			}
		})
	}
}

// Dropping what is not there changes nothing and copies nothing.
func TestTrieDropOfNothingKeepsTheTrie(t *testing.T) {
	var empty trie[*word]
	if got := empty.drop(new(edit), 1, []byte("a")); got != empty {
		t.Errorf("dropping from nothing gave %v", got)
	}
	some := empty.put(new(edit), 1, []byte("a"), &word{"a", "1"})
	if got := some.drop(new(edit), 1, []byte("b")); got != some {
		t.Error("dropping a key that is not there copied the trie")
	}
}

// Nodes made for a commit are changed in place by it and by no other.
func TestTrieCopiesANodeOncePerCommit(t *testing.T) {
	first := new(edit)
	tr := trie[*word]{}.put(first, 1, []byte("a"), &word{"a", "1"})
	root := tr.root
	if tr = tr.put(first, 2, []byte("b"), &word{"b", "2"}); tr.root != root {
		t.Error("the commit that made a node copied it")
	}
	if tr = tr.put(new(edit), 3, []byte("c"), &word{"c", "3"}); tr.root == root {
		t.Error("another commit changed a node in place")
	}
	if len(root.leaf) != 2 {
		t.Errorf("the old version has %d values, want 2", len(root.leaf))
	}
}
