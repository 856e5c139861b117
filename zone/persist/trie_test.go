package persist

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A word is a value of a trie, stored under bits that tests choose.
type word struct{ key, val string }

func (w *word) Is(key []byte) bool { return w.key == string(key) }

// all yields the values, in the order of their bits.
func (t Trie[V]) all(yield func(V) bool) { t.root.all(yield) }

func (n node[V]) all(yield func(V) bool) bool {
	for _, x := range n.entries() {
		if !yield(x.val) {
			return false
		}
	}
	for _, kid := range n.kids() {
		if !kid.all(yield) {
			return false
		}
	}
	return true
}

// testRand returns a random source. If the test fails, it logs the seed.
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

// After random puts and drops, a trie holds what a map holds after the same changes, and all
// older versions are unchanged.
func TestTrieIsAPersistentMap(t *testing.T) {
	type slot struct {
		bits uint64
		key  string
	}
	for _, tt := range []struct {
		name string
		bits func(*rand.Rand) uint64
		keys int // number of keys with the same bits
	}{
		{"spread bits", (*rand.Rand).Uint64, 1},
		{"bits that share digits", func(r *rand.Rand) uint64 { return r.Uint64() & r.Uint64() & r.Uint64() & 0xF00000000000F0F1 }, 2},
		{"bits that differ at the end", func(r *rand.Rand) uint64 { return 0xABCD<<48 | r.Uint64N(64) }, 1},
		{"one hash for all", func(r *rand.Rand) uint64 { return 7 }, 60},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := testRand(t)
			type version struct {
				trie Trie[*word]
				want map[slot]string
			}
			now := version{want: make(map[slot]string)}
			var old []version
			var e Edit
			pool := make([]slot, 200)
			for i := range pool {
				pool[i] = slot{tt.bits(r), string(rune('a' + r.IntN(tt.keys)))}
			}
			for step := range 4000 {
				if step%17 == 0 { // a commit ends, the next begins
					old = append(old, version{now.trie, maps.Clone(now.want)})
					e++
				}
				s := pool[r.IntN(len(pool))]
				grows := step/500%2 == 0
				if p := r.IntN(10); p < 2 || p < 8 && grows {
					w := &word{s.key, string(rune('0' + r.IntN(10)))}
					now.trie = now.trie.Put(e, s.bits, []byte(s.key), w)
					now.want[s] = w.val
				} else {
					now.trie = now.trie.Drop(e, s.bits, []byte(s.key))
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
						got := v.trie.Get(s.bits, []byte(s.key))
						if want, ok := v.want[s]; ok != (got != nil) || ok && got.val != want {
							t.Fatalf("step %d: under %x %q is %v, want %q, %v", step, s.bits, s.key, got, want, ok)
						}
						digits := r.IntN(17)
						prefix, drop := s.bits^uint64(r.IntN(2))<<r.IntN(64), 64-4*digits
						want := false
						for s := range v.want {
							want = want || s.bits>>drop == prefix>>drop
						}
						if got := v.trie.HasPrefix(prefix, 4*digits); got != want {
							t.Fatalf("step %d: the first %d digits of %016x are there: %v, want %v", step, digits, prefix, got, want)
						}
					}
				}
			}
			for i, v := range old {
				got := make(map[*word]bool)
				for w := range v.trie.all {
					got[w] = true
				}
				for s, want := range v.want {
					if w := v.trie.Get(s.bits, []byte(s.key)); w == nil || w.val != want || !got[w] {
						t.Fatalf("version %d changed afterwards: under %x %q is %v, want %q", i, s.bits, s.key, w, want)
					}
				}
				if len(got) != len(v.want) {
					t.Fatalf("version %d changed afterwards: %d values, want %d", i, len(got), len(v.want))
				}
			}
			for s := range now.want {
				now.trie = now.trie.Drop(e, s.bits, []byte(s.key))
			}
			if now.trie != (Trie[*word]{}) {
				t.Errorf("the empty trie has a node: %+v", now.trie.root)
			}
		})
	}
}

