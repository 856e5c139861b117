package watch

import (
	"fmt"
	"slices"
	"testing"

	"github.com/internaldns/internaldns/registry"
)

// noted returns a feed of commits with that many objects each, from index 1. A
// negative number leaves out so many indexes.
func noted(sizes ...int) *Feed {
	f := new(Feed)
	index := uint64(0)
	for _, size := range sizes {
		if size < 0 {
			index += uint64(-size)
			continue
		}
		index++
		f.Note(nil, &registry.Changes{Index: index, Machines: make([]registry.MachineChange, size)})
	}
	return f
}

func TestAFeedForgetsTheOldestFirst(t *testing.T) {
	many := make([]int, 3*MaxCommits+7)
	for i := range many {
		many[i] = 1
	}
	full := slices.Repeat([]int{MaxChanged}, maxObjects/MaxChanged)
	for _, tt := range []struct {
		name  string
		feed  *Feed
		after uint64
		want  string
	}{
		{"of an empty feed", noted(), 0, "[]"},
		{"all commits", noted(1, 2, 3), 0, "[1 2]"},
		{"the commits that follow", noted(1, 2, 3), 1, "[2 3]"},
		{"none", noted(1, 2, 3), 3, "[]"},
		{"an index that is visible and not noted yet", noted(1), 2, "[]"},
		{"commits that change nothing, too", noted(1, 0, 0, 1), 1, "[2 3]"},
		{"a load of several commits, from nothing", noted(-5, 3, 1), 0, "[6 7]"},
		{"a load of several commits, from the index before it", noted(-5, 3, 1), 5, "unknown"},
		{"a load of several commits, from its index", noted(-5, 3, 1), 6, "[7]"},
		{"several commits that came as one, from the one before", noted(1, -3, 1), 1, "[5]"},
		{"several commits that came as one, from among them", noted(1, -3, 1), 3, "unknown"},
		{"the oldest commits that are remembered", noted(many...), uint64(len(many) - MaxCommits), fmt.Sprintf("[%d %d]", len(many)-MaxCommits+1, len(many)-MaxCommits+2)},
		{"forgotten commits", noted(many...), uint64(len(many) - MaxCommits - 1), "unknown"},
		{"as many objects as fit", noted(full...), 0, "[1 2]"},
		{"one object too many", noted(append(full, 1)...), 0, "unknown"},
		{"one object too many, after the forgotten commit", noted(append(full, 1)...), 1, "[2 3]"},
		{"a commit of MaxChanged objects", noted(1, MaxChanged, 1), 1, "[2 3]"},
		{"a commit that is too large", noted(1, MaxChanged+1, 1), 1, "unknown"},
		{"after a commit that is too large", noted(1, MaxChanged+1, 1), 2, "[3]"},
		{"at a commit that is too large", noted(1, MaxChanged+1), 2, "[]"},
	} {
		commits, more, ok := tt.feed.after(tt.after, 2)
		got := "unknown"
		if ok {
			var indexes []uint64
			for _, c := range commits {
				indexes = append(indexes, c.Index)
			}
			got = fmt.Sprint(indexes)
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
		if (more != nil) != (ok && len(commits) == 0) {
			t.Errorf("%s: more is %v", tt.name, more)
		}
	}
}

// Note takes the same time however large the commit is and however many clients
// watch.
func BenchmarkNote(b *testing.B) {
	f := new(Feed)
	c := &registry.Changes{Machines: make([]registry.MachineChange, 1)}
	b.ReportAllocs()
	for i := range b.N {
		changes := *c
		changes.Index = uint64(i + 1)
		f.Note(nil, &changes)
	}
}
