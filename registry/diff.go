package registry

import "slices"

// Diff returns the events that turn the registry of s into f, in no order; none
// if they are the same. f must be valid.
func (s *Snapshot) Diff(f *Facts) []Event {
	var events []Event
	put := func(e Event) { events = append(events, e) }
	s.diffNetworks(f, put)

	apps := make(map[AppKey]bool, len(f.Apps))
	for _, a := range f.Apps {
		apps[AppKey{a.Network, a.Name}] = true
		if s.App(a.Network, a.Name) == nil {
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
	byApp := make(map[AppKey][]*Machine, len(f.Apps))
	for _, m := range f.Machines {
		k := AppKey{m.Network, m.App}
		byApp[k] = append(byApp[k], m)
	}
	for _, a := range f.Apps {
		want := byApp[AppKey{a.Network, a.Name}]
		have := s.App(a.Network, a.Name)
		if have == nil {
			for _, m := range want {
				put(PutMachine{m})
			}
			continue
		}
		ids := make(map[string][]*Machine, len(want))
		for _, m := range want {
			ids[m.ID] = append(ids[m.ID], m)
		}
		old := make(map[string][]*Machine, len(want))
		for m := range s.Machines(have) {
			old[m.ID] = append(old[m.ID], m)
			if ids[m.ID] == nil && len(old[m.ID]) == 1 {
				put(DeleteMachine{a.Network, a.Name, m.ID})
			}
		}
		for id, ms := range ids {
			if !sameMachines(old[id], ms) {
				for _, m := range ms {
					put(PutMachine{m})
				}
			}
		}
	}
}

// sameMachines reports whether a and b, all of one app and id, are the same set.
func sameMachines(a, b []*Machine) bool {
	for _, m := range a {
		if !slices.ContainsFunc(b, m.equal) {
			return false
		}
	}
	for _, m := range b {
		if !slices.ContainsFunc(a, m.equal) {
			return false
		}
	}
	return true
}

func (s *Snapshot) diffPeers(f *Facts, put func(Event)) {
	want := make(map[AppKey]bool, len(f.Peers))
	for _, p := range f.Peers {
		want[AppKey{p.Network(), p.Name}] = true
		if o := s.Peer(p.Network(), p.Name); o == nil || *o != p {
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
	want := make(map[string]bool, len(f.Flycast))
	for _, c := range f.Flycast {
		want[string(addressKey(c.Address))] = true
		if o := s.FlycastAt(c.Address); o == nil || o.App != c.App || o.Owner != c.Owner {
			put(PutFlycast{c})
		}
	}
	for c := range s.Flycast() {
		if !want[string(addressKey(c.Address))] {
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
