package zone

import (
	"testing"
	"unsafe"

	"github.com/internaldns/internaldns/zone/persist"
)

// These sizes decide how much a commit copies, and how many cache lines a lookup
// loads.
func TestSizes(t *testing.T) {
	for _, tt := range []struct {
		of        string
		got, want uintptr
	}{
		{"an app", unsafe.Sizeof(app{}), 3 * 64},
		{"a name of an app", unsafe.Sizeof(named{}), 64},
	} {
		if tt.got != tt.want {
			t.Errorf("%s takes %d octets, want %d", tt.of, tt.got, tt.want)
		}
	}
}

// The addresses of a region are walked one by one from the first to the last.
func TestCursorWalksItsAddresses(t *testing.T) {
	for _, size := range []int{1, 2, persist.ChunkMax, persist.ChunkMax + 1, 5 * persist.ChunkMax} {
		var set addressSet
		e := persist.Edit(1)
		for n := range size {
			a := address{14: byte(n >> 8), 15: byte(n)}
			set = set.Insert(e, a, addressOrder(a))
		}
		c := cursor{head: set.Chunk(0)[0]}
		for n := range size {
			if want := (address{14: byte(n >> 8), 15: byte(n)}); c.head != want {
				t.Fatalf("of %d addresses, number %d is %v, want %v", size, n, c.head, want)
			}
			if more := c.next(set); more != (n < size-1) {
				t.Fatalf("of %d addresses, there is one after number %d: %v", size, n, more)
			}
		}
	}
}
