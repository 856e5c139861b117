package registry

import (
	"slices"

	"github.com/hashicorp/go-memdb"
)

// A writer makes the next snapshot from an old one. Most commits change machines
// alone, so there is a memdb transaction only if a row of a table is written. It
// hardly reads from that: memdb copies a tree's changed nodes anew after every
// read.
type writer struct {
	old, next *Snapshot
	txn       *memdb.Txn // writes next's tables; nil until one is written

	newRows  map[rowKey]*metadataRow
	lastRow  *metadataRow         // of the machine written last
	leftRows []rowKey             // rows that have lost machines, in no order; may repeat
	networks map[Network]*network // rows to be written
}

func newWriter(old *Snapshot) *writer {
	next := *old
	return &writer{old: old, next: &next}
}

// write returns the snapshot after c. Removals come before insertions, so that keys
// are free when they are reused.
func (w *writer) write(c *Changes) *Snapshot {
	w.next.Index = c.Index
	w.removeMachines(c)
	for _, ch := range c.Others {
		if ch.Before != nil {
			w.remove(ch.Before)
		}
	}
	for _, ch := range c.Others {
		if ch.After != nil {
			w.insert(ch.After)
		}
	}
	w.writeMachines(c)
	w.writeNetworks()
	if w.txn != nil {
		w.txn.Commit()
		w.next.txn = w.next.db.Txn(false)
	}
	if c.Geography {
		f := w.next.factsOf(KindRegion, KindRTT)
		w.next.geo = newGeography(f.Regions, f.RTTs)
	}
	return w.next
}

func (w *writer) writeMachines(c *Changes) {
	for _, ch := range c.Machines {
		if m := ch.After; m != nil {
			if !m.Gone() {
				w.shareMetadata(m, ch.Before)
			}
			w.next.stats.Machines[stateIndex(m.State)]++
		}
	}
	w.next.machines.apply(c.Machines)
	w.writeMetadata()
	w.next.machines.markChanged(c.Networks, c.Index)
}

// removeMachines counts the machines that leave, and notes the metadata rows that
// they leave.
func (w *writer) removeMachines(c *Changes) {
	for _, ch := range c.Machines {
		if b, a := ch.Before, ch.After; b != nil {
			w.next.stats.Machines[stateIndex(b.State)]--
			stays := a != nil && !a.Gone() && !b.Gone()
			if !b.Gone() && b.sum != 0 && !(stays && slices.Equal(a.Metadata, b.Metadata)) {
				w.leftRows = append(w.leftRows, rowKey{b.app, b.sum})
			}
		}
	}
}

// remove deletes the row of f, and insert adds it. The name of a network is part of
// the network's row.

func (w *writer) remove(f Fact) {
	if n, ok := f.(*NetworkName); ok {
		w.network(n.Network).Name = ""
		return
	}
	k := f.Key()
	w.deleteRow(k.Kind, f)
	w.count(k, -1)
}

func (w *writer) insert(f Fact) {
	if n, ok := f.(*NetworkName); ok {
		w.network(n.Network).Name = n.Name
		return
	}
	k := f.Key()
	w.insertRow(k.Kind, f)
	w.count(k, 1)
}

// count counts an object that comes or goes, in all and in its network.
func (w *writer) count(k Key, delta int) {
	if stat := kinds[k.Kind].stat; stat != nil {
		*stat(&w.next.stats) += delta
	}
	if n := k.In(); n != 0 {
		w.network(n).objects += delta
	}
}

// network returns the row of n for changing.
func (w *writer) network(n Network) *network {
	row := w.networks[n]
	if row == nil {
		row = &network{NetworkName: NetworkName{Network: n}}
		if old := w.old.network(n); old != nil {
			*row = *old
		}
		if w.networks == nil {
			w.networks = make(map[Network]*network)
		}
		w.networks[n] = row
	}
	return row
}

// writeNetworks writes the rows of networks that have changed.
func (w *writer) writeNetworks() {
	for n := range w.networks {
		if old := w.old.network(n); old != nil {
			w.deleteRow(KindNetwork, old) // two may exchange their names
			w.next.stats.Networks--
		}
	}
	for _, row := range w.networks {
		if row.objects > 0 || row.Name != "" {
			w.insertRow(KindNetwork, row)
			w.next.stats.Networks++
		}
	}
}

// tables returns the transaction that writes next's tables.
func (w *writer) tables() *memdb.Txn {
	if w.txn == nil {
		w.next.db = w.old.db.Snapshot()
		w.txn = w.next.db.Txn(true)
	}
	return w.txn
}

func (w *writer) insertRow(k Kind, row any) {
	if err := w.tables().Insert(kinds[k].plural, row); err != nil {
		panic(err) // the schema does not fit the row
	}
}

func (w *writer) deleteRow(k Kind, row any) {
	if err := w.tables().Delete(kinds[k].plural, row); err != nil {
		panic(err) // the snapshot had the row
	}
}
