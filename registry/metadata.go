package registry

import (
	"cmp"
	"hash/maphash"
	"iter"
	"slices"
	"unique"

	"github.com/internaldns/internaldns/registry/index"
)

// A metadataRow is the metadata of all machines of one app that have the same and are
// not gone. The machines of an app mostly do, so pairs are indexed for rows instead
// of for machines.
type metadataRow struct {
	rowKey
	pairs []Pair
}

// A rowKey names a metadata row. Machines without metadata have sum 0, and no row.
type rowKey struct {
	app uint32
	sum uint64 // of the pairs; another one in the rare case that two rows have one sum
}

// compare orders rows by app and sum.
func (k rowKey) compare(o rowKey) int {
	return cmp.Or(cmp.Compare(k.app, o.app), cmp.Compare(k.sum, o.sum))
}

func compareRows(a, b *metadataRow) int { return a.compare(b.rowKey) }

// A pairEntry lists a row under one of its pairs. It holds a sum of the pair, which is
// shorter than most pairs, so the rows found by it must be compared with the pair.
type pairEntry struct {
	pair uint64
	row  *metadataRow
}

func (e pairEntry) compare(o pairEntry) int {
	return cmp.Or(cmp.Compare(e.pair, o.pair), compareRows(e.row, o.row))
}

// pairSum returns the sum of a pair, which is the same in upper and lower case.
func pairSum(key, value string) uint64 {
	var h maphash.Hash
	h.SetSeed(sumSeed)
	h.WriteString(Fold(key))
	h.WriteByte(0)
	h.WriteString(Fold(value))
	return h.Sum64()
}

// pairMoves returns the changes of pair entries that follow from changes of rows,
// sorted.
func pairMoves(rows []index.Move[*metadataRow]) []index.Move[pairEntry] {
	var list []index.Move[pairEntry]
	for _, r := range rows {
		for _, p := range r.Entry.pairs {
			list = append(list, index.Move[pairEntry]{Entry: pairEntry{pairSum(p.Key, p.Value), r.Entry}, Remove: r.Remove})
		}
	}
	slices.SortFunc(list, func(a, b index.Move[pairEntry]) int { return a.Entry.compare(b.Entry) })
	return slices.Compact(list) // a row may have one pair twice but for letter case
}

// row returns the metadata row of that key, or nil.
func (x *machineIndex) row(k rowKey) *metadataRow {
	r, _ := x.metadata.Find(func(r *metadataRow) int { return r.compare(k) })
	return r
}

// rowsOf yields the metadata rows of an app.
func (x *machineIndex) rowsOf(app uint32) iter.Seq[*metadataRow] {
	return func(yield func(*metadataRow) bool) {
		for r := range x.metadata.From(func(r *metadataRow) bool { return r.app < app }) {
			if r.app != app || !yield(r) {
				return
			}
		}
	}
}

// rowsWith yields the metadata rows of an app that have a pair, in any letter
// case.
func (x *machineIndex) rowsWith(app uint32, key, value string) iter.Seq[*metadataRow] {
	return func(yield func(*metadataRow) bool) {
		want, sum := Pair{key, value}, pairSum(key, value)
		for e := range x.pairs.From(func(e pairEntry) bool { return e.pair < sum || e.pair == sum && e.row.app < app }) {
			if e.pair != sum || e.row.app != app {
				return
			}
			has := slices.ContainsFunc(e.row.pairs, func(p Pair) bool { return samePair(p, want) })
			if has && !yield(e.row) {
				return
			}
		}
	}
}

// shareMetadata gives m, which is not gone, the row of its app that has its metadata,
// and makes the row if there is none. before, unless nil, is the machine that m
// replaces.
func (w *writer) shareMetadata(m, before *Machine) {
	switch {
	case len(m.Metadata) == 0:
		m.Metadata, m.sum = nil, 0
		return
	case before != nil && !before.Gone() && slices.Equal(before.Metadata, m.Metadata):
		m.Metadata, m.sum = before.Metadata, before.sum
		return
	case w.lastRow == nil || w.lastRow.app != m.app || !slices.Equal(w.lastRow.pairs, m.Metadata):
		w.lastRow = w.metadataRow(m)
	}
	m.Metadata, m.sum = w.lastRow.pairs, w.lastRow.sum
}

// metadataRow finds or makes the row that has m's metadata.
func (w *writer) metadataRow(m *Machine) *metadataRow {
	k := rowKey{m.app, metadataSum(m.Metadata)}
	for ; ; k.sum++ {
		if k.sum == 0 {
			continue
		}
		r := w.newRows[k]
		if r == nil {
			r = w.old.machines.row(k)
		}
		if r == nil {
			break
		}
		if slices.Equal(r.pairs, m.Metadata) {
			return r
		}
		// Another row has this sum, by an accident of 1 in 2⁶⁴.
	}
	r := &metadataRow{k, slices.Clone(m.Metadata)}
	for i := range r.pairs {
		r.pairs[i].Key = unique.Make(r.pairs[i].Key).Value() // many apps use the same
	}
	if w.newRows == nil {
		w.newRows = make(map[rowKey]*metadataRow)
	}
	w.newRows[k] = r
	return r
}

// writeMetadata adds the new rows, and removes the rows that have lost their last
// machine.
func (w *writer) writeMetadata() {
	x := &w.next.machines
	var rows []index.Move[*metadataRow]
	slices.SortFunc(w.leftRows, rowKey.compare)
	for _, k := range slices.Compact(w.leftRows) {
		if !some(x.withRow(k)) {
			rows = append(rows, index.Move[*metadataRow]{Entry: x.row(k), Remove: true})
		}
	}
	for _, r := range w.newRows {
		rows = append(rows, index.Move[*metadataRow]{Entry: r})
	}
	slices.SortFunc(rows, func(a, b index.Move[*metadataRow]) int { return compareRows(a.Entry, b.Entry) })
	x.metadata = x.metadata.Apply(rows, compareRows)
	x.pairs = x.pairs.Apply(pairMoves(rows), pairEntry.compare)
}

func metadataSum(pairs []Pair) uint64 {
	var h maphash.Hash
	h.SetSeed(sumSeed)
	for _, p := range pairs {
		maphash.WriteComparable(&h, p)
	}
	return h.Sum64()
}
