package registry

import (
	"bytes"
	"encoding/binary"
	"iter"
	"slices"

	"github.com/hashicorp/go-memdb"
)

// An entry of a memdb index takes about 450 octets, most of them in channels
// that tell of changes and that nobody here listens to. A machine is in four
// orders, so machines are kept in runs: a row of the machines table is up to
// maxRun neighbours in one order, and a machine takes about 12 octets in each.

// An order is one in which all machines are kept. It is the first octet of the
// keys of its runs.
type order byte

const (
	byID      order = 'i' // id; gone ones: id, app, sum
	byAddress order = 'a' // address, if not gone
	byNetwork order = 'n' // network, id, if not gone
	byPlace   order = 'p' // app, metadata row, region, id
)

var orders = [...]order{byID, byAddress, byNetwork, byPlace}

// maxRun is the most machines that a run holds. Every change of a machine copies
// a run in each order, 8 octets a machine; half the machines would mean twice
// the rows.
const maxRun = 64

// A run is a row of the machines table. It is not changed once written.
type run struct {
	// last is the key of the run. No machine in it has a higher one, and all
	// machines of its order above that of the run before belong in it.
	last     []byte
	machines []*Machine
}

// end is the key of the last run of an order, above all keys of machines.
func (o order) end() []byte { return []byte{byte(o) + 1} }

// appendKey appends the key of m in an order, and reports whether m is in it.
func (o order) appendKey(b []byte, m *Machine) ([]byte, bool) {
	if m.Gone() && (o == byAddress || o == byNetwork) {
		return b, false
	}
	switch o {
	case byID:
		if m.Gone() {
			return goneKey(b, m.app, m.ID, m.sum), true
		}
		return machineKey(b, m.ID), true
	case byAddress:
		return addressKey(append(b, byte(o)), m.Address), true
	case byNetwork:
		return append(binary.BigEndian.AppendUint32(append(b, byte(o)), uint32(m.Network)), m.ID...), true
	default:
		return placeKey(b, m), true
	}
}

// keyRoom is as long as nearly all keys. Those of gone machines may be longer.
const keyRoom = 128

// machineKey appends the key of the one machine of that id that is not gone.
func machineKey(b []byte, id string) []byte {
	return append(append(append(b, byte(byID)), id...), 0)
}

// goneKey appends the key of a gone machine. Its length tells where the id ends,
// so it is no other's key whatever the id is made of.
func goneKey(b []byte, app uint32, id string, sum uint64) []byte {
	b = binary.BigEndian.AppendUint32(machineKey(b, id), app)
	return binary.BigEndian.AppendUint64(b, sum)
}

// placeKey appends where a machine stands in its app. Gone machines, which have
// no metadata row, stand in the region "".
func placeKey(b []byte, m *Machine) []byte {
	if m.Gone() {
		return goneKey(regionKey(b, metadataID{m.app, 0}, ""), m.app, m.ID, m.sum)
	}
	return append(regionKey(b, metadataID{m.app, m.sum}, m.Region), m.ID...)
}

// regionKey appends what the places of machines with that metadata in that
// region begin with; rowKey, of those with that metadata; appPlaces, of those of
// the app.
func regionKey(b []byte, row metadataID, region string) []byte {
	return append(append(rowKey(b, row), region...), 0)
}

func rowKey(b []byte, row metadataID) []byte {
	return binary.BigEndian.AppendUint64(appPlaces(b, row.app), row.sum)
}

func appPlaces(b []byte, app uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, byte(byPlace)), app)
}

// search returns where the machine of that key is in the run, or belongs.
func (r *run) search(machines []*Machine, key []byte) (int, bool) {
	o := order(key[0])
	var room [keyRoom]byte
	low, high := 0, len(machines)
	for low < high {
		mid := (low + high) / 2
		at, _ := o.appendKey(room[:0], machines[mid])
		switch bytes.Compare(at, key) {
		case -1:
			low = mid + 1
		case 1:
			high = mid
		default:
			return mid, true
		}
	}
	return low, false
}

// runs yields the runs of key's order from the one in which key belongs.
func runs(txn *memdb.Txn, key []byte) iter.Seq[*run] {
	return func(yield func(*run) bool) {
		it, err := txn.LowerBound(tMachines, rowID, key)
		if err != nil {
			panic(err) // the schema has no such table
		}
		for raw := it.Next(); raw != nil; raw = it.Next() {
			r := raw.(*run)
			if r.order() != order(key[0]) || !yield(r) {
				return
			}
		}
	}
}

func (r *run) order() order {
	if len(r.last) == 1 {
		return order(r.last[0] - 1)
	}
	return order(r.last[0])
}

