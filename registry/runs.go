package registry

import (
	"bytes"
	"iter"
	"slices"

	"github.com/hashicorp/go-memdb"
)

// An entry of a memdb index takes about 450 octets, most of them in channels
// that tell of changes and that nobody here listens to. Machines, which are in
// four orders, and the pairs of their metadata are therefore kept in runs: a row
// of their table is up to maxRun neighbours in one order, and one more takes
// about 12 octets.

// An order is one in which items are kept. It is the first octet of their keys.
type order byte

// An item is what runs are made of.
type item interface {
	// appendKey appends the item's key in an order, and reports whether the item
	// is in that order. Keys are unique and more than the order.
	appendKey(o order, b []byte) ([]byte, bool)
}

// maxRun is the most items that a run holds. Every change of an item copies a
// run in each order, 8 octets for a machine; half the items would mean twice the
// rows.
const maxRun = 64

// keyRoom is as long as nearly all keys. Those of gone machines may be longer.
const keyRoom = 128

// A run is a row of a table of items. It is not changed once written.
type run[T item] struct {
	// last is the key of the run. No item in it has a higher one, and all items
	// of its order above that of the run before belong in it.
	last  []byte
	items []T
}

func (r *run[T]) order() order {
	if len(r.last) == 1 { // the end of the order before
		return order(r.last[0] - 1)
	}
	return order(r.last[0])
}

// end is the key of the last run of an order, above all keys of items.
func (o order) end() []byte { return []byte{byte(o) + 1} }

// search returns where in items the one of that key is, or belongs.
func search[T item](items []T, key []byte) (int, bool) {
	room := make([]byte, 0, keyRoom)
	return slices.BinarySearchFunc(items, key, func(it T, key []byte) int {
		at, _ := it.appendKey(order(key[0]), room)
		return bytes.Compare(at, key)
	})
}

// runs yields the runs of key's order from the one in which key belongs.
func runs[T item](txn *memdb.Txn, table string, key []byte) iter.Seq[*run[T]] {
	return func(yield func(*run[T]) bool) {
		it, err := txn.LowerBound(table, rowID, key)
		if err != nil {
			panic(err) // the schema has no such table
		}
		for raw := it.Next(); raw != nil; raw = it.Next() {
			r := raw.(*run[T])
			if r.order() != order(key[0]) || !yield(r) {
				return
			}
		}
	}
}

// itemAt returns the item of that key.
func itemAt[T item](txn *memdb.Txn, table string, key []byte) (it T, ok bool) {
	for r := range runs[T](txn, table, key) {
		if i, ok := search(r.items, key); ok {
			return r.items[i], true
		}
		break
	}
	return it, false
}

// items yields the items whose keys begin with prefix, which is more than the
// order, in the keys' order.
func items[T item](txn *memdb.Txn, table string, prefix []byte) iter.Seq[T] {
	return func(yield func(T) bool) {
		room := make([]byte, 0, keyRoom)
		start := -1
		for r := range runs[T](txn, table, prefix) {
			if start < 0 {
				start, _ = search(r.items, prefix)
			} else {
				start = 0
			}
			for _, it := range r.items[start:] {
				if key, _ := it.appendKey(order(prefix[0]), room); !bytes.HasPrefix(key, prefix) || !yield(it) {
					return
				}
			}
		}
	}
}

// hasItems reports whether the keys of any items begin with prefix.
func hasItems[T item](txn *memdb.Txn, table string, prefix []byte) bool {
	for range items[T](txn, table, prefix) {
		return true
	}
	return false
}

// machineAt returns the machine of that key, or nil.
func machineAt(txn *memdb.Txn, key []byte) *Machine {
	m, _ := itemAt[*Machine](txn, tMachines, key)
	return m
}

// machines yields the machines whose keys begin with prefix.
func machines(txn *memdb.Txn, prefix []byte) iter.Seq[*Machine] {
	return items[*Machine](txn, tMachines, prefix)
}

// A move is what becomes of one key.
type move[T item] struct {
	key  []byte
	item T
	put  bool // item stands there afterwards; else nothing
}

// moves returns what changes in one order, by key, when the items of before
// leave and those of after come.
func moves[T item](o order, before, after []T) []move[T] {
	list := make([]move[T], 0, len(before)+len(after))
	var room []byte // for keys, many at a time
	note := func(it T, put bool) {
		if cap(room)-len(room) < keyRoom {
			room = make([]byte, 0, min((len(before)+len(after)-len(list))*keyRoom, 1<<16))
		}
		start := len(room)
		key, ok := it.appendKey(o, room[start:start])
		if start+len(key) <= cap(room) {
			room = room[:start+len(key)]
		}
		if ok {
			list = append(list, move[T]{slices.Clip(key), it, put})
		}
	}
	for _, it := range before {
		note(it, false)
	}
	for _, it := range after {
		note(it, true)
	}
	slices.SortFunc(list, func(a, b move[T]) int {
		c := bytes.Compare(a.key, b.key)
		if c == 0 && a.put != b.put {
			c = 1 // of two at one key, the one that comes counts
			if b.put {
				c = -1
			}
		}
		return c
	})
	out := list[:0]
	for i, mv := range list {
		if i+1 == len(list) || !bytes.Equal(mv.key, list[i+1].key) {
			out = append(out, mv)
		}
	}
	return out
}

// writeMoves writes the moves in one order.
func writeMoves[T item](w *writer, table string, o order, list []move[T]) {
	for len(list) > 0 {
		old := &run[T]{last: o.end()} // unless there is one
		for r := range runs[T](w.old.txn, table, list[0].key) {
			old = r
			break
		}
		n, _ := slices.BinarySearchFunc(list, old.last, func(mv move[T], last []byte) int {
			if bytes.Compare(mv.key, last) <= 0 {
				return -1
			}
			return 1
		})
		writeRun(w, table, o, old, merged(old.items, list[:n]))
		list = list[n:]
	}
}

// merged returns the items of a run after the moves.
func merged[T item](rest []T, list []move[T]) []T {
	out := make([]T, 0, len(rest)+len(list))
	for _, mv := range list {
		at, found := search(rest, mv.key)
		out = append(out, rest[:at]...)
		rest = rest[at:]
		if found {
			rest = rest[1:]
		}
		if mv.put {
			out = append(out, mv.item)
		}
	}
	return append(out, rest...)
}

// writeRun writes items in the place of old, in as many runs as it takes. A run
// that shrinks is not joined with its neighbours: it costs no more than before.
func writeRun[T item](w *writer, table string, o order, old *run[T], items []T) {
	if len(items) == 0 {
		if len(old.items) > 0 {
			w.remove(table, old)
		}
		return
	}
	const fill = maxRun * 3 / 4 // with room to grow
	n := 1
	if len(items) > maxRun {
		n = (len(items) + fill - 1) / fill
	}
	for i := range n {
		part := slices.Clone(items[len(items)*i/n : len(items)*(i+1)/n])
		r := &run[T]{old.last, slices.Clip(part)}
		if i < n-1 {
			r.last, _ = part[len(part)-1].appendKey(o, nil)
		}
		w.insert(table, r)
	}
}
