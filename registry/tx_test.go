package registry

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
)

// A transaction has the effect of its batches applied one by one, or, if it is aborted,
// none. Modified is the commit that made an object as it is.
func TestTransactionsDoWhatTheirSimpleTwinDoes(t *testing.T) {
	for seed := range uint64(6 * *soak) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			d := newDraw(seed)
			tw := newTwin()
			var published []uint64
			s := NewStore(func(_ *Snapshot, c *Changes) { published = append(published, c.Index) })
			modified := make(map[string]uint64)
			for range 40 {
				before, beforeTwin, beforeModified := s.Snapshot(), tw, maps.Clone(modified)
				published = nil
				tx := s.Begin()
				var made []uint64
				for range 1 + d.IntN(4) {
					events := d.batch(tw, 6)
					next, faults := tw.apply(events)
					changes, err := tx.Apply(events)
					if got, want := faultLines(err), faultLines(faults.Err()); got != want {
						t.Fatalf("the events\n%s\nhave the faults\n%s\nwant\n%s", eventLines(events), got, want)
					}
					if err != nil {
						continue
					}
					if next.index != tw.index {
						made = append(made, changes.Index)
						noteModified(t, modified, tx.Snapshot())
					}
					tw = next
					checkSnapshot(t, tw, tx.Snapshot())
				}
				if s.Snapshot() != before || published != nil {
					t.Fatal("a transaction was visible before it was committed")
				}
				if d.one(3) {
					tx.Abort()
					tw, modified = beforeTwin, beforeModified
					made = nil
				} else {
					tx.Commit()
				}
				if !slices.Equal(published, made) {
					t.Fatalf("the commits %d were published, want %d", published, made)
				}
				checkSnapshot(t, tw, s.Snapshot())
				if t.Failed() {
					t.FailNow()
				}
			}
		})
	}
}

// noteModified checks Modified of all objects: it changes only with the object.
func noteModified(t testing.TB, at map[string]uint64, s *Snapshot) {
	t.Helper()
	now := make(map[string]uint64)
	note := func(object string, modified uint64) {
		want, ok := at[object]
		if !ok {
			want = s.Index
		}
		if modified != want {
			t.Errorf("in commit %d, %s is of commit %d, want %d", s.Index, object, modified, want)
		}
		now[object] = modified
	}
	for a := range s.Apps() {
		note(fmt.Sprint("app ", a.Network, a.Name), a.Modified)
		for m := range s.Machines(a) {
			if !m.Gone() {
				note("machine "+show(m), m.Modified)
			}
		}
	}
	for p := range s.Peers() {
		note("peer "+showPeer(p), p.Modified)
	}
	clear(at)
	maps.Copy(at, now)
}

func TestASourceCanNumberItsOwnCommits(t *testing.T) {
	var indexes []uint64
	s := NewStore(func(_ *Snapshot, c *Changes) { indexes = append(indexes, c.Index) })
	at := func(index uint64, events ...Event) {
		t.Helper()
		tx := s.Begin()
		c, err := tx.ApplyAt(index, events)
		if err != nil {
			t.Fatal(err)
		}
		if c.Index != index {
			t.Errorf("the changes are of commit %d, want %d", c.Index, index)
		}
		tx.Commit()
	}
	machine := func(modified uint64, state string) Event {
		return Put(&Machine{Network: 1, App: "web", ID: "m1", State: state, Region: "ams", Address: netip.MustParseAddr("fdaa:0:1::1"), Modified: modified})
	}
	at(7, Put(&App{Network: 1, Name: "web", Modified: 3}), machine(5, "started"))
	if m := s.Snapshot().Machine("m1"); m.Modified != 5 || s.Snapshot().App(1, "web").Modified != 3 {
		t.Errorf("the machine is of %d and the app of %d, want 5 and 3", m.Modified, s.Snapshot().App(1, "web").Modified)
	}
	at(9)
	if got := s.Snapshot(); got.Index != 9 || got.NetworkIndex(1) != 7 {
		t.Errorf("after an empty commit 9 the registry is at %d and its network at %d, want 9 and 7", got.Index, got.NetworkIndex(1))
	}
	at(12, machine(11, "started"))
	if m := s.Snapshot().Machine("m1"); m.Modified != 11 {
		t.Errorf("put again as it was by write 11, the machine is of %d", m.Modified)
	}
	if _, err := s.Apply([]Event{machine(0, "started")}); err != nil || s.Snapshot().Index != 12 {
		t.Errorf("put again without an index, the machine made commit %d, err %v", s.Snapshot().Index, err)
	}
	if c, err := s.Apply([]Event{machine(0, "stopped")}); err != nil || c.Index != 13 || s.Snapshot().Machine("m1").Modified != 13 {
		t.Errorf("stopped, the machine is of %d in commit %v, err %v", s.Snapshot().Machine("m1").Modified, c, err)
	}
	if want := []uint64{7, 9, 12, 13}; !slices.Equal(indexes, want) {
		t.Errorf("the commits %d were published, want %d", indexes, want)
	}
}

// A commit is published, then shown by the store, then notified.
func TestACommitIsPublishedBeforeTheStoreShowsIt(t *testing.T) {
	var published, notified uint64
	var s *Store
	s = NewStore(func(snap *Snapshot, c *Changes) {
		if s.Snapshot().Index != notified || snap.Index != c.Index {
			t.Errorf("commit %d is published with the store at %d, want %d", c.Index, s.Snapshot().Index, notified)
		}
		published = c.Index
	})
	s.Notify(func(snap *Snapshot, c *Changes) {
		if s.Snapshot() != snap || published != c.Index {
			t.Errorf("commit %d is notified with the store at %d and commit %d published", c.Index, s.Snapshot().Index, published)
		}
		notified = c.Index
	})
	tx := s.Begin()
	for _, name := range []string{"a", "b"} {
		if _, err := tx.Apply([]Event{Put(&App{Network: 1, Name: name})}); err != nil {
			t.Fatal(err)
		}
	}
	tx.Commit()
	if published != 2 || notified != 2 {
		t.Errorf("%d commits were published and %d notified, want 2", published, notified)
	}
}
