package registry

import (
	"encoding/binary"
	"hash/maphash"
	"iter"
	"slices"
	"unique"
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

func metadataKey(app uint32, sum uint64) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 12), app)
	return binary.BigEndian.AppendUint64(b, sum)
}

// A posting says that a metadata row has a pair. It holds a sum of the pair,
// which is shorter than most pairs, so what is found by it must be looked at
// again.
type posting struct {
	pair uint64
	row  *metadata
}

func (p posting) appendKey(_ order, b []byte) ([]byte, bool) {
	b = append(pairKey(b, p.row.app, p.pair), 0, 0, 0, 0, 0, 0, 0, 0)
	binary.BigEndian.PutUint64(b[len(b)-8:], p.row.sum)
	return b, true
}

// pairKey appends what the keys of an app's rows that have a pair begin with.
func pairKey(b []byte, app uint32, pair uint64) []byte {
	b = binary.BigEndian.AppendUint32(append(b, byte(byPair)), app)
	return binary.BigEndian.AppendUint64(b, pair)
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

// postings returns those of rows.
func postings(rows []*metadata) []posting {
	var list []posting
	for _, r := range rows {
		for _, p := range r.pairs {
			list = append(list, posting{pairSum(p.Key, p.Value), r})
		}
	}
	return list
}

// with yields the metadata rows of an app that have a pair, compared in lower
// case.
func (s *Snapshot) with(app uint32, key, value string) iter.Seq[*metadata] {
	return func(yield func(*metadata) bool) {
		want := Pair{key, value}
		for p := range items[posting](s.txn, tPairs, pairKey(nil, app, pairSum(key, value))) {
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
			r = first[metadata](w.old.txn, tMetadata, rowID, metadataKey(id.app, id.sum))
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
	w.metadata[id] = r
	return r
}

// writeMetadata writes the rows made, and removes those, of the ones that
// machines have left, that no machine has any more. Machines are written.
func (w *writer) writeMetadata() {
	var before, after []*metadata
	for id := range w.left {
		if !hasItems[*Machine](w.txn, tMachines, rowKey(nil, id)) {
			r := first[metadata](w.old.txn, tMetadata, rowID, metadataKey(id.app, id.sum))
			w.remove(tMetadata, r)
			before = append(before, r)
		}
	}
	for _, r := range w.metadata {
		w.insert(tMetadata, r)
		after = append(after, r)
	}
	writeMoves(w, tPairs, byPair, moves(byPair, postings(before), postings(after)))
}

func sumOf(pairs []Pair) uint64 {
	var h maphash.Hash
	h.SetSeed(sumSeed)
	for _, p := range pairs {
		maphash.WriteComparable(&h, p)
	}
	return h.Sum64()
}
