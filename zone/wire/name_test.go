package wire

import "testing"

// A name may have as many pointers as labels, and no more: otherwise an upstream
// could make us follow thousands for each record of a message.
func TestANameHasABoundedNumberOfPointers(t *testing.T) {
	for _, tt := range []struct {
		pointers, want int
	}{{0, 3}, {1, 3}, {MaxLabels, 3}, {MaxLabels + 1, 0}, {8000, 0}} {
		msg := append(make([]byte, HeaderLen), 1, 'a', 0)
		at := HeaderLen
		for range tt.pointers {
			next := len(msg)
			msg = append(msg, 0xC0|byte(at>>8), byte(at))
			at = next
		}
		if n, end := ReadName(new([MaxNameLen]byte), msg, at); n != tt.want || (end >= 0) != (tt.want > 0) {
			t.Errorf("a name behind %d pointers: read %d octets, want %d", tt.pointers, n, tt.want)
		}
		if n, end := ReadName(nil, msg, at); n != tt.want || (end >= 0) != (tt.want > 0) {
			t.Errorf("a name behind %d pointers: skipped %d octets, want %d", tt.pointers, n, tt.want)
		}
	}
}
