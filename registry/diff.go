package registry

import (
	"net/netip"
	"slices"
)

// Diff returns the events that turn the registry of s into f; none if they are
// the same. f must be valid. The machines in the events are those of f.
func (s *Snapshot) Diff(f *Facts) []Event {
	var events []Event
	put := func(e Event) { events = append(events, e) }
	s.diffNetworks(f, put)

	apps := make(map[AppKey]bool, len(f.Apps))
	for _, a := range f.Apps {
		apps[AppKey{a.Network, a.Name}] = true
		if o := s.App(a.Network, a.Name); o == nil || a.Modified != 0 && a.Modified != o.Modified {
			put(PutApp{a})
		}
	}
	for a := range s.Apps() {
		if !apps[AppKey{a.Network, a.Name}] {
			put(DeleteApp{a.Network, a.Name})
		}
	}
	s.diffMachines(f, put)
	s.diffPeers(f, put)
	s.diffFlycast(f, put)
	s.diffGeography(f, put)
	return events
}

func (s *Snapshot) diffNetworks(f *Facts, put func(Event)) {
	names := make(map[Network]string, len(f.Networks))
	for _, n := range f.Networks {
		names[n.Network] = n.Name
	}
	had := make(map[Network]string)
	for n := range s.Networks() {
		if n.Name != "" {
			had[n.Network] = n.Name
			if names[n.Network] != n.Name {
				put(DeleteNetwork{n.Network}) // also before a renaming: two may exchange names
			}
		}
	}
	for _, n := range f.Networks {
		if had[n.Network] != n.Name {
			put(PutNetwork{n})
		}
	}
}

func (s *Snapshot) diffMachines(f *Facts, put func(Event)) {
	wanted := make(map[AppKey][]*Machine, len(f.Apps))
	for _, m := range f.Machines {
		k := AppKey{m.Network, m.App}
		wanted[k] = append(wanted[k], m)
	}
	for _, a := range f.Apps {
		want := wanted[AppKey{a.Network, a.Name}]
		if have := s.App(a.Network, a.Name); have != nil {
			s.diffApp(have, want, put)
			continue
		}
		for _, m := range want {
			put(PutMachine{m})
		}
	}
}

// diffApp puts all machines of an id, or deletes them, if any is not as it was.
func (s *Snapshot) diffApp(a *App, want []*Machine, put func(Event)) {
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
				put(DeleteMachine{a.Network, a.Name, o.ID})
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
			put(PutMachine{m})
		}
	}
}

func (s *Snapshot) diffPeers(f *Facts, put func(Event)) {
	want := make(map[AppKey]bool, len(f.Peers))
	for _, p := range f.Peers {
		want[AppKey{p.Network(), p.Name}] = true
		if o := s.Peer(p.Network(), p.Name); o == nil || !p.equal(o) {
			put(PutPeer{p})
		}
	}
	for p := range s.Peers() {
		if !want[AppKey{p.Network(), p.Name}] {
			put(DeletePeer{p.Network(), p.Name})
		}
	}
}

func (s *Snapshot) diffFlycast(f *Facts, put func(Event)) {
	want := make(map[netip.Addr]bool, len(f.Flycast))
	for _, c := range f.Flycast {
		want[c.Address] = true
		if o := s.FlycastAt(c.Address); o == nil || o.App != c.App || o.Owner != c.Owner {
			put(PutFlycast{c})
		}
	}
	for c := range s.Flycast() {
		if !want[c.Address] {
			put(DeleteFlycast{c.Address})
		}
	}
}

func (s *Snapshot) diffGeography(f *Facts, put func(Event)) {
	regions := make(map[string]Region, len(f.Regions))
	for _, r := range f.Regions {
		regions[r.Code] = r
	}
	for r := range s.Regions() {
		if _, ok := regions[r.Code]; !ok {
			put(DeleteRegion{r.Code})
		} else if regions[r.Code] == *r {
			delete(regions, r.Code)
		}
	}
	for _, r := range f.Regions {
		if _, ok := regions[r.Code]; ok {
			put(PutRegion{r})
		}
	}
	type pair struct{ from, to string }
	rtts := make(map[pair]uint32, len(f.RTTs))
	for _, r := range f.RTTs {
		rtts[pair{r.From, r.To}] = r.MS
	}
	for r := range s.RTTs() {
		if ms, ok := rtts[pair{r.From, r.To}]; !ok {
			put(DeleteRTT{r.From, r.To})
		} else if ms == r.MS {
			delete(rtts, pair{r.From, r.To})
		}
	}
	for _, r := range f.RTTs {
		if _, ok := rtts[pair{r.From, r.To}]; ok {
			put(PutRTT{r})
		}
	}
}

// Facts returns all that s holds. The machines are those of s, which nobody may
// change.
func (s *Snapshot) Facts() *Facts {
	f := &Facts{
		Apps:    collect(s.Apps()),
		Peers:   collect(s.Peers()),
		Flycast: collect(s.Flycast()),
		Regions: collect(s.Regions()),
		RTTs:    collect(s.RTTs()),
	}
	for n := range s.Networks() {
		if n.Name != "" {
			f.Networks = append(f.Networks, n)
		}
	}
	for i := range f.Apps {
		f.Machines = slices.AppendSeq(f.Machines, s.Machines(&f.Apps[i]))
	}
	return f
}
