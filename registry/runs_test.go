package registry

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// checkRuns faults runs that are empty, too long, or out of order.
func checkRuns(t testing.TB, s *Snapshot) (rows int) {
	t.Helper()
	before := []byte{}
	for r := range all[run[*Machine]](s.txn, tMachines, rowID, nil) {
		rows++
		if len(r.items) == 0 || len(r.items) > maxRun {
			t.Errorf("run %x has %d items", r.last, len(r.items))
		}
		if bytes.Compare(before, r.last) >= 0 {
			t.Errorf("run %x comes after %x", r.last, before)
		}
		at := before
		for _, m := range r.items {
			key, ok := m.appendKey(r.order(), nil)
			if !ok || bytes.Compare(key, at) <= 0 || bytes.Compare(key, r.last) > 0 {
				t.Errorf("%v at %x does not belong after %x in run %x", m, key, at, r.last)
			}
			at = key
		}
		before = r.last
	}
	return rows
}

// Runs split, empty and go, and always hold each machine once in each order.
func TestRunsHoldWhatIsPut(t *testing.T) {
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
			most = max(most, checkRuns(t, snap))
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
			t.Errorf("the most runs there were is %d: the test does not test splitting", most)
		}
		if rows := checkRuns(t, s.Snapshot()); rows != 0 {
			t.Errorf("%d runs of an empty registry are left", rows)
		}
	}
}
