package registry

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// A twin is a second, slow and simple implementation of the registry, in slices and
// maps. It shares no code with the store but the checks of single objects.
type twin struct {
	index    uint64
	serials  map[Network]uint64
	names    map[Network]string
	apps     []App
	machines []*Machine
	peers    []Peer
	flycast  []Flycast
	regions  map[string]Region
	rtts     map[[2]string]uint32
}

func newTwin() *twin {
	return &twin{
		serials: map[Network]uint64{}, names: map[Network]string{},
		regions: map[string]Region{}, rtts: map[[2]string]uint32{},
	}
}

func (t *twin) clone() *twin {
	c := *t
	c.serials, c.names = maps.Clone(t.serials), maps.Clone(t.names)
	c.regions, c.rtts = maps.Clone(t.regions), maps.Clone(t.rtts)
	c.apps, c.machines = slices.Clone(t.apps), slices.Clone(t.machines)
	c.peers, c.flycast = slices.Clone(t.peers), slices.Clone(t.flycast)
	return &c
}

func (t *twin) hasApp(n Network, name string) bool {
	return slices.ContainsFunc(t.apps, func(a App) bool { return a.Network == n && a.Name == name })
}

// puts holds the last put of each key, which is the one that counts.
type puts[K comparable, T any] struct {
	keys []K // as first mentioned in the batch
	what map[K]*T
}

func (p *puts[K, T]) put(k K, v *T) {
	if p.what == nil {
		p.what = make(map[K]*T)
	}
	if _, ok := p.what[k]; !ok {
		p.keys = append(p.keys, k)
	}
	p.what[k] = v
}