// machineAt returns the machine of that key, or nil.
func machineAt(txn *memdb.Txn, key []byte) *Machine {
	for r := range runs(txn, key) {
		if i, ok := r.search(r.machines, key); ok {
			return r.machines[i]
		}
		break
	}
	return nil
}

// machines yields the machines whose keys begin with prefix, which is more than
// the order, in the keys' order.
func machines(txn *memdb.Txn, prefix []byte) iter.Seq[*Machine] {
	return func(yield func(*Machine) bool) {
		o := order(prefix[0])
		var room [keyRoom]byte
		start := -1
		for r := range runs(txn, prefix) {
			if start < 0 {
				start, _ = r.search(r.machines, prefix)
			} else {
				start = 0
			}
			for _, m := range r.machines[start:] {
				if key, _ := o.appendKey(room[:0], m); !bytes.HasPrefix(key, prefix) || !yield(m) {
					return
				}
			}
		}
	}
}

// hasMachines reports whether the keys of any machines begin with prefix.
func hasMachines(txn *memdb.Txn, prefix []byte) bool {
	for range machines(txn, prefix) {
		return true
	}
	return false
}

// A move is what becomes of one key: m stands there afterwards, or nobody.
type move struct {
	key []byte
	m   *Machine
}

// moves returns what changes in one order, by key.
func moves(o order, changes []Change[Machine]) []move {
	list := make([]move, 0, len(changes))
	var room []byte // for keys, many at a time
	key := func(m *Machine) ([]byte, bool) {
		if cap(room)-len(room) < keyRoom {
			room = make([]byte, 0, max(keyRoom, min(len(changes)*keyRoom/4, 1<<16)))
		}
		start := len(room)
		b, ok := o.appendKey(room[start:start:cap(room)], m)
		if start+len(b) <= cap(room) {
			room = room[:start+len(b)]
		}
		return slices.Clip(b), ok
	}
	for _, ch := range changes {
		var before []byte
		var was bool
		if ch.Before != nil {
			before, was = key(ch.Before)
		}
		if ch.After != nil {
			after, is := key(ch.After)
			if is {
				list = append(list, move{after, ch.After})
			}
			was = was && !(is && bytes.Equal(before, after))
		}
		if was {
			list = append(list, move{before, nil})
		}
	}
	// Of two at one key, the one that stands there is the last.
	slices.SortFunc(list, func(a, b move) int {
		if c := bytes.Compare(a.key, b.key); c != 0 || (a.m == nil) == (b.m == nil) {
			return c
		} else if a.m == nil {
			return -1
		}
		return 1
	})
	return list
}

// writeMachines moves machines in one order.
func (w *writer) writeMachines(o order, list []move) {
	for len(list) > 0 {
		old := &run{last: o.end()} // unless there is one
		for r := range runs(w.old.txn, list[0].key) {
			old = r
			break
		}
		n := len(list)
		if len(old.last) > 1 {
			n, _ = slices.BinarySearchFunc(list, old.last, func(m move, last []byte) int {
				if bytes.Compare(m.key, last) <= 0 {
					return -1
				}
				return 1
			})
		}
		w.writeRun(o, old, merged(old, list[:n]))
		list = list[n:]
	}
}

// merged returns the machines of a run after the moves.
func merged(r *run, list []move) []*Machine {
	out := make([]*Machine, 0, len(r.machines)+len(list))
	rest := r.machines
	for i, mv := range list {
		at, found := r.search(rest, mv.key)
		out = append(out, rest[:at]...)
		rest = rest[at:]
		if found {
			rest = rest[1:]
		}
		if mv.m != nil && !(i+1 < len(list) && bytes.Equal(list[i+1].key, mv.key)) {
			out = append(out, mv.m)
		}
	}
	return append(out, rest...)
}

// writeRun writes machines in the place of old, in as many runs as it takes. A
// run that shrinks is not joined with its neighbours: it costs no more than
// before.
func (w *writer) writeRun(o order, old *run, machines []*Machine) {
	if len(machines) == 0 {
		if len(old.machines) > 0 {
			w.remove(tMachines, old)
		}
		return
	}
	n := 1
	if len(machines) > maxRun {
		n = (len(machines) + maxRun*3/4 - 1) / (maxRun * 3 / 4) // with room to grow
	}
	for i := range n {
		part := machines[len(machines)*i/n : len(machines)*(i+1)/n]
		r := &run{last: old.last, machines: slices.Clip(part)}
		if n > 1 {
			r.machines = slices.Clone(part)
		}
		if i < n-1 {
			r.last, _ = o.appendKey(nil, part[len(part)-1])
		}
		w.insert(tMachines, r)
	}
}
