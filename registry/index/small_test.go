package index

import (
	"math/rand/v2"
	"testing"
)

// A Small of any size has the entries of a map.
func TestSmallIsAMap(t *testing.T) {
	for seed := range uint64(50 * *soak) {
		r := rand.New(rand.NewPCG(seed, 0))
		f, twin := Small[int, int]{Size: r.IntN(3) * maxSmall}, map[int]int{}
		for range r.IntN(4 * maxSmall) {
			key, val := r.IntN(6*maxSmall), r.Int()
			if _, ok := twin[key]; !ok {
				twin[key] = val
				f.Add(key, val)
			}
			for key := range 6 * maxSmall {
				got, ok := f.Get(key)
				if want, is := twin[key]; got != want || ok != is {
					t.Fatalf("seed %d: of %d keys, Get %d returns %d, %v, want %d, %v", seed, len(twin), key, got, ok, want, is)
				}
			}
		}
	}
}