// apply returns the twin after the events, or the faults that forbid them.
func (t *twin) apply(events []Event) (*twin, Faults) {
	next := t.clone()
	var fs Faults
	var names puts[Network, NetworkName]
	var machines puts[string, []*Machine]
	var peers puts[AppKey, Peer]
	var flycast puts[netip.Addr, Flycast]
	var regions puts[string, Region]
	var rtts puts[[2]string, RTT]
	machineKey := func(n Network, app, id string) string { return fmt.Sprintf("%d %q %q", n, app, id) }
	key := func(m *Machine) string { return machineKey(m.Network, m.App, m.ID) }

	// A deletion is a put of nothing.
	for _, e := range events {
		if !e.Delete {
			continue
		}
		switch k := e.Fact.Key(); k.Kind {
		case KindNetwork:
			names.put(k.Network, nil)
		case KindApp:
			next.apps = slices.DeleteFunc(next.apps, func(a App) bool { return a.Network == k.Network && a.Name == k.Name })
			for _, m := range sortedBy(t.machines, func(m *Machine) string { return m.ID }) {
				if m.Network == k.Network && m.App == k.Name {
					machines.put(key(m), nil)
				}
			}
			for _, f := range sortedBy(t.flycast, func(f Flycast) string { return f.Address.StringExpanded() }) {
				if f.Owner == k.Network && f.App == k.Name {
					flycast.put(f.Address, nil)
				}
			}
		case KindMachine:
			if t.hasApp(k.Network, k.Name) {
				machines.put(machineKey(k.Network, k.Name, k.ID), nil)
			}
		case KindPeer:
			peers.put(AppKey{k.Network, k.Name}, nil)
		case KindFlycast:
			flycast.put(k.Address, nil)
		case KindRegion:
			regions.put(k.Name, nil)
		case KindRTT:
			rtts.put([2]string{k.Name, k.ID}, nil)
		}
	}
	for _, e := range events {
		if a, ok := e.Fact.(*App); ok && !e.Delete && !next.hasApp(a.Network, a.Name) {
			fs = append(fs, a.check()...)
			next.apps = append(next.apps, *a)
		}
	}
	var homeless []*Machine
	for _, e := range events {
		if e.Delete {
			continue
		}
		switch f := e.Fact.(type) {
		case *NetworkName:
			names.put(f.Network, f)
		case *Machine:
			m := *f
			if !next.hasApp(m.Network, m.App) {
				homeless = append(homeless, &m)
				continue
			}
			var all []*Machine
			if old := machines.what[key(&m)]; old != nil {
				all = *old
			}
			all = slices.DeleteFunc(slices.Clone(all), func(o *Machine) bool { return !o.Gone() && !m.Gone() || o.equal(&m) })
			all = append(all, &m)
			machines.put(key(&m), &all)
		case *Peer:
			peers.put(AppKey{f.Network(), f.Name}, f)
		case *Flycast:
			flycast.put(f.Address, f)
		case *Region:
			regions.put(f.Code, f)
		case *RTT:
			rtts.put([2]string{f.From, f.To}, f)
		}
	}

	// All objects that are put or deleted leave.
	for _, n := range names.keys {
		delete(next.names, n)
	}
	next.machines = slices.DeleteFunc(next.machines, func(m *Machine) bool { return has(machines.what, key(m)) })
	next.peers = slices.DeleteFunc(next.peers, func(p Peer) bool { return has(peers.what, AppKey{p.Network(), p.Name}) })
	next.flycast = slices.DeleteFunc(next.flycast, func(f Flycast) bool { return has(flycast.what, f.Address) })
	for _, k := range regions.keys {
		delete(next.regions, k)
	}
	for _, k := range rtts.keys {
		delete(next.rtts, k)
	}

	// Then each object that is put is added. It is a fault if one that stayed, or was
	// added before, has its id or address.
	ids := map[string]*Machine{}
	addrs := map[netip.Addr]fmt.Stringer{}
	for _, m := range next.machines {
		if !m.Gone() {
			ids[m.ID], addrs[m.Address] = m, m
		}
	}
	for i, p := range next.peers {
		addrs[p.Address] = &next.peers[i]
	}
	for i, f := range next.flycast {
		addrs[f.Address] = &next.flycast[i]
	}
	take := func(object fmt.Stringer, field string, addr netip.Addr, own Faults) {
		fs = append(fs, own...)
		if slices.ContainsFunc(own, func(f Fault) bool { return f.Field == field }) {
			return
		}
		if o := addrs[addr]; o != nil {
			fs.addf(object, field, "%v is already the address of %v", addr, o)
			return
		}
		addrs[addr] = object
	}
	for _, k := range names.keys {
		n := names.what[k]
		if n == nil {
			continue
		}
		taken := false
		for other, name := range next.names {
			if name == n.Name && checkName(name) == nil {
				fs.addf(n, "name", "is already the name of %v", other)
				taken = true
			}
		}
		if fs = append(fs, n.check()...); !taken {
			next.names[k] = n.Name
		}
	}
	place := func(m *Machine) {
		if m.Gone() {
			return
		}
		if checkID(m.ID) == nil {
			if o := ids[m.ID]; o != nil {
				fs.addf(m, "id", "is already the id of %v in %v", o, o.Network)
			} else {
				ids[m.ID] = m
			}
		}
		take(m, "private_ip", m.Address, m.check())
	}
	for _, k := range machines.keys {
		if ms := machines.what[k]; ms != nil {
			next.machines = append(next.machines, *ms...)
			for _, m := range *ms {
				place(m)
			}
		}
	}
	for _, m := range homeless {
		fs.addf(m, "app", "%v has no app %s", m.Network, Quote(m.App))
		place(m)
	}
	for _, k := range peers.keys {
		if p := peers.what[k]; p != nil {
			take(p, "address", p.Address, p.check())
			next.peers = append(next.peers, *p)
		}
	}
	for _, k := range flycast.keys {
		if f := flycast.what[k]; f != nil {
			if !next.hasApp(f.Owner, f.App) {
				fs.addf(f, "app", "%v has no app %s", f.Owner, Quote(f.App))
			}
			take(f, "flycast", f.Address, f.check())
			next.flycast = append(next.flycast, Flycast{Address: f.Address, App: f.App, Owner: f.Owner})
		}
	}
	for _, k := range regions.keys {
		if r := regions.what[k]; r != nil {
			fs = append(fs, r.check()...)
			next.regions[k] = *r
		}
	}
	for _, k := range rtts.keys {
		if r := rtts.what[k]; r != nil {
			fs = append(fs, r.check()...)
			next.rtts[k] = r.MS
		}
	}
	if fs != nil {
		return t, fs
	}
	if next.contents() == t.contents() {
		return t, nil
	}
	next.index++
	for _, n := range t.touched(next) {
		next.serials[n] = next.index
	}
	return next, nil
}

