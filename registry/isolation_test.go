package registry

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// Each test is named for the anomaly that it forbids (Adya, Weak Consistency,
// 1999; Berenson et al., A Critique of ANSI SQL Isolation Levels, 1995).

// race runs write n times in each of writers goroutines. Meanwhile readers goroutines
// call read again and again.
func race(writers, n, readers int, write func(writer, i int), read func()) {
	var writing, reading sync.WaitGroup
	var done atomic.Bool
	for range readers {
		reading.Go(func() {
			for !done.Load() {
				read()
				runtime.Gosched()
			}
			read()
		})
	}
	for w := range writers {
		writing.Go(func() {
			for i := range n {
				write(w, i)
			}
		})
	}
	writing.Wait()
	done.Store(true)
	reading.Wait()
}

func mustApply(t testing.TB, s *Store, events ...Event) *Changes {
	t.Helper()
	c, err := s.Apply(events)
	if err != nil {
		t.Error(err)
	}
	return c
}

// numbered returns machine i of app web, which has an address of its own.
func numbered(i int, state string) *Machine {
	return &Machine{
		Network: 1, App: "web", ID: fmt.Sprintf("m%d", i), State: state, Region: "ams",
		Address: Network(1).address([]byte{1, 0, 0, 0, 0, 0, 0, 0, byte(i >> 8), byte(i)}),
	}
}

// A batch that is refused is never seen, not even while it is checked.
func TestNoDirtyRead(t *testing.T) {
	s := NewStore(nil)
	mustApply(t, s, Put(&App{Network: 1, Name: "web"}), Put(numbered(0, "stopped")))
	race(2, 100, 2, func(w, i int) {
		clash := numbered(1+w, "started")
		clash.Address = numbered(0, "").Address
		if _, err := s.Apply([]Event{Put(numbered(0, "started")), Put(numbered(9, "started")), Put(clash)}); err == nil {
			t.Error("two machines were given one address")
		}
	}, func() {
		snap := s.Snapshot()
		if m := snap.Machine("m0"); m.State != "stopped" {
			t.Errorf("a refused batch is seen: m0 is %s", m.State)
		}
		if m := snap.Machine("m9"); m != nil {
			t.Errorf("a refused batch is seen: %v exists", m)
		}
		if snap.Index != 1 {
			t.Errorf("a refused batch is seen: the index is %d", snap.Index)
		}
	})
}

// No writer undoes a change of another.
func TestNoLostUpdate(t *testing.T) {
	const writers, each = 4, 50
	s := NewStore(nil)
	mustApply(t, s, Put(&App{Network: 1, Name: "web"}))
	race(writers, each, 1, func(w, i int) {
		mustApply(t, s, Put(numbered(w*each+i, "started")))
	}, func() {})
	snap := s.Snapshot()
	stats := snap.Stats()
	if stats.Total() != writers*each || snap.Index != 1+writers*each {
		t.Errorf("%d machines at index %d, want %d at %d", stats.Total(), snap.Index, writers*each, 1+writers*each)
	}
	for i := range writers * each {
		if snap.Machine(fmt.Sprintf("m%d", i)) == nil {
			t.Errorf("machine m%d is missing", i)
		}
	}
}

// Two writers that each put two objects never leave one of each.
func TestNoDirtyWrite(t *testing.T) {
	s := NewStore(nil)
	mustApply(t, s, Put(&App{Network: 1, Name: "web"}))
	states := []string{"started", "stopped", "suspended"}
	race(3, 60, 2, func(w, i int) {
		mustApply(t, s, Put(numbered(0, states[w])), Put(numbered(1, states[w])))
	}, func() {
		snap := s.Snapshot()
		if a, b := snap.Machine("m0"), snap.Machine("m1"); (a == nil) != (b == nil) || a != nil && a.State != b.State {
			t.Errorf("writers are mixed: %s and %s", show(a), show(b))
		}
	})
}

// A second read from a snapshot returns the same as the first.
func TestNoNonRepeatableRead(t *testing.T) {
	s := NewStore(nil)
	mustApply(t, s, Put(&App{Network: 1, Name: "web"}), Put(numbered(0, "stopped")))
	states := []string{"started", "stopped", "destroyed"}
	race(2, 100, 2, func(w, i int) {
		mustApply(t, s, Put(numbered(0, states[(w+i)%3])))
	}, func() {
		snap := s.Snapshot()
		was := show(snap.Machine("m0"))
		for range 5 {
			runtime.Gosched()
			if is := show(snap.Machine("m0")); is != was {
				t.Errorf("one snapshot returns %s and then %s", was, is)
			}
		}
	})
}

