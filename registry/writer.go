package registry

import (
	"slices"

	"github.com/hashicorp/go-memdb"
)

// A writer writes changes in one memdb transaction. It hardly reads from the
// transaction: memdb copies a tree's changed nodes anew after every read.
type writer struct {
	txn   *memdb.Txn
	old   *Snapshot
	stats Stats

	metadata map[metadataID]*metadata // rows made
	row      *metadata                // the one used last
	left     map[metadataID]bool      // rows that machines have left
	networks map[Network]*network     // rows to be written
}

func newWriter(txn *memdb.Txn, old *Snapshot) *writer {
	return &writer{
		txn: txn, old: old, stats: old.stats,
		metadata: make(map[metadataID]*metadata), left: make(map[metadataID]bool), networks: make(map[Network]*network),
	}
}

// write writes c. What leaves, or changes a key that another object may take,
// goes first.
func (w *writer) write(c *Changes) {
	w.leave(c)
	for _, ch := range c.Apps {
		if ch.After != nil {
			w.insert(tApps, ch.After)
			w.count(ch.After.Network, 1)
			w.stats.Apps++
		}
	}
	if len(c.Machines)+len(c.Networks) > 0 {
		w.writeFleet(c)
	}
	for _, ch := range c.Peers {
		if ch.After != nil {
			w.insert(tPeers, ch.After)
			w.count(ch.After.Network(), 1)
			w.stats.Peers++
		}
	}
	for _, ch := range c.Flycast {
		if ch.After != nil {
			w.insert(tFlycast, ch.After)
			w.count(ch.After.Network(), 1)
			w.stats.Flycast++
		}
	}
	w.writeNetworks(c)
	writeAll(w, tRegions, c.Regions)
	writeAll(w, tRTTs, c.RTTs)
}

func (w *writer) writeFleet(c *Changes) {
	for _, ch := range c.Machines {
		if m := ch.After; m != nil {
			if !m.Gone() {
				w.share(m, ch.Before)
			}
			w.stats.Machines[stateIndex(m.State)]++
		}
	}
	f := *w.old.fleet
	if len(c.Machines) > 0 {
		f.move(c.Machines)
		w.writeMetadata(&f)
	}
	f.mark(c.Networks, c.Index)
	w.insert(tMachines, &f)
}

func (w *writer) leave(c *Changes) {
	for _, ch := range c.Machines {
		if b, a := ch.Before, ch.After; b != nil {
			w.stats.Machines[stateIndex(b.State)]--
			stays := a != nil && !a.Gone() && !b.Gone()
			if !b.Gone() && b.sum != 0 && !(stays && slices.Equal(a.Metadata, b.Metadata)) {
				w.left[metadataID{b.app, b.sum}] = true
			}
		}
	}
	for _, ch := range c.Peers {
		if b := ch.Before; b != nil {
			w.remove(tPeers, b)
			w.count(b.Network(), -1)
			w.stats.Peers--
		}
	}
	for _, ch := range c.Flycast {
		if b := ch.Before; b != nil {
			w.remove(tFlycast, b)
			w.count(b.Network(), -1)
			w.stats.Flycast--
		}
	}
	for _, ch := range c.Apps {
		if b := ch.Before; b != nil {
			w.remove(tApps, b)
			w.count(b.Network, -1)
			w.stats.Apps--
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
			w.stats.Networks--
		}
	}
	for _, row := range w.networks {
		if row.objects > 0 || row.Name != "" {
			w.insert(tNetworks, row)
			w.stats.Networks++
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

func (w *writer) insert(table string, row any) {
	if err := w.txn.Insert(table, row); err != nil {
		panic(err) // the schema does not fit the row
	}
}

func (w *writer) remove(table string, row any) {
	if err := w.txn.Delete(table, row); err != nil {
		panic(err) // the row stood in the snapshot
	}
}
