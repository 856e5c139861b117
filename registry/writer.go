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
	lastRow  *metadataRow // of the machine written last
	leftRows []rowKey     // rows that have lost machines, in no order; may repeat
}

func newWriter(old *Snapshot) *writer {
	next := *old
	return &writer{old: old, next: &next}
}

// write returns the snapshot after c. Removals come before insertions, so that keys
// are free when they are reused.
func (w *writer) write(c *Changes) *Snapshot {
	w.next.Index = c.Index
	for _, ch := range c.Others {
		if ch.Before != nil {
			w.writeFact(ch.Before, (*memdb.Txn).Delete, -1)
		}
	}
	for _, ch := range c.Others {
		if ch.After != nil {
			w.writeFact(ch.After, (*memdb.Txn).Insert, 1)
		}
	}
	if w.txn != nil {
		w.txn.Commit()
		w.next.txn = w.next.db.Txn(false)
	}
	w.writeMachines(c)
	w.next.stats.Networks += w.next.machines.applyNetworks(c)
	if c.Geography {
		f := w.next.factsOf(KindRegion, KindRTT)
		w.next.geo = newGeography(f.Regions, f.RTTs)
	}
	return w.next
}

// writeFact deletes or inserts the row of f, and adds delta to the number of its kind.
func (w *writer) writeFact(f Fact, write func(txn *memdb.Txn, table string, row any) error, delta int) {
	if w.txn == nil {
		w.next.db = w.old.db.Snapshot()
		w.txn = w.next.db.Txn(true)
	}
	k := &kinds[f.Key().Kind]
	if err := write(w.txn, k.plural, f); err != nil {
		panic(err) // the schema does not fit the row, or the snapshot does not have it
	}
	if k.stat != nil {
		*k.stat(&w.next.stats) += delta
	}
}

func (w *writer) writeMachines(c *Changes) {
	for _, ch := range c.Machines {
		b, a := ch.Before, ch.After
		if b != nil {
			w.next.stats.Machines[stateIndex(b.State)]--
			stays := a != nil && !a.Gone() && !b.Gone()
			if !b.Gone() && b.sum != 0 && !(stays && slices.Equal(a.Metadata, b.Metadata)) {
				w.leftRows = append(w.leftRows, rowKey{b.app, b.sum})
			}
		}
		if a != nil {
			w.next.stats.Machines[stateIndex(a.State)]++
			if !a.Gone() {
				w.shareMetadata(a, b)
			}
		}
	}
	w.next.machines.apply(c.Machines)
	w.writeMetadata()
}
