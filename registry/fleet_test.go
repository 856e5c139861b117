package registry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// checkTree faults nodes that are empty, too long, out of order, under another
// entry than their first, or leaves that are not all equally deep. It returns how
// many leaves and entries there are.
func checkTree[E any](t testing.TB, root *tree[E], cmp func(a, b E) int) (leaves int, entries []E) {
	t.Helper()
	depth := -1
	var check func(n *tree[E], level int)
	check = func(n *tree[E], level int) {
		if len(n.entries)+len(n.kids) == 0 || len(n.entries) > maxLeaf || len(n.kids) > maxKids || len(n.entries) > 0 && n.kids != nil {
			t.Errorf("a node of %d entries and %d kids", len(n.entries), len(n.kids))
		}
		if room := cap(n.entries) - len(n.entries); room > 1 {
			t.Errorf("a leaf of %d entries has room for %d more", len(n.entries), room)
		}
		for _, k := range n.kids {
			at := len(entries)
			if check(k.tree, level+1); cmp(k.first, entries[at]) != 0 {
				t.Errorf("a kid that begins with %v stands under %v", entries[at], k.first)
			}
		}
		if n.kids == nil {
			entries = append(entries, n.entries...)
			if leaves++; depth < 0 {
				depth = level
			} else if level != depth {
				t.Errorf("leaves stand at levels %d and %d", depth, level)
			}
		}
	}
	if root != nil {
		check(root, 0)
	}
	for i := 1; i < len(entries); i++ {
		if cmp(entries[i-1], entries[i]) >= 0 {
			t.Errorf("%v stands before %v", entries[i-1], entries[i])
		}
	}
	return leaves, entries
}

// checkFleet faults trees in disorder, and places that are not the machines'. It
// returns how many leaves of machines there are.
func checkFleet(t testing.TB, s *Snapshot) (leaves int) {
	t.Helper()
	f := s.fleet
	leaves, slots := checkTree(t, f.machines, func(a, b slot) int { return cmp.Compare(a.number, b.number) })
	for o := range numOrders {
		want := make(map[uint64]place)
		for _, sl := range slots {
			if key, ok := sl.machine.key(o); ok {
				want[sl.number] = place{key, sl.machine.number}
			}
		}
		_, places := checkTree(t, f.orders[o], func(a, b place) int {
			return comparePlaces(o, a, b, func() int { return strings.Compare(f.machine(a.number).ID, f.machine(b.number).ID) })
		})
		for _, p := range places {
			if want[p.number] != p {
				t.Errorf("order %d: a place %v, want %v", o, p, want[p.number])
			}
		}
		equal(t, fmt.Sprint("places in order ", o), len(places), len(want))
	}
	used := make(map[metadataID]bool)
	for _, sl := range slots {
		if m := sl.machine; !m.Gone() && m.sum != 0 {
			used[metadataID{m.app, m.sum}] = true
		}
	}
	_, rows := checkTree(t, f.metadata, compareRows)
	checkTree(t, f.pairs, posting.compare)
	for _, r := range rows {
		if !used[r.metadataID] {
			t.Errorf("metadata row %v is no machine's", r.metadataID)
		}
	}
	equal(t, "metadata rows", len(rows), len(used))
	return leaves
}

// Leaves split, join and go, and always hold each machine once in each order.
func TestFleetsHoldWhatIsPut(t *testing.T) {
	for seed := range uint64(4 * *soak) {
		d := newDraw(seed)
		s := NewStore(nil)
		mustApply(t, s, PutApp{App{Network: 1, Name: "web"}}, PutApp{App{Network: 2, Name: "db"}})
		holds := make(map[int]*Machine)
		draw := func() *Machine {
			i := d.IntN(3000)
			m := numbered(i, pick(d, "started", "stopped", "stopped", "destroyed"))
			m.ID = fmt.Sprintf("%x", i*7919) // so that ids and addresses are in two orders
			m.Region = pick(d, "ams", "iad")
			if i%3 == 0 {
				m.Network, m.App, m.Address = 2, "db", Network(2).address([]byte{byte(i), byte(i >> 8)})
			}
			if i%2 == 0 {
				m.Metadata = []Pair{{"role", fmt.Sprint(i % 5)}}
			}
			holds[i] = m
			return m
		}
		most := 0
		for round := range 40 {
			var events []Event
			if n := pick(d, 1, 3, 70, 700); round%10 < 7 { // grow, then shrink
				put := map[string]bool{}
				for range n {
					// Two of one id in a batch could both be there: one gone, one not.
					if m := draw(); !put[m.ID] {
						put[m.ID] = true
						events = append(events, PutMachine{m})
					} else {
						for _, e := range events {
							if e := e.(PutMachine); e.ID == m.ID {
								*e.Machine = *m
							}
						}
					}
				}
			} else {
				for range len(holds) / 2 {
					i := d.IntN(3000)
					if m := holds[i]; m != nil {
						events = append(events, DeleteMachine{m.Network, m.App, m.ID})
						delete(holds, i)
					}
				}
			}
			if round == 39 {
				events, holds = []Event{DeleteApp{1, "web"}, DeleteApp{2, "db"}}, nil
			}
			mustApply(t, s, events...)
			snap := s.Snapshot()
			most = max(most, checkFleet(t, snap))
			var got, want []string
			live := 0
			for a := range snap.Apps() {
				for m := range snap.Machines(a) {
					got = append(got, show(m))
				}
			}
			for _, m := range holds {
				want = append(want, show(m))
				if m.Gone() {
					continue
				}
				live++
				if got := snap.Machine(m.ID); got == nil || show(got) != show(m) || snap.MachineAt(m.Address) != got {
					t.Fatalf("seed %d round %d: %v is found as %v and, by its address, %v", seed, round, show(m), show(got), show(snap.MachineAt(m.Address)))
				}
			}
			if sorted(got) != sorted(want) {
				t.Errorf("machines too many:\n%s\nmachines missing:\n%s", sorted(without(got, want)), sorted(without(want, got)))
			}
			equal(t, "machines by network", len(slices.Collect(snap.MachinesIn(1)))+len(slices.Collect(snap.MachinesIn(2))), live)
			if t.Failed() {
				t.Fatalf("seed %d round %d", seed, round)
			}
		}
		if most < 50 {
			t.Errorf("the most leaves there were is %d: the test does not test splitting", most)
		}
		if f := s.Snapshot().fleet; f != (fleet{last: f.last, indexes: f.indexes}) {
			t.Errorf("of an empty registry is left: %v", f)
		}
	}
}

// A machine that stops or starts stays where it is in every order, and no table
// is written either.
func TestAChangeOfStateLeavesOrdersAndTablesAlone(t *testing.T) {
	s, machines := loaded(t, 500)
	before := s.Snapshot()
	m := *machines[123]
	m.State = "stopped"
	mustApply(t, s, PutMachine{&m})
	after := s.Snapshot()
	if got := after.Machine(m.ID); got.State != "stopped" {
		t.Fatalf("%v is %s", got, got.State)
	}
	want := before.fleet
	want.machines, want.indexes = after.fleet.machines, after.fleet.indexes
	if after.fleet != want {
		t.Errorf("of %+v\nbecame %+v", before.fleet, after.fleet)
	}
	if after.db != before.db || after.txn != before.txn {
		t.Error("tables were written")
	}
}
