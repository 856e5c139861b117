package registry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/registry/index"
)

// inOrder returns the entries of tree, and fails the test if they are not sorted.
// Package index tests the nodes.
func inOrder[E any](t testing.TB, tree *index.Tree[E], cmp func(a, b E) int) []E {
	t.Helper()
	entries := slices.Collect(tree.From(func(E) bool { return false }))
	for i := 1; i < len(entries); i++ {
		if cmp(entries[i-1], entries[i]) >= 0 {
			t.Errorf("%v comes before %v", entries[i-1], entries[i])
		}
	}
	return entries
}

// checkMachineIndex fails the test if a tree is not sorted or has a wrong key. It returns
// how many machines there are.
func checkMachineIndex(t testing.TB, s *Snapshot) int {
	t.Helper()
	f := s.machines
	machines := inOrder(t, f.machines, func(a, b machineEntry) int { return cmp.Compare(a.number, b.number) })
	for o := range numOrders {
		want := make(map[uint64]orderEntry)
		for _, sl := range machines {
			if key, ok := sl.machine.key(o); ok {
				want[sl.number] = orderEntry{key, sl.machine.number}
			}
		}
		entries := inOrder(t, f.orders[o], func(a, b orderEntry) int {
			return o.compare(a, b, func() int { return strings.Compare(f.machine(a.number).ID, f.machine(b.number).ID) })
		})
		for _, p := range entries {
			if want[p.number] != p {
				t.Errorf("order %d: an entry %v, want %v", o, p, want[p.number])
			}
		}
		equal(t, fmt.Sprint("entries in order ", o), len(entries), len(want))
	}
	used := make(map[rowKey]bool)
	for _, sl := range machines {
		if m := sl.machine; !m.Gone() && m.sum != 0 {
			used[rowKey{m.app, m.sum}] = true
		}
	}
	rows := inOrder(t, f.metadata, compareRows)
	inOrder(t, f.pairs, pairEntry.compare)
	for _, r := range rows {
		if !used[r.rowKey] {
			t.Errorf("metadata row %v is no machine's", r.rowKey)
		}
	}
	equal(t, "metadata rows", len(rows), len(used))
	return len(machines)
}

// Leaves are split, joined and removed. They always hold each machine once in each order.
func TestTheMachineIndexHoldsWhatIsPut(t *testing.T) {
	for seed := range uint64(4 * *soak) {
		d := newDraw(seed)
		s := NewStore(nil)
		mustApply(t, s, Put(&App{Network: 1, Name: "web"}), Put(&App{Network: 2, Name: "db"}))
		holds := make(map[int]*Machine)
		draw := func() *Machine {
			i := d.IntN(6000)
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
			if n := pick(d, 1, 3, 140, 1400); round%10 < 7 { // grow, then shrink
				put := map[string]bool{}
				for range n {
					// A batch could put two of one id: one gone, one not.
					if m := draw(); !put[m.ID] {
						put[m.ID] = true
						events = append(events, Put(m))
					} else {
						for _, e := range events {
							if o := e.Fact.(*Machine); o.ID == m.ID {
								*o = *m
							}
						}
					}
				}
			} else {
				for range len(holds) / 2 {
					i := d.IntN(6000)
					if m := holds[i]; m != nil {
						events = append(events, Delete(Key{Kind: KindMachine, Network: m.Network, Name: m.App, ID: m.ID}))
						delete(holds, i)
					}
				}
			}
			if round == 39 {
				events, holds = []Event{Delete(Key{Kind: KindApp, Network: 1, Name: "web"}), Delete(Key{Kind: KindApp, Network: 2, Name: "db"})}, nil
			}
			mustApply(t, s, events...)
			snap := s.Snapshot()
			most = max(most, checkMachineIndex(t, snap))
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
				t.Errorf("there are also\n%s\nand there are not\n%s", sorted(without(got, want)), sorted(without(want, got)))
			}
			equal(t, "machines by network", len(slices.Collect(snap.MachinesIn(1)))+len(slices.Collect(snap.MachinesIn(2))), live)
			if t.Failed() {
				t.Fatalf("seed %d round %d", seed, round)
			}
		}
		if most < 1600 {
			t.Errorf("the most machines there were is %d: the test does not split many leaves", most)
		}
		if f := s.Snapshot().machines; f != (machineIndex{last: f.last, networks: f.networks}) {
			t.Errorf("an empty registry still has %v", f)
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
	mustApply(t, s, Put(&m))
	after := s.Snapshot()
	if got := after.Machine(m.ID); got.State != "stopped" {
		t.Fatalf("%v is %s", got, got.State)
	}
	want := before.machines
	want.machines, want.networks = after.machines.machines, after.machines.networks
	if after.machines != want {
		t.Errorf("of %+v\nbecame %+v", before.machines, after.machines)
	}
	if after.db != before.db || after.txn != before.txn {
		t.Error("tables were written")
	}
}
