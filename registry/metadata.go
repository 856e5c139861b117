package registry

import (
	"encoding/binary"
	"hash/maphash"
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

// metadataKey begins the keys of the metadata rows of an app, and of the
// machines that have that metadata.
func metadataKey(app uint32, sum uint64) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 12), app)
	return binary.BigEndian.AppendUint64(b, sum)
}

// pairKey begins the keys of the metadata rows of an app that have a pair. It
// holds a sum of the pair, which is shorter than most pairs, so what is found by
// it must be looked at again.
func pairKey(app uint32, key, value string) []byte {
	var h maphash.Hash
	h.SetSeed(sumSeed)
	h.WriteString(Fold(key))
	h.WriteByte(0)
	h.WriteString(Fold(value))
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 20), app)
	return binary.BigEndian.AppendUint64(b, h.Sum64())
}

// has reports whether the row has a pair, compared in lower case.
func (r *metadata) has(pair Pair) bool {
	return slices.ContainsFunc(r.pairs, func(p Pair) bool { return samePair(p, pair) })
}

// pairsIndexer indexes a metadata row by each of its pairs.
type pairsIndexer struct{ keyIndexer }

func (pairsIndexer) FromObject(raw any) (bool, [][]byte, error) {
	r := raw.(*metadata)
	keys := make([][]byte, len(r.pairs))
	for i, p := range r.pairs {
		keys[i] = binary.BigEndian.AppendUint64(pairKey(r.app, p.Key, p.Value), r.sum)
	}
	return true, keys, nil
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
	w.insert(tMetadata, r)
	return r
}

// dropMetadata removes the rows, of those that machines have left, that no
// machine has any more.
func (w *writer) dropMetadata() {
	for id := range w.left {
		if !hasMachines(w.txn, rowKey(nil, id)) {
			w.remove(tMetadata, first[metadata](w.old.txn, tMetadata, rowID, metadataKey(id.app, id.sum)))
		}
	}
}

func sumOf(pairs []Pair) uint64 {
	var h maphash.Hash
	h.SetSeed(sumSeed)
	for _, p := range pairs {
		maphash.WriteComparable(&h, p)
	}
	return h.Sum64()
}