// Dropping a key that is not there changes nothing and copies nothing.
func TestTrieDropOfNothingKeepsTheTrie(t *testing.T) {
	var empty Trie[*word]
	if got := empty.Drop(1, 1, []byte("a")); got != empty {
		t.Errorf("dropping from nothing gave %v", got)
	}
	some := empty.Put(1, 1, []byte("a"), &word{"a", "1"})
	if got := some.Drop(2, 1, []byte("b")); got != some {
		t.Error("dropping a key that is not there copied the trie")
	}
}

// After any puts and drops, in any number of commits, every version holds what it held when
// it was the current one.
func FuzzTrie(f *testing.F) {
	f.Add([]byte("\x01\x02\x03\x00\x81\x82"))
	f.Add([]byte("abcdefghijklmnopqrstuvwxyz\x00\xe1\xe2\xe3\x00\xe4\xe5\xe6\xe7\xe8\xe9\xea\xeb\xec\xed\xee\xef\xf0\xf1\xf2\xf3"))
	f.Fuzz(func(t *testing.T, program []byte) {
		type version struct {
			trie Trie[*word]
			want map[string]*word
		}
		// Keys share all digits, the first ones, the last ones, or none.
		bitsOf := func(key byte) uint64 {
			return [...]uint64{7, uint64(key), uint64(key) << 56, uint64(key) * 0x9E3779B97F4A7C15}[key>>3&3]
		}
		now, e := version{want: make(map[string]*word)}, Edit(1)
		var old []version
		for step, op := range program {
			key := op & 0x7F
			name := []byte{key}
			switch {
			case op == 0:
				old, e = append(old, version{now.trie, maps.Clone(now.want)}), e+1
			case op < 0x80:
				w := &word{string(name), string(rune(step))}
				now.trie = now.trie.Put(e, bitsOf(key), name, w)
				now.want[w.key] = w
			default:
				now.trie = now.trie.Drop(e, bitsOf(key), name)
				delete(now.want, string(name))
			}
		}
		for i, v := range append(old, now) {
			count := 0
			for range v.trie.all {
				count++
			}
			if count != len(v.want) {
				t.Fatalf("version %d has %d values, want %d", i, count, len(v.want))
			}
			var searches []Search[*word]
			for key := range byte(0x80) {
				got, want := v.trie.Get(bitsOf(key), []byte{key}), v.want[string([]byte{key})]
				if got != want {
					t.Fatalf("version %d: %q is %v, want %v", i, key, got, want)
				}
				searches = append(searches, Search[*word]{Bits: bitsOf(key), node: v.trie.root})
			}
			Find(searches)
			for key, s := range searches {
				found := v.trie.Get(s.Bits, []byte{byte(key)})
				if found != nil && (s.Found == nil || bitsOf(s.Found.key[0]) != s.Bits) {
					t.Fatalf("version %d: searching for %q found %v", i, byte(key), s.Found)
				}
			}
		}
	})
}

// Readers of a version see no change while new versions are made.
func TestTrieIsReadWhileItIsChanged(t *testing.T) {
	const keys = 400
	r := testRand(t)
	type version struct {
		trie Trie[*word]
		want [keys]*word
	}
	name := func(i int) []byte { return strconv.AppendInt(nil, int64(i), 10) }
	bitsOf := func(i int) uint64 { return uint64(i) * 0x9E3779B97F4A7C15 }
	var current atomic.Pointer[version]
	current.Store(new(version))
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				v := current.Load()
				for i, want := range v.want {
					if got := v.trie.Get(bitsOf(i), name(i)); got != want {
						t.Errorf("value %d is %v, want %v", i, got, want)
						return
					}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for e := range Edit(2000) {
		next := *current.Load()
		for range 1 + r.IntN(5) {
			i := r.IntN(keys)
			if r.IntN(2) == 0 {
				next.want[i] = &word{key: string(name(i))}
				next.trie = next.trie.Put(e+1, bitsOf(i), name(i), next.want[i])
			} else {
				next.want[i] = nil
				next.trie = next.trie.Drop(e+1, bitsOf(i), name(i))
			}
		}
		current.Store(&next)
	}
	close(done)
	readers.Wait()
}
