package dataset

import (
	"math"
	"sort"
)

// rng is SplitMix64. It is not that of math/rand/v2, because the same seed must
// always give the same sequence.
type rng uint64

func (r *rng) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	return mix(uint64(*r))
}

// below returns a number in [0, n), with a bias towards small numbers of n/2⁶⁴.
func (r *rng) below(n int) int { return int(r.next() % uint64(n)) }

// chance reports true with probability p, in steps of 2⁻³².
func (r *rng) chance(p float64) bool { return float64(r.next()>>32) < p*(1<<32) }

func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// seeded returns the stream for item number i of one kind, so that an item can be
// made without those before it.
func seeded(seed uint64, kind string, i int) rng {
	h := mix(seed + 0x9e3779b97f4a7c15)
	for _, c := range []byte(kind) {
		h = mix(h ^ uint64(c))
	}
	return rng(mix(h ^ uint64(i)))
}

// scramble maps [0, 2^bits) onto itself one to one, without visible order, so that
// identifiers are unlike each other and yet unique. bits must be even.
func scramble(x, key uint64, bits uint) uint64 {
	half := bits / 2
	mask := uint64(1)<<half - 1
	l, r := x>>half&mask, x&mask
	for round := range uint64(4) { // a Feistel network is one to one for any round function
		l, r = r, l^mix(r^key+round)&mask
	}
	return l<<half | r
}

// zipf returns the cumulative weights of n ranks with exponent s: the weight of rank
// k is (k+1)^-s. Weights are integers, because the last bit of a floating-point
// operation differs between processors.
func zipf(n int, s float64) []uint64 {
	cum := make([]uint64, n)
	var sum uint64
	for k := range cum {
		sum += uint64(math.Pow(float64(k+1), -s)*(1<<24) + 0.5)
		cum[k] = sum
	}
	return cum
}

// pick draws a rank from cumulative weights.
func pick(r *rng, cum []uint64) int {
	x := r.next() % cum[len(cum)-1]
	return sort.Search(len(cum), func(i int) bool { return cum[i] > x })
}
