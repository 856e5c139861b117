package registry

import (
	"hash/maphash"
	"slices"

	"github.com/hashicorp/go-memdb"
)

// A writer turns events into one memdb transaction and notes what they change.
type writer struct {
	txn     *memdb.Txn
	lastApp uint32
	stats   Stats
	faults  Faults
	changes Changes
	touched map[Network]bool // networks in which an answer changes
}

func newWriter(txn *memdb.Txn, old *Snapshot, lastApp uint32) *writer {
	return &writer{txn: txn, lastApp: lastApp, stats: old.stats, touched: make(map[Network]bool)}
}

// apply runs the events: deletes, then puts, what others depend on first.
func (w *writer) apply(events []Event) {
	var machines []*Machine
	var peers []*Peer
	var flycast []*Flycast
	for _, e := range events {
		switch e := e.(type) {
		case DeleteMachine:
			w.deleteMachine(e)
		case DeleteFlycast:
			w.dropFlycast(first[Flycast](w.txn, tFlycast, byID, addressKey(e.Address)))
		case DeletePeer:
			w.dropPeer(first[Peer](w.txn, tPeers, byID, networkKey(e.Network, e.Name)))
		case DeleteNetwork:
			w.nameNetwork(NetworkName{Network: e.Network})
		case DeleteRegion:
			w.deleteGeography(first[Region](w.txn, tRegions, byID, []byte(e.Code)), tRegions)
		case DeleteRTT:
			w.deleteGeography(first[RTT](w.txn, tRTTs, byID, []byte(e.From+"\x00"+e.To)), tRTTs)
		}
	}
	for _, e := range events {
		if e, ok := e.(DeleteApp); ok {
			w.deleteApp(e)
		}
	}
	for _, e := range events {
		switch e := e.(type) {
		case PutNetwork:
			w.putNetwork(e.NetworkName)
		case PutApp:
			w.putApp(e.App)
		case PutRegion:
			w.putRegion(e.Region)
		case PutRTT:
			w.putRTT(e.RTT)
		case PutMachine:
			machines = append(machines, e.Machine)
		case PutPeer:
			peers = append(peers, &e.Peer)
		case PutFlycast:
			flycast = append(flycast, &e.Flycast)
		}
	}
	w.putMachines(machines)
	w.putAddresses(peers, flycast)
}

// finish settles the networks' indexes and returns what changed.
func (w *writer) finish(index uint64) *Changes {
	c := &w.changes
	c.Index = index
	c.Machines = settle(c.Machines, func(m *Machine) any { return [2]any{m.app, [2]any{m.ID, m.gone}} })
	c.Apps = settle(c.Apps, func(a *App) any { return AppKey{a.Network, a.Name} })
	c.Peers = settle(c.Peers, func(p *Peer) any { return AppKey{p.Network(), p.Name} })
	c.Flycast = settle(c.Flycast, func(f *Flycast) any { return f.Address })
	for n := range w.touched {
		row := *w.networkRow(n)
		row.index = index
		w.insert(tNetworks, &row)
		c.Networks = append(c.Networks, n)
	}
	slices.Sort(c.Networks)
	return c
}

// settle joins a removal and an addition under one key to one change. Only
// commits that removed something need it.
func settle[T any](changes []Change[T], key func(*T) any) []Change[T] {
	if !slices.ContainsFunc(changes, func(c Change[T]) bool { return c.After == nil }) {
		return changes
	}
	at := make(map[any]int, len(changes))
	out := changes[:0]
	for _, c := range changes {
		k := key(either(c))
		if i, ok := at[k]; ok {
			out[i].After = c.After
			continue
		}
		at[k] = len(out)
		out = append(out, c)
	}
	return slices.DeleteFunc(out, func(c Change[T]) bool { return c.Before == nil && c.After == nil })
}

func (w *writer) insert(table string, row any) {
	if err := w.txn.Insert(table, row); err != nil {
		panic(err) // the schema does not fit the row
	}
}

func (w *writer) remove(table string, row any) {
	if err := w.txn.Delete(table, row); err != nil {
		panic(err) // the row was read in this transaction
	}
}

// Networks.

func (w *writer) networkRow(n Network) *network {
	if row := first[network](w.txn, tNetworks, byID, networkKey(n, "")); row != nil {
		return row
	}
	return &network{NetworkName: NetworkName{Network: n}}
}

// count adds delta objects to a network.
func (w *writer) count(n Network, delta int) {
	row := *w.networkRow(n)
	before := row.objects
	row.objects += delta
	if before == 0 && row.objects > 0 {
		w.stats.Networks++
	} else if before > 0 && row.objects == 0 {
		w.stats.Networks--
	}
	w.insert(tNetworks, &row)
}

func (w *writer) putNetwork(n NetworkName) {
	if fs := n.check(); fs != nil {
		w.faults = append(w.faults, fs...)
		return
	}
	if o := first[network](w.txn, tNetworks, byName, []byte(n.Name)); o != nil && o.Network != n.Network {
		w.faults.addf(n.object(), "name", "is already the name of %v", o.Network)
		return
	}
	w.nameNetwork(n)
}

func (w *writer) nameNetwork(n NetworkName) {
	row := *w.networkRow(n.Network)
	if row.Name == n.Name {
		return
	}
	ch := Change[NetworkName]{}
	if row.Name != "" {
		before := row.NetworkName
		ch.Before = &before
	}
	if n.Name != "" {
		ch.After = &n
	}
	row.Name = n.Name
	w.insert(tNetworks, &row)
	w.changes.Names = append(w.changes.Names, ch)
}