// A list read twice from a snapshot has the same members, and as many as the snapshot
// counts, in each of the indexes.
func TestNoPhantom(t *testing.T) {
	s := NewStore(nil)
	mustApply(t, s, Put(&App{Network: 1, Name: "web"}))
	race(2, 100, 2, func(w, i int) {
		if i%3 != 2 {
			m := numbered(w*100+i, "started")
			m.Metadata = []Pair{{"fly_process_group", "app"}}
			mustApply(t, s, Put(m))
		} else {
			mustApply(t, s, Delete(Key{Kind: KindMachine, Network: 1, Name: "web", ID: numbered(w*100+i-1, "").ID}))
		}
	}, func() {
		snap := s.Snapshot()
		a, stats := snap.App(1, "web"), snap.Stats()
		for range 3 {
			for what, got := range map[string]int{
				"Machines":         len(slices.Collect(snap.Machines(a))),
				"MachinesIn":       len(slices.Collect(snap.MachinesIn(1))),
				"MachinesInRegion": len(slices.Collect(snap.MachinesWhere(a, Filter{Regions: []string{"ams"}}))),
				"MachinesInGroup":  len(slices.Collect(snap.MachinesWhere(a, Filter{Groups: []string{"app"}}))),
				"MachinesWith":     len(slices.Collect(snap.MachinesWhere(a, Filter{Metadata: []Pair{{"fly_process_group", "app"}}}))),
			} {
				if got != stats.Total() {
					t.Errorf("%s yields %d machines of %d in one snapshot", what, got, stats.Total())
				}
			}
			runtime.Gosched()
		}
	})
}

// Of two objects that always change together, a snapshot has both changes or neither,
// however long after each other they are read.
func TestNoReadSkew(t *testing.T) {
	s := NewStore(nil)
	mustApply(t, s, Put(&App{Network: 1, Name: "web"}))
	home, away := numbered(0, "").Address, numbered(1, "").Address
	at := func(id string, a netip.Addr, i int) Event {
		m := numbered(0, "started")
		m.ID, m.Address, m.Metadata = id, a, []Pair{{"turn", fmt.Sprint(i)}}
		return Put(m)
	}
	race(2, 100, 2, func(w, i int) { // a and b exchange their addresses
		if i%2 == 0 {
			mustApply(t, s, at("a", home, i), at("b", away, i), Put(&Peer{Name: "p", Address: numbered(2, "").Address}))
		} else {
			mustApply(t, s, at("b", home, i), at("a", away, i), Put(&Peer{Name: "p", Address: numbered(3, "").Address}))
		}
	}, func() {
		snap := s.Snapshot()
		a := snap.Machine("a")
		if a == nil {
			return
		}
		runtime.Gosched()
		b := snap.Machine("b")
		if a.Address == b.Address || a.Lookup("turn") != b.Lookup("turn") {
			t.Errorf("a is seen as %s, but b as %s", show(a), show(b))
		}
		if snap.MachineAt(a.Address) != a || snap.MachineAt(b.Address) != b {
			t.Errorf("the index of addresses is not of the same commit as that of ids")
		}
		if (snap.PeerAt(numbered(2, "").Address) != nil) != (a.Address == home) {
			t.Errorf("the peers are not of the same commit as the machines")
		}
	})
}

// Of several writers that all see an address, id or name free, one gets it.
func TestNoWriteSkewOnUniqueness(t *testing.T) {
	s := NewStore(nil)
	mustApply(t, s, Put(&App{Network: 1, Name: "web"}), Put(&App{Network: 1, Name: "db"}))
	const rounds = 50
	var addresses, ids, names [rounds]atomic.Int32
	race(4, rounds, 0, func(w, i int) {
		m := numbered(i, "started")
		m.ID = fmt.Sprintf("w%d-%d", w, i)
		if _, err := s.Apply([]Event{Put(m)}); err == nil {
			addresses[i].Add(1)
		}
		m = numbered(1000+w*rounds+i, "started")
		m.ID, m.App = fmt.Sprintf("id%d", i), []string{"web", "db"}[w%2]
		m.Metadata = []Pair{{"w", fmt.Sprint(w)}}
		if _, err := s.Apply([]Event{Put(m)}); err == nil {
			ids[i].Add(1)
		}
		if _, err := s.Apply([]Event{Put(&NetworkName{Network(10 + w*rounds + i), fmt.Sprintf("n%d", i)})}); err == nil {
			names[i].Add(1)
		}
	}, func() {})
	snap := s.Snapshot()
	apps := map[string]int{}
	for m := range snap.MachinesIn(1) {
		apps[m.ID]++
	}
	for i := range rounds {
		if n := addresses[i].Load(); n != 1 {
			t.Errorf("%d of 4 writers got the one address", n)
		}
		if n := ids[i].Load(); n != 2 { // the two writers of one app replace each other
			t.Errorf("%d of 4 writers of two apps got the one id, want the 2 of one app", n)
		}
		if n := names[i].Load(); n != 1 {
			t.Errorf("%d of 4 writers got the one name", n)
		}
		if n := apps[fmt.Sprintf("id%d", i)]; n != 1 {
			t.Errorf("%d machines have one id", n)
		}
	}
}

