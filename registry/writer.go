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

	metadata map[metadataID]*metadata // rows made
	row      *metadata                // the one used last
	left     []metadataID             // rows that machines have left, in no order; may repeat
	networks map[Network]*network     // rows to be written
}

func newWriter(old *Snapshot) *writer {
	next := *old
	return &writer{old: old, next: &next}
}

// write returns the snapshot after c. What leaves, or changes a key that another
// object may take, goes first.
func (w *writer) write(c *Changes) *Snapshot {
	w.next.Index = c.Index
	w.leave(c)
	for _, ch := range c.Apps {
		if ch.After != nil {
			w.insert(tApps, ch.After)
			w.count(ch.After.Network, 1)
			w.next.stats.Apps++
		}
	}
	w.writeFleet(c)
	for _, ch := range c.Peers {
		if ch.After != nil {
			w.insert(tPeers, ch.After)
			w.count(ch.After.Network(), 1)
			w.next.stats.Peers++
		}
	}
	for _, ch := range c.Flycast {
		if ch.After != nil {
			w.insert(tFlycast, ch.After)
			w.count(ch.After.Network(), 1)
			w.next.stats.Flycast++
		}
	}
	w.writeNetworks(c)
	writeAll(w, tRegions, c.Regions)
	writeAll(w, tRTTs, c.RTTs)
	if w.txn != nil {
		w.txn.Commit()
		w.next.txn = w.next.db.Txn(false)
	}
	if c.Geography {
		w.next.geo = newGeography(collect(w.next.Regions()), collect(w.next.RTTs()))
	}
	return w.next
}

func (w *writer) writeFleet(c *Changes) {
	for _, ch := range c.Machines {
		if m := ch.After; m != nil {
			if !m.Gone() {
				w.share(m, ch.Before)
			}
			w.next.stats.Machines[stateIndex(m.State)]++
		}
	}
	w.next.fleet.move(c.Machines)
	w.writeMetadata()
	w.next.fleet.mark(c.Networks, c.Index)
}

func (w *writer) leave(c *Changes) {
	for _, ch := range c.Machines {
		if b, a := ch.Before, ch.After; b != nil {
			w.next.stats.Machines[stateIndex(b.State)]--
			stays := a != nil && !a.Gone() && !b.Gone()
			if !b.Gone() && b.sum != 0 && !(stays && slices.Equal(a.Metadata, b.Metadata)) {
				w.left = append(w.left, metadataID{b.app, b.sum})
			}
		}
	}
	for _, ch := range c.Peers {
		if b := ch.Before; b != nil {
			w.remove(tPeers, b)
			w.count(b.Network(), -1)
			w.next.stats.Peers--
		}
	}
	for _, ch := range c.Flycast {
		if b := ch.Before; b != nil {
			w.remove(tFlycast, b)
			w.count(b.Network(), -1)
			w.next.stats.Flycast--
		}
	}
	for _, ch := range c.Apps {
		if b := ch.Before; b != nil {
			w.remove(tApps, b)
			w.count(b.Network, -1)
			w.next.stats.Apps--
		}
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

// count adds delta objects to a network.
func (w *writer) count(n Network, delta int) { w.network(n).objects += delta }

func (w *writer) writeNetworks(c *Changes) {
	for _, ch := range c.Names {
		w.network(either(ch).Network).Name = ""
		if ch.After != nil {
			w.network(ch.After.Network).Name = ch.After.Name
		}
	}
	for n := range w.networks {
		if old := w.old.network(n); old != nil {
			w.remove(tNetworks, old) // two may exchange their names
			w.next.stats.Networks--
		}
	}
	for _, row := range w.networks {
		if row.objects > 0 || row.Name != "" {
			w.insert(tNetworks, row)
			w.next.stats.Networks++
		}
	}
}

// writeAll writes what changes in a table whose objects clash with no others.
func writeAll[T any](w *writer, table string, changes []Change[T]) {
	for _, ch := range changes {
		if ch.After != nil {
			w.insert(table, ch.After)
		} else {
			w.remove(table, ch.Before)
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

func (w *writer) insert(table string, row any) {
	if err := w.tables().Insert(table, row); err != nil {
		panic(err) // the schema does not fit the row
	}
}

func (w *writer) remove(table string, row any) {
	if err := w.tables().Delete(table, row); err != nil {
		panic(err) // the row stood in the snapshot
	}
}
