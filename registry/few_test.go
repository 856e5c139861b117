package registry

import (
	"math/rand/v2"
	"testing"
)

// A few is a map, whatever its size.
func TestFewIsAMap(t *testing.T) {
	for seed := range uint64(50 * *soak) {
		r := rand.New(rand.NewPCG(seed, 0))
		f, twin := few[int, int]{size: r.IntN(3) * mostFew}, map[int]int{}
		for range r.IntN(4 * mostFew) {
			key, val := r.IntN(6*mostFew), r.Int()
			if _, ok := twin[key]; !ok {
				twin[key] = val
				f.add(key, val)
			}
			for key := range 6 * mostFew {
				got, ok := f.get(key)
				if want, is := twin[key]; got != want || ok != is {
					t.Fatalf("seed %d: of %d keys, %d has %d, %v, want %d, %v", seed, len(twin), key, got, ok, want, is)
				}
			}
		}
	}
}
