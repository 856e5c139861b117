package registry

import (
	"fmt"
	"net/netip"
	"slices"
)

// A machineGroup is what one batch puts under one app and id.
type machineGroup struct {
	app  *App
	put  []*Machine
	live *Machine // the one put that is not gone, or nil
}

// putMachines replaces, under each app and id that is put, all that was there.
func (w *writer) putMachines(machines []*Machine) {
	groups := w.group(machines)
	if len(w.faults) > 0 {
		return
	}
	for _, g := range groups {
		w.makeRoom(g)
	}
	for _, g := range groups {
		for _, m := range g.put {
			w.putMachine(m)
		}
	}
}

// group sorts copies of machines by app and id and faults what is wrong with
// each by itself.
func (w *writer) group(machines []*Machine) []*machineGroup {
	type key struct {
		app uint32
		id  string
	}
	groups := make([]*machineGroup, 0, len(machines))
	at := make(map[key]*machineGroup, len(machines))
	var app *App // of the machine before: files list an app's machines together
	for _, given := range machines {
		m := new(Machine)
		*m = *given
		if app == nil || app.Network != m.Network || app.Name != m.App {
			app = w.app(m.Network, m.App)
		}
		if app == nil {
			w.faults.addf(m.String(), "app", "%v has no app %s", m.Network, quote(m.App))
			continue
		}
		if fs := m.check(); fs != nil {
			w.faults = append(w.faults, fs...)
			continue
		}
		m.app = app.number
		if m.Gone() {
			m.gone = rawSum(m.Raw)
		}
		g := at[key{m.app, m.ID}]
		if g == nil {
			g = &machineGroup{app: app}
			at[key{m.app, m.ID}] = g
			groups = append(groups, g)
		}
		g.add(m)
	}
	return groups
}

// add adds m to the group, in the place of another with the same key.
func (g *machineGroup) add(m *Machine) {
	if !m.Gone() {
		g.live = m
	}
	same := func(o *Machine) bool { return o.gone == m.gone }
	if i := slices.IndexFunc(g.put, same); i >= 0 {
		g.put[i] = m
		return
	}
	g.put = append(g.put, m)
}

// makeRoom removes what the group replaces, but for a machine that only changes
// in place: that one gives up no key that another may want. Afterwards g.put
// lacks what was there already.
func (w *writer) makeRoom(g *machineGroup) {
	id := g.put[0].ID
	for _, o := range collectRows(all[Machine](w.txn, tMachines, byID, machineKey(g.app.number, id, 0))) {
		i := slices.IndexFunc(g.put, func(m *Machine) bool { return m.gone == o.gone })
		switch {
		case i >= 0 && g.put[i].equal(o):
			g.put = slices.Delete(g.put, i, i+1)
		case i >= 0 && g.put[i].Address == o.Address:
		default:
			w.dropMachine(o)
		}
	}
}

func (w *writer) putMachine(m *Machine) {
	ch := Change[Machine]{After: m}
	if !m.Gone() {
		if o := first[Machine](w.txn, tMachines, byMachine, []byte(m.ID)); o != nil && o.app != m.app {
			w.faults.addf(m.String(), "id", "is already the id of %v in %v", o, o.Network)
			return
		}
		if !w.free(m.Address, m, "private_ip") {
			return
		}
		ch.Before = first[Machine](w.txn, tMachines, byID, machineKey(m.app, m.ID, 0))
	}
	w.insert(tMachines, m)
	if ch.Before != nil {
		w.stats.Machines[stateIndex(ch.Before.State)]--
	}
	w.stats.Machines[stateIndex(m.State)]++
	if ch.Before == nil && !m.Gone() || ch.Before != nil && ch.Before.shows() != m.shows() ||
		ch.Before != nil && !slices.Equal(ch.Before.Metadata, m.Metadata) {
		w.touched[m.Network] = true
	}
	w.changes.Machines = append(w.changes.Machines, ch)
}

// shows is what answers depend on, metadata aside.
func (m *Machine) shows() any {
	type shown struct {
		id, region    string
		address       netip.Addr
		gone, skipped bool
		started       bool
	}
	return shown{m.ID, m.Region, m.Address, m.Gone(), m.Skip, m.Started()}
}

func (w *writer) deleteMachine(e DeleteMachine) {
	a := w.app(e.Network, e.App)
	if a == nil {
		return
	}
	for _, m := range collectRows(all[Machine](w.txn, tMachines, byID, machineKey(a.number, e.ID, 0))) {
		w.dropMachine(m)
	}
}

func (w *writer) dropMachine(m *Machine) {
	w.remove(tMachines, m)
	w.stats.Machines[stateIndex(m.State)]--
	if !m.Gone() {
		w.touched[m.Network] = true
	}
	w.changes.Machines = append(w.changes.Machines, Change[Machine]{Before: m})
}

// free reports whether nobody but object has addr, and faults it otherwise.
func (w *writer) free(addr netip.Addr, object fmt.Stringer, field string) bool {
	var holder fmt.Stringer
	if m := first[Machine](w.txn, tMachines, byAddress, addressKey(addr)); m != nil {
		if o, ok := object.(*Machine); !ok || o.app != m.app || o.ID != m.ID {
			holder = m
		}
	} else if p := first[Peer](w.txn, tPeers, byAddress, addressKey(addr)); p != nil {
		holder = p
	} else if f := first[Flycast](w.txn, tFlycast, byID, addressKey(addr)); f != nil {
		holder = f
	}
	if holder != nil {
		w.faults.addf(object.String(), field, "%v is already the address of %v", addr, holder)
	}
	return holder == nil
}

// stateIndex returns the place of a state in Stats.Machines.
func stateIndex(state string) int {
	for i, s := range States {
		if s == state {
			return i
		}
	}
	return len(States)
}
