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

// A machineIndex is all machines, with the orders by which they are found, and what
// else changes with most commits. It never changes.
//
// Orders hold the machines' numbers and not the machines. So a machine that stops or
// starts is changed in one tree, and the garbage collector does not look at the four
// orders, which have no pointers.
type machineIndex struct {
	machines *index.Tree[machineEntry]
	orders   [numOrders]*index.Tree[orderEntry]
	metadata *index.Tree[*metadataRow] // by app and sum
	pairs    *index.Tree[pairEntry]
	networks *index.Tree[networkRow]

	last uint64 // the last number given
}

// A machineEntry is a machine by its number.
type machineEntry struct {
	number  uint64
	machine *Machine
}

// A networkRow is a network that has, or has had, facts or a name. It stays when the
// last of them is deleted.
type networkRow struct {
	network Network
	objects int32  // apps, peers and Flycast addresses in it, and its name
	changed uint64 // the last commit that changed an answer
}

// An orderEntry is a machine in an order. Two machines can have one key, so those
// found by a key must be compared with what was looked for.
type orderEntry struct{ key, number uint64 }

// An order sorts machines by key, then by number; byNetwork by id in between.
type order int

const (
	byID      order = iota // hash of the id; gone machines: hash of app and id
	byAddress              // hash of the /112, last 16 bits of the address; no gone machines
	byNetwork              // network, first 4 octets of the id; no gone machines
	byApp                  // app, 16 bits of the metadata row's sum, 16 of the region's hash; gone machines as without both
	numOrders
)

// key returns the key of m in an order, and reports whether m is in it.
func (m *Machine) key(o order) (key uint64, ok bool) {
	switch o {
	case byID:
		if m.Gone() {
			return goneOrderKey(m.app, m.ID), true
		}
		return idOrderKey(m.ID), true
	case byAddress:
		if m.Gone() {
			return 0, false
		}
		return addressOrderKey(m.Address), true
	case byNetwork:
		return networkOrderKey(m.Network, m.ID), !m.Gone()
	default:
		if m.Gone() {
			return appOrderKey(rowKey{app: m.app}, ""), true
		}
		return appOrderKey(rowKey{m.app, m.sum}, m.Region), true
	}
}

func idOrderKey(id string) uint64 { return maphash.String(sumSeed, id) }

func goneOrderKey(app uint32, id string) uint64 {
	return maphash.Comparable(sumSeed, machineID{app, id})
}

// addressOrderKey is for addresses that are in a network.
func addressOrderKey(a netip.Addr) uint64 {
	octets := a.As16()
	return maphash.Bytes(sumSeed, octets[2:14])&^0xFFFF | uint64(binary.BigEndian.Uint16(octets[14:]))
}

func networkOrderKey(n Network, id string) uint64 {
	var head [4]byte
	copy(head[:], id)
	return uint64(n)<<32 | uint64(binary.BigEndian.Uint32(head[:]))
}

func appOrderKey(row rowKey, region string) uint64 {
	return uint64(row.app)<<32 | row.sum&0xFFFF<<16 | maphash.String(sumSeed, region)&0xFFFF
}

// machine returns the machine of that number, or nil.
func (x *machineIndex) machine(number uint64) *Machine {
	m, _ := x.machines.Find(func(n machineEntry) int { return cmp.Compare(n.number, number) })
	return m.machine
}

// between yields the machines whose keys in an order are from first to last, in
// that order.
func (x *machineIndex) between(o order, first, last uint64) iter.Seq[*Machine] {
	return func(yield func(*Machine) bool) {
		for e := range x.orders[o].From(func(e orderEntry) bool { return e.key < first }) {
			if e.key > last || !yield(x.machine(e.number)) {
				return
			}
		}
	}
}

// at yields the machines of that key.
func (x *machineIndex) at(o order, key uint64) iter.Seq[*Machine] { return x.between(o, key, key) }

// withRow yields the machines that are not gone and have the metadata row; no
// metadata, if its sum is 0.
func (x *machineIndex) withRow(row rowKey) iter.Seq[*Machine] {
	key := appOrderKey(row, "") &^ 0xFFFF
	return where(x.between(byApp, key, key|0xFFFF), func(m *Machine) bool { return !m.Gone() && m.sum == row.sum })
}

// inRegion yields the machines of withRow that are in one region.
func (x *machineIndex) inRegion(row rowKey, region string) iter.Seq[*Machine] {
	return where(x.at(byApp, appOrderKey(row, region)),
		func(m *Machine) bool { return !m.Gone() && m.sum == row.sum && m.Region == region })
}