// A batch is seen whole: in every snapshot, all its objects or none.
func TestNoTornBatch(t *testing.T) {
	s := NewStore(nil)
	const size = 20
	race(2, 40, 2, func(w, i int) {
		app := fmt.Sprintf("app-%d", w)
		if i%2 == 1 {
			mustApply(t, s, Delete(Key{Kind: KindApp, Network: 1, Name: app}))
			return
		}
		events := []Event{Put(&App{Network: 1, Name: app})}
		for j := range size {
			m := numbered(w*size+j, "started")
			m.App = app
			events = append(events, Put(m))
		}
		events = append(events, Put(&Peer{Name: app, Address: numbered(200+w+i, "").Address}))
		mustApply(t, s, events...)
	}, func() {
		snap := s.Snapshot()
		machines, apps := 0, 0
		for a := range snap.Apps() {
			apps++
			n := len(slices.Collect(snap.Machines(a)))
			machines += n
			if n != size {
				t.Errorf("app %s has %d of %d machines", a.Name, n, size)
			}
			if snap.Peer(1, a.Name) == nil {
				t.Errorf("app %s exists without the peer of its batch", a.Name)
			}
		}
		if stats := snap.Stats(); stats.Apps != apps || stats.Total() != machines {
			t.Errorf("the snapshot counts %d apps and %d machines, and lists %d and %d", stats.Apps, stats.Total(), apps, machines)
		}
	})
}

// publish and notify see every commit, in order, one at a time, before its Apply
// returns; readers of the store see it between the two.
func TestPublishAndNotifySeeCommitsInOrderBeforeApplyReturns(t *testing.T) {
	var running atomic.Int32
	var seen atomic.Uint64
	var s *Store
	s = NewStore(func(snap *Snapshot, c *Changes) {
		if running.Add(1) != 1 {
			t.Error("two commits are published at once")
		}
		runtime.Gosched()
		if snap.Index != c.Index || snap.Index != seen.Load()+1 {
			t.Errorf("commit %d is published with the changes of %d after commit %d", snap.Index, c.Index, seen.Load())
		}
		if shown := s.Snapshot(); shown.Index != c.Index-1 {
			t.Errorf("commit %d is published with the store at %d", c.Index, shown.Index)
		}
		for _, ch := range c.Machines {
			if ch.After != nil && snap.Machine(ch.After.ID) != ch.After {
				t.Errorf("the changes of commit %d have %v, but its snapshot has another", c.Index, ch.After)
			}
		}
		seen.Store(snap.Index)
		running.Add(-1)
	})
	var notified atomic.Uint64
	s.Notify(func(snap *Snapshot, c *Changes) {
		if s.Snapshot() != snap || snap.Index != c.Index || notified.Load() != c.Index-1 || seen.Load() != c.Index {
			t.Errorf("commit %d is notified after %d, with the store at %d and %d published", c.Index, notified.Load(), s.Snapshot().Index, seen.Load())
		}
		notified.Store(c.Index)
	})
	mustApply(t, s, Put(&App{Network: 1, Name: "web"}))
	race(4, 50, 1, func(w, i int) {
		if c := mustApply(t, s, Put(numbered(w, []string{"started", "stopped"}[i%2]))); c != nil && (seen.Load() < c.Index || notified.Load() < c.Index) {
			t.Errorf("Apply returned commit %d before it was published and notified", c.Index)
		}
	}, func() {
		if at, snap := notified.Load(), s.Snapshot(); snap.Index < at {
			t.Errorf("commit %d is notified, but the store is at %d", at, snap.Index)
		}
		if snap, at := s.Snapshot(), seen.Load(); at < snap.Index {
			t.Errorf("the store is at %d, but only %d is published", snap.Index, at)
		}
	})
	if want := uint64(1 + 4*50); seen.Load() != want || notified.Load() != want {
		t.Errorf("%d commits are published and %d notified, want %d", seen.Load(), notified.Load(), want)
	}
}
