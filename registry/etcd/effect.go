package etcd

import "github.com/internaldns/internaldns/registry"

// settle decides on the dirty entries, and returns the events that bring a
// registry, which was as the mirror said before, to what it says now. bad is
// called for those that are not in effect, and were, or are new.
func (m *mirror) settle(d dirty, bad func(*entry)) []registry.Event {
	var events []registry.Event
	type machines struct {
		app registry.AppKey
		id  string
	}
	seen := make(map[machines]bool)
	for e := range d {
		if r, err := parseKey(e.key); err == nil {
			if r.kind == kindMachine {
				seen[machines{r.app(), r.id}] = true
			} else if m.entries[e.key] == nil || m.entries[e.key] == e {
				events = append(events, m.event(e, &r))
			}
		}
		if m.entries[e.key] != e {
			continue
		}
		before := e.why
		if e.why = m.decide(e); e.why == "" {
			delete(m.bad, e.key)
		} else {
			m.bad[e.key] = e
			if e.why != before {
				bad(e)
			}
		}
	}
	for of := range seen {
		n := len(events)
		if a := m.apps[of.app]; a != nil {
			for _, e := range a.machines[of.id] {
				if m.decide(e) == "" {
					events = append(events, registry.PutMachine{Machine: e.object.(*registry.Machine)})
				}
			}
		}
		if len(events) == n {
			events = append(events, registry.DeleteMachine{Network: of.app.Network, App: of.app.Name, ID: of.id})
		}
	}
	return events
}

// event returns what the entry, which is no machine's, means for the registry.
func (m *mirror) event(e *entry, r *ref) registry.Event {
	in := m.entries[e.key] == e && m.decide(e) == ""
	switch r.kind {
	case kindApp:
		if in {
			return registry.PutApp{App: *e.object.(*registry.App)}
		}
		return registry.DeleteApp{Network: r.network, Name: r.name}
	case kindPeer:
		if in {
			return registry.PutPeer{Peer: *e.object.(*registry.Peer)}
		}
		return registry.DeletePeer{Network: r.network, Name: r.name}
	case kindFlycast:
		if in {
			return registry.PutFlycast{Flycast: *e.object.(*registry.Flycast)}
		}
		return registry.DeleteFlycast{Address: r.addr} // puts replace it if another app has it
	case kindNetwork:
		if in {
			return registry.PutNetwork{NetworkName: *e.object.(*registry.NetworkName)}
		}
		return registry.DeleteNetwork{Network: r.network}
	case kindRegion:
		if in {
			return registry.PutRegion{Region: *e.object.(*registry.Region)}
		}
		return registry.DeleteRegion{Code: r.name}
	default:
		if in {
			return registry.PutRTT{RTT: *e.object.(*registry.RTT)}
		}
		return registry.DeleteRTT{From: r.name, To: r.id}
	}
}

// facts returns all that is in effect.
func (m *mirror) facts() *registry.Facts {
	f := new(registry.Facts)
	for _, e := range m.entries {
		if e.why != "" {
			continue
		}
		switch o := e.object.(type) {
		case *registry.App:
			f.Apps = append(f.Apps, *o)
		case *registry.Machine:
			f.Machines = append(f.Machines, o)
		case *registry.Peer:
			f.Peers = append(f.Peers, *o)
		case *registry.Flycast:
			f.Flycast = append(f.Flycast, *o)
		case *registry.NetworkName:
			f.Networks = append(f.Networks, *o)
		case *registry.Region:
			f.Regions = append(f.Regions, *o)
		case *registry.RTT:
			f.RTTs = append(f.RTTs, *o)
		}
	}
	return f
}
