package dataset

import (
	"math"
	"sort"
)

// rng is SplitMix64. It is written out here, and not taken from math/rand/v2,
// because its sequence is this package's promise: same seed, same octets.
type rng uint64

func (r *rng) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	return mix(uint64(*r))
}

// below returns a number in [0, n). The bias towards small numbers is n/2⁶⁴.
func (r *rng) below(n int) int { return int(r.next() % uint64(n)) }

// chance reports true with probability p, in steps of 2⁻³².
func (r *rng) chance(p float64) bool { return float64(r.next()>>32) < p*(1<<32) }

func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// seeded returns the stream of item number i of one kind, so that every item
// can be made without making those before it.
func seeded(seed uint64, kind string, i int) rng {
	h := mix(seed + 0x9e3779b97f4a7c15)
	for _, c := range []byte(kind) {
		h = mix(h ^ uint64(c))
	}
	return rng(mix(h ^ uint64(i)))
}

// scramble maps [0, 2^bits) onto itself one to one and without visible order:
// what makes identifiers unlike each other and yet unique. bits is even.
func scramble(x, key uint64, bits uint) uint64 {
	half := bits / 2
	mask := uint64(1)<<half - 1
	l, r := x>>half&mask, x&mask
	for round := range uint64(4) { // a Feistel network inverts whatever its rounds compute
		l, r = r, l^mix(r^key+round)&mask
	}
	return l<<half | r
}

// zipf returns the cumulative weights of n ranks with exponent s: rank k weighs
// (k+1)^-s. Weights are whole, so that the last bit of a floating-point
// operation, which differs between processors, decides nothing.
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
