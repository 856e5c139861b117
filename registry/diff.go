package registry

import (
	"cmp"
	"slices"
)

// Diff returns the events that turn the registry of s into f; none if they are
// the same. f must be valid. The machines in the events are those of f.
func (s *Snapshot) Diff(f *Facts) []Event {
	var events []Event
	add := func(e Event) { events = append(events, e) }
	for k := range numKinds {
		if k == KindMachine {
			s.diffMachines(f, add)
			continue
		}
		wanted := make(map[Key]bool)
		kinds[k].each(f, func(fact Fact) bool {
			key := fact.Key()
			wanted[key] = true
			if o := s.find(key); o == nil || !fact.equal(o) {
				add(Put(fact))
			}
			return true
		})
		for o := range s.all(k) {
			if key := o.Key(); !wanted[key] {
				add(Delete(key))
			}
		}
	}
	return events
}

func (s *Snapshot) diffMachines(f *Facts, add func(Event)) {
	wanted := make(map[AppKey][]*Machine, len(f.Apps))
	for _, m := range f.Machines {
		wanted[m.AppKey()] = append(wanted[m.AppKey()], m)
	}
	for i := range f.Apps {
		key := f.Apps[i].AppKey()
		if have := s.App(key.Network, key.Name); have != nil {
			s.diffApp(have, wanted[key], add)
			continue
		}
		for _, m := range wanted[key] {
			add(Put(m))
		}
	}
}

// diffApp puts all machines of an id, or deletes them, if any is not as it was.
func (s *Snapshot) diffApp(a *App, want []*Machine, add func(Event)) {
	type key struct {
		id  string
		sum uint64 // 0 if not gone
	}
	keyOf := func(m *Machine) key {
		if m.Gone() {
			return key{m.ID, m.contentSum()}
		}
		return key{m.ID, 0}
	}
	listed := make(map[string]bool, len(want)) // ids, and whether they changed
	wanted := make(map[key]*Machine, len(want))
	for _, m := range want {
		listed[m.ID] = false
		wanted[keyOf(m)] = m
	}
	had := make(map[key]bool, len(want))
	var deleted *Machine
	for o := range s.Machines(a) {
		k := key{o.ID, 0}
		if o.Gone() {
			k.sum = o.sum
		}
		had[k] = true
		if _, ok := listed[o.ID]; !ok {
			if deleted == nil || deleted.ID != o.ID {
				add(Event{Fact: o, Delete: true})
				deleted = o
			}
		} else if m := wanted[k]; m == nil || !m.equal(o) {
			listed[o.ID] = true
		}
	}
	for k := range wanted {
		if !had[k] {
			listed[k.id] = true
		}
	}
	for _, m := range want {
		if listed[m.ID] {
			add(Put(m))
		}
	}
}

// Facts returns all that s holds. Its machines are shared with s and must not be
// changed.
func (s *Snapshot) Facts() *Facts {
	return s.factsOf(KindNetwork, KindApp, KindMachine, KindPeer, KindFlycast, KindRegion, KindRTT)
}

// factsOf returns all objects of some kinds.
func (s *Snapshot) factsOf(of ...Kind) *Facts {
	f := new(Facts)
	for _, k := range of {
		for fact := range s.all(k) {
			kinds[k].add(f, fact)
		}
	}
	return f
}

// A Loss is what a network loses of its machines that are not gone.
type Loss struct {
	Network  Network
	Lost, Of int // machines
}

// Halved returns the networks that would lose more than half of their machines
// by events, in ascending order. A machine that stays in its network under
// another app is not lost, and neither is one whose state becomes a gone one: its
// source says so, and has not left it out. A source that replaces a whole registry
// should ask twice before that.
func (s *Snapshot) Halved(events []Event) (halved []Loss) {
	type machine struct {
		network Network
		id      string
	}
	lost := make(map[machine]bool)
	for _, e := range events {
		if !e.Delete {
			continue
		}
		switch k := e.Fact.Key(); k.Kind {
		case KindMachine:
			// The id may be a gone machine's as well as one's that is not.
			if m := s.Machine(k.ID); m != nil && m.Network == k.Network && m.App == k.Name {
				lost[machine{m.Network, m.ID}] = true
			}
		case KindApp:
			for m := range s.Machines(s.App(k.Network, k.Name)) {
				if !m.Gone() {
					lost[machine{m.Network, m.ID}] = true
				}
			}
		}
	}
	if len(lost) == 0 {
		return nil
	}
	for _, e := range events {
		if m, ok := e.Fact.(*Machine); ok && !e.Delete {
			delete(lost, machine{m.Network, m.ID})
		}
	}
	count := make(map[Network]int)
	for m := range lost {
		count[m.network]++
	}
	for network, n := range count {
		of := 0
		for range s.MachinesIn(network) {
			of++
		}
		if 2*n > of {
			halved = append(halved, Loss{network, n, of})
		}
	}
	slices.SortFunc(halved, func(a, b Loss) int { return cmp.Compare(a.Network, b.Network) })
	return halved
}
