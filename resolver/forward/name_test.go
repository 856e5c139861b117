package forward

import (
	"testing"

	"github.com/internaldns/internaldns/zone/wire"
)

// A name may lead through as many pointers as it may have labels, and not through
// more: an upstream could make us follow thousands for each record of a message.
func TestPointersOfANameAreBounded(t *testing.T) {
	for _, tt := range []struct {
		pointers, want int
	}{{0, 3}, {1, 3}, {wire.MaxLabels, 3}, {wire.MaxLabels + 1, 0}, {8000, 0}} {
		msg := append(make([]byte, wire.HeaderLen), 1, 'a', 0)
		at := wire.HeaderLen
		for range tt.pointers {
			next := len(msg)
			msg = append(msg, 0xC0|byte(at>>8), byte(at))
			at = next
		}
		if n, end := readName(new(nameBuf), msg, at); n != tt.want || (end >= 0) != (tt.want > 0) {
			t.Errorf("of a name behind %d pointers, %d octets are read, want %d", tt.pointers, n, tt.want)
		}
	}
}
