package zone

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

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

// packSlow returns a list as RDATA, made the slow way: the whole text, cut behind
// separators, as late as possible.
func packSlow(items []string, sep byte) []byte {
	var b []byte
	s := strings.Join(items, string(sep))
	for len(s) > 255 {
		n := strings.LastIndexByte(s[:255], sep) + 1
		b = append(append(b, byte(n)), s[:n]...)
		s = s[n:]
	}
	return append(append(b, byte(len(s))), s...)
}

// fits returns the RDATA of the first items that fit room, and their number.
func fits(items []string, room int, sep byte) ([]byte, int) {
	for n := len(items); n > 0; n-- {
		if b := packSlow(items[:n], sep); len(b) <= room {
			return b, n
		}
	}
	return []byte{0}, 0
}

// itemsOf returns items of those lengths.
func itemsOf(lengths ...int) (items []string) {
	for i, n := range lengths {
		items = append(items, strings.Repeat(string(rune('a'+i%26)), n))
	}
	return items
}

// checkText writes items with each of rooms as limit, also by cutting the whole text, and
// compares both with the slow way.
func checkText(t *testing.T, items []string, rooms []int) {
	t.Helper()
	const before = "octets before" // must not change
	whole := newTextWriter([]byte(before), maxText, ';')
	for _, item := range items {
		if !whole.add([]byte(item)) {
			t.Fatalf("an item of %d octets does not fit", len(item))
		}
	}
	rdata := whole.dst[len(before):]
	if want := packSlow(items, ';'); !bytes.Equal(rdata, want) {
		t.Fatalf("items of lengths %v\n got %q\nwant %q", lengths(items), rdata, want)
	}
	for _, room := range rooms {
		want, count := fits(items, room, ';')
		w := newTextWriter([]byte(before), room, ';')
		added := 0
		for _, item := range items {
			if !w.add([]byte(item)) {
				break
			}
			added++
		}
		if got := w.dst[len(before):]; !bytes.Equal(got, want) || added != count {
			t.Fatalf("items of lengths %v in room %d: %d fit, want %d\n got %q\nwant %q", lengths(items), room, added, count, got, want)
		}
		if got := appendText([]byte(before), rdata, room, ';')[len(before):]; !bytes.Equal(got, want) {
			t.Fatalf("items of lengths %v cut to room %d\n got %q\nwant %q", lengths(items), room, got, want)
		}
	}
}

func lengths(items []string) (n []int) {
	for _, item := range items {
		n = append(n, len(item))
	}
	return n
}

// upTo returns the rooms from 1 to somewhat more than items take.
func upTo(items []string) []int {
	rooms := make([]int, len(packSlow(items, ';'))+3)
	for i := range rooms {
		rooms[i] = i + 1
	}
	return rooms
}

func TestTextIsCutBehindSeparators(t *testing.T) {
	for _, tt := range []struct {
		name    string
		lengths []int
		strings []int // lengths of the character-strings
	}{
		{"an empty list is one empty string", nil, []int{0}},
		{"one item", []int{1}, []int{1}},
		{"the longest item", []int{254}, []int{254}},
		{"the text takes 254 octets", []int{100, 153}, []int{254}},
		{"the text takes 255 octets", []int{100, 154}, []int{255}},
		{"the text takes 256 octets", []int{100, 155}, []int{101, 155}},
		{"the separator is the last that fits", []int{100, 153, 1}, []int{255, 1}},
		{"the separator does not fit, and takes the last item along", []int{100, 154, 1}, []int{101, 156}},
		{"the longest items, one behind the other", []int{254, 254, 254}, []int{255, 255, 254}},
		{"a long item behind one that moved", []int{100, 154, 254}, []int{101, 155, 254}},
		{"a full string behind one that moved", []int{100, 154, 99, 2, 154, 1}, []int{101, 255, 159}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			items := itemsOf(tt.lengths...)
			checkText(t, items, upTo(items))
			var got []int
			for b := packSlow(items, ';'); len(b) > 0; b = b[1+int(b[0]):] {
				got = append(got, int(b[0]))
			}
			if !slices.Equal(got, tt.strings) {
				t.Errorf("strings of lengths %v, want %v", got, tt.strings)
			}
		})
	}
}

func TestTextOfRandomItemsIsCutBehindSeparators(t *testing.T) {
	r := testRand(t)
	for range 100 {
		most := []int{3, 40, 254}[r.IntN(3)]
		n := make([]int, r.IntN(30))
		for i := range n {
			n[i] = 1 + r.IntN(most)
			if r.IntN(8) == 0 {
				n[i] = max(1, 254-r.IntN(3))
			}
		}
		items := itemsOf(n...)
		rooms := upTo(items)
		r.Shuffle(len(rooms), func(i, j int) { rooms[i], rooms[j] = rooms[j], rooms[i] })
		checkText(t, items, rooms[:min(20, len(rooms))])
	}
}

func TestTopCount(t *testing.T) {
	for _, tt := range []struct {
		label string
		want  int
	}{
		{"top1", 1}, {"top9", 9}, {"top10", 10}, {"top2340", 2340}, {"top18446744073709551617", 1 << 27},
		{"top" + strings.Repeat("9", 60), 1 << 27}, {"top134217728", 1 << 27}, {"top134217727", 1<<27 - 1},
		{"top", 0}, {"top0", 0}, {"top01", 0}, {"top00", 0}, {"topx", 0}, {"top1x", 0}, {"top-1", 0}, {"top+1", 0},
		{"top 1", 0}, {"to", 0}, {"", 0}, {"pot1", 0}, {"1", 0}, {"top1.", 0}, {"top１", 0},
	} {
		if got := topCount([]byte(tt.label)); got != tt.want {
			t.Errorf("%q asks for %d machines, want %d", tt.label, got, tt.want)
		}
	}
	for n := 1; n < 3000; n += 7 {
		if got := topCount(fmt.Appendf(nil, "top%d", n)); got != n {
			t.Errorf("top%d asks for %d machines", n, got)
		}
	}
}