// Apps.

func (w *writer) app(n Network, name string) *App {
	return first[App](w.txn, tApps, byID, networkKey(n, name))
}

func (w *writer) putApp(a App) {
	if fs := a.check(); fs != nil {
		w.faults = append(w.faults, fs...)
		return
	}
	if w.app(a.Network, a.Name) != nil {
		return
	}
	w.lastApp++
	a.number = w.lastApp
	w.insert(tApps, &a)
	w.count(a.Network, 1)
	w.stats.Apps++
	w.touched[a.Network] = true
	w.changes.Apps = append(w.changes.Apps, Change[App]{After: &a})
}

func (w *writer) deleteApp(e DeleteApp) {
	a := w.app(e.Network, e.Name)
	if a == nil {
		return
	}
	for _, m := range collectRows(all[Machine](w.txn, tMachines, byID, appKey(a.number))) {
		w.dropMachine(m)
	}
	for _, f := range collectRows(all[Flycast](w.txn, tFlycast, byApp, appKey(a.number))) {
		w.dropFlycast(f)
	}
	w.remove(tApps, a)
	w.count(a.Network, -1)
	w.stats.Apps--
	w.touched[a.Network] = true
	w.changes.Apps = append(w.changes.Apps, Change[App]{Before: a})
}

// Peers and Flycast addresses.

// putAddresses puts peers and Flycast addresses. What they replace leaves first,
// so that two may exchange their addresses.
func (w *writer) putAddresses(peers []*Peer, flycast []*Flycast) {
	for _, p := range peers {
		fs := p.check()
		w.faults = append(w.faults, fs...)
		if fs == nil {
			if o := first[Peer](w.txn, tPeers, byID, networkKey(p.Network(), p.Name)); o != nil && *o != *p {
				w.dropPeer(o)
			}
		}
	}
	for _, f := range flycast {
		fs := f.check()
		if a := w.app(f.Owner, f.App); a != nil {
			f.app = a.number
		} else {
			fs.addf(f.String(), "app", "%v has no app %s", f.Owner, quote(f.App))
		}
		w.faults = append(w.faults, fs...)
		if fs == nil {
			if o := first[Flycast](w.txn, tFlycast, byID, addressKey(f.Address)); o != nil && *o != *f {
				w.dropFlycast(o)
			}
		}
	}
	if len(w.faults) > 0 {
		return
	}
	for _, p := range peers {
		if o := first[Peer](w.txn, tPeers, byID, networkKey(p.Network(), p.Name)); o != nil {
			if *o == *p {
				continue
			}
			w.dropPeer(o) // put twice in one commit: the last counts
		}
		if w.free(p.Address, p, "address") {
			w.insert(tPeers, p)
			w.count(p.Network(), 1)
			w.stats.Peers++
			w.touched[p.Network()] = true
			w.changes.Peers = append(w.changes.Peers, Change[Peer]{After: p})
		}
	}
	for _, f := range flycast {
		if o := first[Flycast](w.txn, tFlycast, byID, addressKey(f.Address)); o != nil {
			if *o == *f {
				continue
			}
			w.dropFlycast(o)
		}
		if w.free(f.Address, f, "flycast") {
			w.insert(tFlycast, f)
			w.count(f.Network(), 1)
			w.stats.Flycast++
			w.touched[f.Network()] = true
			w.changes.Flycast = append(w.changes.Flycast, Change[Flycast]{After: f})
		}
	}
}

func (w *writer) dropPeer(p *Peer) {
	if p == nil {
		return
	}
	w.remove(tPeers, p)
	w.count(p.Network(), -1)
	w.stats.Peers--
	w.touched[p.Network()] = true
	w.changes.Peers = append(w.changes.Peers, Change[Peer]{Before: p})
}

func (w *writer) dropFlycast(f *Flycast) {
	if f == nil {
		return
	}
	w.remove(tFlycast, f)
	w.count(f.Network(), -1)
	w.stats.Flycast--
	w.touched[f.Network()] = true
	w.changes.Flycast = append(w.changes.Flycast, Change[Flycast]{Before: f})
}

// Regions and round trips.

func (w *writer) putRegion(r Region) {
	if fs := r.check(); fs != nil {
		w.faults = append(w.faults, fs...)
		return
	}
	if o := first[Region](w.txn, tRegions, byID, []byte(r.Code)); o == nil || *o != r {
		w.insert(tRegions, &r)
		w.changes.Geography = true
	}
}

func (w *writer) putRTT(r RTT) {
	if fs := r.check(); fs != nil {
		w.faults = append(w.faults, fs...)
		return
	}
	if o := first[RTT](w.txn, tRTTs, byID, []byte(r.From+"\x00"+r.To)); o == nil || *o != r {
		w.insert(tRTTs, &r)
		w.changes.Geography = true
	}
}

// deleteGeography removes a region or a round trip, if there is one.
func (w *writer) deleteGeography(row any, table string) {
	switch r := row.(type) {
	case *Region:
		if r == nil {
			return
		}
	case *RTT:
		if r == nil {
			return
		}
	}
	w.remove(table, row)
	w.changes.Geography = true
}

// rawSum tells raw objects of gone machines apart.
func rawSum(r Raw) uint64 { return maphash.Bytes(rawSeed, r) | 1 }

var rawSeed = maphash.MakeSeed()

func collectRows[T any](seq func(func(*T) bool)) []*T {
	var rows []*T
	for row := range seq {
		rows = append(rows, row)
	}
	return rows
}
