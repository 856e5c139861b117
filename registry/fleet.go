package registry

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/internaldns/internaldns/registry/index"
)

// A fleet is all machines, with what finds them, and what else changes with most
// commits. It never changes.
//
// Orders hold the machines' numbers and not the machines, so one that stops or
// starts is changed in one tree, and the other four, which have no pointers, are
// not even looked at by the garbage collector.
type fleet struct {
	machines *index.Tree[slot]
	orders   [numOrders]*index.Tree[place]
	metadata *index.Tree[*metadata] // by app and sum
	pairs    *index.Tree[posting]
	indexes  *index.Tree[networkIndex]

	last uint64 // the last number given
}

// A slot is a machine under its number.
type slot struct {
	number  uint64
	machine *Machine
}

// A networkIndex is the index of the last commit that changed an answer of a
// network. It stands when the network's last fact is gone.
type networkIndex struct {
	network Network
	index   uint64
}

// A place is where a machine stands in an order. Keys are of 64 bits, and not
// always enough to tell machines apart, so what is found by one must be looked
// at again.
type place struct{ key, number uint64 }

// An order is one in which places are kept: by their keys, then by their
// numbers; in byNetwork by id in between.
type order int

const (
	byID      order = iota // hash of the id; gone ones: hash of app and id
	byAddress              // hash of the /112, last 16 bits of the address; gone ones are not in it
	byNetwork              // network, first 4 octets of the id; gone ones are not in it
	byApp                  // app, 16 bits of the metadata row's sum, 16 of the region's hash; gone ones as without both
	numOrders
)

// key returns the key of m in an order, and reports whether m is in it.
func (m *Machine) key(o order) (key uint64, ok bool) {
	switch o {
	case byID:
		if m.Gone() {
			return goneKey(m.app, m.ID), true
		}
		return idKey(m.ID), true
	case byAddress:
		if m.Gone() {
			return 0, false
		}
		return addressPlace(m.Address), true
	case byNetwork:
		return networkPlace(m.Network, m.ID), !m.Gone()
	default:
		if m.Gone() {
			return appPlace(metadataID{app: m.app}, ""), true
		}
		return appPlace(metadataID{m.app, m.sum}, m.Region), true
	}
}

func idKey(id string) uint64 { return maphash.String(sumSeed, id) }

func goneKey(app uint32, id string) uint64 { return maphash.Comparable(sumSeed, machineID{app, id}) }

// addressPlace is for addresses that are in a network.
func addressPlace(a netip.Addr) uint64 {
	octets := a.As16()
	return maphash.Bytes(sumSeed, octets[2:14])&^0xFFFF | uint64(binary.BigEndian.Uint16(octets[14:]))
}

func networkPlace(n Network, id string) uint64 {
	var head [4]byte
	copy(head[:], id)
	return uint64(n)<<32 | uint64(binary.BigEndian.Uint32(head[:]))
}

func appPlace(row metadataID, region string) uint64 {
	return uint64(row.app)<<32 | row.sum&0xFFFF<<16 | maphash.String(sumSeed, region)&0xFFFF
}

// machine returns the machine of that number, or nil.
func (f *fleet) machine(number uint64) *Machine {
	m, _ := f.machines.Find(func(n slot) int { return cmp.Compare(n.number, number) })
	return m.machine
}

// between yields the machines whose keys in an order are from first to last, in
// that order.
func (f *fleet) between(o order, first, last uint64) iter.Seq[*Machine] {
	return func(yield func(*Machine) bool) {
		for p := range f.orders[o].From(func(p place) bool { return p.key < first }) {
			if p.key > last || !yield(f.machine(p.number)) {
				return
			}
		}
	}
}

// at yields the machines of that key.
func (f *fleet) at(o order, key uint64) iter.Seq[*Machine] { return f.between(o, key, key) }

