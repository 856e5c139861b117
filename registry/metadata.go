package registry

import (
	"cmp"
	"hash/maphash"
	"iter"
	"slices"
	"unique"

	"github.com/internaldns/internaldns/registry/index"
)

// A metadata row stands for all machines of one app, not gone, that have the
// same metadata. The machines of an app mostly do, so the index of pairs is
// kept for rows instead of for machines.
type metadata struct {
	metadataID
	pairs []Pair
}

// A metadataID names a metadata row. Sum 0 stands for no metadata and has no row.
type metadataID struct {
	app uint32
	sum uint64
}

// compare orders rows by app and sum.
func (id metadataID) compare(o metadataID) int {
	return cmp.Or(cmp.Compare(id.app, o.app), cmp.Compare(id.sum, o.sum))
}

func compareRows(a, b *metadata) int { return a.compare(b.metadataID) }

// A posting says that a metadata row has a pair. It holds a sum of the pair,
// which is shorter than most pairs, so what is found by it must be looked at
// again.
type posting struct {
	pair uint64
	row  *metadata
}

func (p posting) compare(o posting) int {
	return cmp.Or(cmp.Compare(p.pair, o.pair), compareRows(p.row, o.row))
}

// pairSum returns the sum of a pair, whatever case it is written in.
func pairSum(key, value string) uint64 {
	var h maphash.Hash
	h.SetSeed(sumSeed)
	h.WriteString(Fold(key))
	h.WriteByte(0)
	h.WriteString(Fold(value))
	return h.Sum64()
}

// postings returns what becomes of the postings of rows, in order.
func postings(rows []index.Move[*metadata]) []index.Move[posting] {
	var list []index.Move[posting]
	for _, r := range rows {
		for _, p := range r.Entry.pairs {
			list = append(list, index.Move[posting]{Entry: posting{pairSum(p.Key, p.Value), r.Entry}, Remove: r.Remove})
		}
	}
	slices.SortFunc(list, func(a, b index.Move[posting]) int { return a.Entry.compare(b.Entry) })
	return slices.Compact(list) // a row may have one pair twice but for letter case
}

// row returns the metadata row of that name, or nil.
func (f *fleet) row(id metadataID) *metadata {
	r, _ := f.metadata.Find(func(r *metadata) int { return r.compare(id) })
	return r
}

// rowsOf yields the metadata rows of an app.
func (f *fleet) rowsOf(app uint32) iter.Seq[*metadata] {
	return func(yield func(*metadata) bool) {
		for r := range f.metadata.From(func(r *metadata) bool { return r.app < app }) {
			if r.app != app || !yield(r) {
				return
			}
		}
	}
}

// with yields the metadata rows of an app that have a pair, compared in lower
// case.
func (f *fleet) with(app uint32, key, value string) iter.Seq[*metadata] {
	return func(yield func(*metadata) bool) {
		want, sum := Pair{key, value}, pairSum(key, value)
		for p := range f.pairs.From(func(p posting) bool { return p.pair < sum || p.pair == sum && p.row.app < app }) {
			if p.pair != sum || p.row.app != app {
				return
			}
			has := slices.ContainsFunc(p.row.pairs, func(p Pair) bool { return samePair(p, want) })
			if has && !yield(p.row) {
				return
			}
		}
	}
}

// share gives m, which is not gone, the metadata row of its app that says the
// same, making it if there is none. before, unless nil, is what m replaces.
func (w *writer) share(m, before *Machine) {
	switch {
	case len(m.Metadata) == 0:
		m.Metadata, m.sum = nil, 0
		return
	case before != nil && !before.Gone() && slices.Equal(before.Metadata, m.Metadata):
		m.Metadata, m.sum = before.Metadata, before.sum
		return
	case w.row == nil || w.row.app != m.app || !slices.Equal(w.row.pairs, m.Metadata):
		w.row = w.metadataRow(m)
	}
	m.Metadata, m.sum = w.row.pairs, w.row.sum
}

// metadataRow finds or makes the row that says what m's metadata says.
func (w *writer) metadataRow(m *Machine) *metadata {
	id := metadataID{m.app, sumOf(m.Metadata)}
	for ; ; id.sum++ {
		if id.sum == 0 {
			continue
		}
		r := w.metadata[id]
		if r == nil {
			r = w.old.fleet.row(id)
		}
		if r == nil {
			break
		}
		if slices.Equal(r.pairs, m.Metadata) {
			return r
		}
		// Another's, by an accident of 1 in 2⁶⁴.
	}
	r := &metadata{id, slices.Clone(m.Metadata)}
	for i := range r.pairs {
		r.pairs[i].Key = unique.Make(r.pairs[i].Key).Value() // many apps use the same
	}
	if w.metadata == nil {
		w.metadata = make(map[metadataID]*metadata)
	}
	w.metadata[id] = r
	return r
}

// writeMetadata puts the rows made into the fleet, and removes those, of the ones
// that machines have left, that no machine has any more.
func (w *writer) writeMetadata() {
	f := &w.next.fleet
	var rows []index.Move[*metadata]
	slices.SortFunc(w.left, metadataID.compare)
	for _, id := range slices.Compact(w.left) {
		if !some(f.having(id)) {
			rows = append(rows, index.Move[*metadata]{Entry: f.row(id), Remove: true})
		}
	}
	for _, r := range w.metadata {
		rows = append(rows, index.Move[*metadata]{Entry: r})
	}
	slices.SortFunc(rows, func(a, b index.Move[*metadata]) int { return compareRows(a.Entry, b.Entry) })
	f.metadata = f.metadata.Apply(rows, compareRows)
	f.pairs = f.pairs.Apply(postings(rows), posting.compare)
}

func sumOf(pairs []Pair) uint64 {
	var h maphash.Hash
	h.SetSeed(sumSeed)
	for _, p := range pairs {
		maphash.WriteComparable(&h, p)
	}
	return h.Sum64()
}