// apply makes the changes.
func (x *machineIndex) apply(changes []MachineChange) {
	if len(changes) == 0 {
		return
	}
	old := x.machines
	moves := make([]index.Move[machineEntry], 0, len(changes))
	for _, ch := range changes {
		switch {
		case ch.After == nil:
			moves = append(moves, index.Move[machineEntry]{Entry: machineEntry{number: ch.Before.number}, Remove: true})
			continue
		case ch.Before != nil:
			ch.After.number = ch.Before.number
		default:
			x.last++
			ch.After.number = x.last
		}
		moves = append(moves, index.Move[machineEntry]{Entry: machineEntry{ch.After.number, ch.After}})
	}
	byNumber := func(a, b machineEntry) int { return cmp.Compare(a.number, b.number) }
	slices.SortFunc(moves, func(a, b index.Move[machineEntry]) int { return byNumber(a.Entry, b.Entry) })
	x.machines = x.machines.Apply(moves, byNumber)
	for o := range numOrders {
		x.orders[o] = x.applyTo(o, changes, old)
	}
}

// applyTo returns an order after the changes. old holds the machines before them.
func (x *machineIndex) applyTo(o order, changes []MachineChange, old *index.Tree[machineEntry]) *index.Tree[orderEntry] {
	type move struct {
		index.Move[orderEntry]
		id string
	}
	list := make([]move, 0, 2) // most commits change one machine
	for _, ch := range changes {
		var before, after orderEntry
		var was, is bool // in the order
		if m := ch.Before; m != nil {
			before.number = m.number
			before.key, was = m.key(o)
		}
		if m := ch.After; m != nil {
			after.number = m.number
			after.key, is = m.key(o)
		}
		if was && is && before == after {
			continue
		}
		if was {
			list = append(list, move{index.Move[orderEntry]{Entry: before, Remove: true}, ch.Before.ID})
		}
		if is {
			list = append(list, move{index.Move[orderEntry]{Entry: after}, ch.After.ID})
		}
	}
	slices.SortFunc(list, func(a, b move) int {
		return o.compare(a.Entry, b.Entry, func() int { return strings.Compare(a.id, b.id) })
	})
	moves := make([]index.Move[orderEntry], len(list))
	for i := range list {
		moves[i] = list[i].Move
	}
	idOf := func(number uint64) string {
		m := x.machine(number)
		if m == nil {
			m = (&machineIndex{machines: old}).machine(number)
		}
		return m.ID
	}
	return x.orders[o].Apply(moves, func(a, b orderEntry) int {
		return o.compare(a, b, func() int { return strings.Compare(idOf(a.number), idOf(b.number)) })
	})
}

// network returns the row of n, which is without objects if there is none.
func (x *machineIndex) network(n Network) networkRow {
	row, _ := x.networks.Find(func(r networkRow) int { return cmp.Compare(r.network, n) })
	row.network = n
	return row
}

// applyNetworks changes the rows of networks, and returns how many more networks have
// objects than before.
func (x *machineIndex) applyNetworks(c *Changes) (more int) {
	rows := make(map[Network]networkRow, len(c.Networks))
	change := func(n Network, objects int32, changed uint64) {
		row, ok := rows[n]
		if !ok {
			row = x.network(n)
		}
		row.objects += objects
		row.changed = max(row.changed, changed)
		rows[n] = row
	}
	for _, n := range c.Networks {
		change(n, 0, c.Index)
	}
	for _, ch := range c.Others {
		switch n := ch.Fact().Key().In(); {
		case n == 0 || ch.Before != nil && ch.After != nil:
		case ch.After != nil:
			change(n, 1, 0)
		default:
			change(n, -1, 0)
		}
	}
	moves := make([]index.Move[networkRow], 0, len(rows))
	for n, row := range rows {
		switch had := x.network(n).objects > 0; {
		case had && row.objects == 0:
			more--
		case !had && row.objects > 0:
			more++
		}
		moves = append(moves, index.Move[networkRow]{Entry: row})
	}
	byNetwork := func(a, b networkRow) int { return cmp.Compare(a.network, b.network) }
	slices.SortFunc(moves, func(a, b index.Move[networkRow]) int { return byNetwork(a.Entry, b.Entry) })
	x.networks = x.networks.Apply(moves, byNetwork)
	return more
}

// compare compares entries of an order; ids compares the ids of their machines.
func (o order) compare(a, b orderEntry, ids func() int) int {
	c := cmp.Compare(a.key, b.key)
	if c == 0 && o == byNetwork {
		c = ids()
	}
	if c == 0 {
		c = cmp.Compare(a.number, b.number)
	}
	return c
}