// touched returns the networks in which an answer of t can differ from one of next.
func (t *twin) touched(next *twin) []Network {
	var out []Network
	for n := range testNetworks + 1 {
		if t.visible(Network(n)) != next.visible(Network(n)) {
			out = append(out, Network(n))
		}
	}
	return out
}

// visible returns all of a network that an answer can depend on, as text.
func (t *twin) visible(n Network) string {
	var lines []string
	for _, a := range t.apps {
		if a.Network == n {
			lines = append(lines, "app "+a.Name)
		}
	}
	for _, m := range t.machines {
		switch {
		case m.Network != n || m.Gone():
		case m.Skip:
			lines = append(lines, fmt.Sprintf("client %v %s", m.Address, m.Region))
		default:
			line := fmt.Sprintf("machine %s %s %v %s %v", m.App, m.ID, m.Address, m.Region, m.State == "started")
			for _, p := range m.Metadata {
				line += fmt.Sprintf(" %q=%q", Fold(p.Key), Fold(p.Value))
			}
			lines = append(lines, line)
		}
	}
	for _, p := range t.peers {
		if p.Network() == n {
			lines = append(lines, "peer "+showPeer(&p))
		}
	}
	for _, f := range t.flycast {
		if f.Network() == n {
			lines = append(lines, fmt.Sprintf("flycast %v %s", f.Address, f.App))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// contents returns everything, as text.
func (t *twin) contents() string {
	var lines []string
	for n, name := range t.names {
		lines = append(lines, fmt.Sprintf("network %v %s", n, name))
	}
	for _, a := range t.apps {
		lines = append(lines, fmt.Sprintf("app %v %s", a.Network, a.Name))
	}
	for _, m := range t.machines {
		lines = append(lines, show(m))
	}
	for _, p := range t.peers {
		lines = append(lines, "peer "+showPeer(&p))
	}
	for _, f := range t.flycast {
		lines = append(lines, fmt.Sprintf("flycast %v %v %s", f.Address, f.Owner, f.App))
	}
	for _, r := range t.regions {
		lines = append(lines, fmt.Sprintf("region %v", r))
	}
	for pair, ms := range t.rtts {
		lines = append(lines, fmt.Sprintf("rtt %v %d", pair, ms))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// show returns a machine as text.
func show(m *Machine) string {
	if m == nil {
		return "none"
	}
	return fmt.Sprintf("machine %v %s %q %q %q %v %q skip=%v raw=%q", m.Network, m.App, m.ID, m.State, m.Region, m.Address, m.Metadata, m.Skip, m.Raw)
}

// facts returns the twin's contents as Facts.
func (t *twin) facts() *Facts {
	f := &Facts{Apps: slices.Clone(t.apps), Machines: slices.Clone(t.machines), Peers: slices.Clone(t.peers), Flycast: slices.Clone(t.flycast)}
	for n, name := range t.names {
		f.Networks = append(f.Networks, NetworkName{n, name})
	}
	for _, r := range t.regions {
		f.Regions = append(f.Regions, r)
	}
	for pair, ms := range t.rtts {
		f.RTTs = append(f.RTTs, RTT{pair[0], pair[1], ms})
	}
	return f
}

func has[K comparable, V any](m map[K]V, k K) bool { _, ok := m[k]; return ok }

func sortedBy[T any, K cmp.Ordered](list []T, key func(T) K) []T {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
	return list
}

func showPeer(p *Peer) string { return fmt.Sprintf("%s %v %s", p.Name, p.Address, p.Region) }
