package registry

import "slices"

// A writer makes the next snapshot from an old one.
type writer struct {
	old, next *Snapshot

	newRows  map[rowKey]*metadataRow
	lastRow  *metadataRow // of the machine written last
	leftRows []rowKey     // rows that have lost machines, in no order; may repeat
}

func newWriter(old *Snapshot) *writer {
	next := *old
	return &writer{old: old, next: &next}
}

// write returns the snapshot after c.
func (w *writer) write(c *Changes) *Snapshot {
	w.next.Index = c.Index
	w.writeMachines(c)
	for _, ch := range c.Others {
		if stat := kinds[ch.Fact().Key().Kind].stat; stat != nil {
			if ch.Before != nil {
				*stat(&w.next.stats)--
			}
			if ch.After != nil {
				*stat(&w.next.stats)++
			}
		}
	}
	w.next.facts.apply(c.Others)
	w.next.stats.Networks += w.next.facts.applyNetworks(c)
	if c.Geography {
		f := w.next.factsOf(KindRegion, KindRTT)
		w.next.geo = newGeography(f.Regions, f.RTTs)
	}
	return w.next
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
