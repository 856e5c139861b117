package client

import (
	"fmt"
	"strings"
	"testing"
)

// A connection is lost after some octets of a stream, anywhere, and the rest after the last
// whole event comes over another. Every event is seen once.
func TestAnEventThatIsCutOffComesAgain(t *testing.T) {
	events := []string{
		"id: 41\nevent: commit\ndata: {\"index\":41}\n\n", ":\n\n", "id: 42\nevent: commit\ndata: {\"index\":42}\n\n", ":\nid: 57\n\n",
		"id: 58\nevent: reset\ndata: {\"index\":58}\n\n",
	}
	indexes := []uint64{41, 41, 42, 57, 58} // after each
	whole := strings.Join(events, "")
	for cut := range len(whole) + 1 {
		var seen []string
		w := watch{after: new(uint64), event: func(e Event) error {
			seen = append(seen, fmt.Sprint(e.Index, " ", e.Kind, " ", e.Data))
			return nil
		}}
		*w.after = 40
		if err := w.read(strings.NewReader(whole[:cut])); err != nil {
			t.Errorf("cut off after %q: %v", whole[:cut], err)
		}
		rest := ""
		for i, index := range indexes {
			if index > *w.after {
				rest += events[i]
			}
		}
		if err := w.read(strings.NewReader(rest)); err != nil {
			t.Fatal(err)
		}
		want := `[41 commit {"index":41} 42 commit {"index":42} 58 reset {"index":58}]`
		if got := fmt.Sprint(seen); got != want || *w.after != 58 {
			t.Errorf("cut off after %q, the events are %s, and the index is %d", whole[:cut], got, *w.after)
		}
	}
}