// having yields the machines that are not gone and have the metadata row: no
// metadata, if its sum is 0. inRegion yields those in one region.

func (f *fleet) having(row metadataID) iter.Seq[*Machine] {
	key := appPlace(row, "") &^ 0xFFFF
	return where(f.between(byApp, key, key|0xFFFF), func(m *Machine) bool { return !m.Gone() && m.sum == row.sum })
}

func (f *fleet) inRegion(row metadataID, region string) iter.Seq[*Machine] {
	return where(f.at(byApp, appPlace(row, region)),
		func(m *Machine) bool { return !m.Gone() && m.sum == row.sum && m.Region == region })
}

// move makes the changes.
func (f *fleet) move(changes []MachineChange) {
	if len(changes) == 0 {
		return
	}
	old := f.machines
	machines := make([]index.Move[slot], 0, len(changes))
	for _, ch := range changes {
		switch {
		case ch.After == nil:
			machines = append(machines, index.Move[slot]{Entry: slot{number: ch.Before.number}, Remove: true})
			continue
		case ch.Before != nil:
			ch.After.number = ch.Before.number
		default:
			f.last++
			ch.After.number = f.last
		}
		machines = append(machines, index.Move[slot]{Entry: slot{ch.After.number, ch.After}})
	}
	byNumber := func(a, b slot) int { return cmp.Compare(a.number, b.number) }
	slices.SortFunc(machines, func(a, b index.Move[slot]) int { return byNumber(a.Entry, b.Entry) })
	f.machines = f.machines.Apply(machines, byNumber)
	for o := range numOrders {
		f.orders[o] = f.moveIn(o, changes, old)
	}
}

// moveIn returns an order after the changes. old holds the machines before them.
func (f *fleet) moveIn(o order, changes []MachineChange, old *index.Tree[slot]) *index.Tree[place] {
	type moved struct {
		index.Move[place]
		id string
	}
	list := make([]moved, 0, 2) // most commits move one machine
	for _, ch := range changes {
		var before, after place
		var left, came bool
		if m := ch.Before; m != nil {
			before.number = m.number
			before.key, left = m.key(o)
		}
		if m := ch.After; m != nil {
			after.number = m.number
			after.key, came = m.key(o)
		}
		if left && came && before == after {
			continue
		}
		if left {
			list = append(list, moved{index.Move[place]{Entry: before, Remove: true}, ch.Before.ID})
		}
		if came {
			list = append(list, moved{index.Move[place]{Entry: after}, ch.After.ID})
		}
	}
	slices.SortFunc(list, func(a, b moved) int {
		return comparePlaces(o, a.Entry, b.Entry, func() int { return strings.Compare(a.id, b.id) })
	})
	moves := make([]index.Move[place], len(list))
	for i := range list {
		moves[i] = list[i].Move
	}
	idOf := func(number uint64) string {
		m := f.machine(number)
		if m == nil {
			m = (&fleet{machines: old}).machine(number)
		}
		return m.ID
	}
	return f.orders[o].Apply(moves, func(a, b place) int {
		return comparePlaces(o, a, b, func() int { return strings.Compare(idOf(a.number), idOf(b.number)) })
	})
}

// mark notes the commit that changed answers of networks, which are in order.
func (f *fleet) mark(networks []Network, commit uint64) {
	moves := make([]index.Move[networkIndex], len(networks))
	for i, n := range networks {
		moves[i].Entry = networkIndex{n, commit}
	}
	f.indexes = f.indexes.Apply(moves, func(a, b networkIndex) int { return cmp.Compare(a.network, b.network) })
}

// comparePlaces compares places of an order; ids compares the ids of the
// machines there.
func comparePlaces(o order, a, b place, ids func() int) int {
	c := cmp.Compare(a.key, b.key)
	if c == 0 && o == byNetwork {
		c = ids()
	}
	if c == 0 {
		c = cmp.Compare(a.number, b.number)
	}
	return c
}
