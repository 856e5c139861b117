package zone

import (
	"bytes"
	"cmp"
	"encoding/binary"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone/persist"
	"github.com/internaldns/internaldns/zone/wire"
)

// A block is a /112 and the holders of its addresses: most often one machine, or the
// many peers of one gateway.
type block struct {
	machine address                 // one of the machines; zero if there is none
	others  *persist.Sorted[holder] // machines first, then by address; nil if there are none
}

func (b *block) Is([]byte) bool { return true } // different blocks have different bits

// blockBits returns the bits of a between its network and its /112.
func blockBits(a address) uint64 { return binary.BigEndian.Uint64(a[6:]) }

// A holder has an address. It is a machine if it is neither a peer nor a Flycast
// address. The machine itself is in the registry, so its changes need no change here.
type holder struct {
	addr    address
	peer    *registry.Peer
	flycast *string // name of the Flycast address's app, which may be in another network
}

func machineHolder(m *registry.Machine) holder { return holder{addr: m.Address.As16()} }

func peerHolder(p *registry.Peer) holder { return holder{addr: p.Address.As16(), peer: p} }

func flycastHolder(f *registry.Flycast) holder {
	return holder{addr: f.Address.As16(), flycast: &f.App}
}

// kind returns 0 for a machine, 1 for a peer and 2 for a Flycast address.
func (h holder) kind() int {
	switch {
	case h.peer != nil:
		return 1
	case h.flycast != nil:
		return 2
	}
	return 0
}

const holderKinds = 3

// holderOrder returns a function that compares holders with the one of that kind whose
// address match returns 0 for; see persist.Sorted.
func holderOrder(kind int, match func(address) int) func(holder) int {
	return func(h holder) int {
		if k := h.kind(); k != kind {
			return cmp.Compare(k, kind)
		}
		return match(h.addr)
	}
}

// find returns the holder of an address for which match returns 0.
func (b *block) find(match func(address) int) (holder, bool) {
	if b == nil {
		return holder{}, false
	}
	if b.machine != (address{}) && match(b.machine) == 0 {
		return holder{addr: b.machine}, true
	}
	if b.others != nil {
		for kind := range holderKinds {
			if h, ok := b.others.Find(holderOrder(kind, match)); ok {
				return h, true
			}
		}
	}
	return holder{}, false
}

// with returns b with h. b may be nil.
func (b *block) with(e persist.Edit, h holder) *block {
	own := new(block)
	if b != nil {
		*own = *b
	}
	if h.kind() == 0 && own.machine == (address{}) {
		own.machine = h.addr
		return own
	}
	var others persist.Sorted[holder]
	if own.others != nil {
		others = *own.others
	}
	others = others.Insert(e, h, holderOrder(h.kind(), addressOrder(h.addr)))
	own.others = &others
	return own
}

// without returns b without h; nil if no holder is left.
func (b *block) without(e persist.Edit, h holder) *block {
	own := *b
	if h.kind() == 0 && b.machine == h.addr {
		own.machine = address{}
	} else if b.others != nil {
		left := b.others.Remove(e, holderOrder(h.kind(), addressOrder(h.addr)))
		if own.others = &left; left.Empty() {
			own.others = nil
		}
	}
	if own == (block{}) {
		return nil
	}
	return &own
}

// machines yields the addresses of the machines.
func (b *block) machines(yield func(address) bool) {
	if b == nil || b.machine != (address{}) && !yield(b.machine) || b.others == nil {
		return
	}
	for chunk := range b.others.Chunks {
		for _, h := range chunk {
			if h.kind() != 0 || !yield(h.addr) { // machines come first
				return
			}
		}
	}
}

// at returns the holder of an address, shown or hidden.
func (v *view) at(a address) (h holder, ok bool) {
	if h, ok = v.shown.Get(blockBits(a), nil).find(addressOrder(a)); ok {
		return h, true
	}
	return v.hidden.Get(blockBits(a), nil).find(addressOrder(a))
}

// onlyMachine returns the address of the machine in the /112 around a. It reports
// false unless there is exactly one.
func (v *view) onlyMachine(a address) (addr address, one bool) {
	for _, t := range [...]persist.Trie[*block]{v.shown, v.hidden} {
		for m := range t.Get(blockBits(a), nil).machines {
			if one {
				return address{}, false
			}
			addr, one = m, true
		}
	}
	return addr, one
}

// lookupReverse looks up an address, written as labels of one hexadecimal digit each,
// or a name above those of addresses (RFC 3596, Section 2.5).
func (v *View) lookupReverse(q *wire.Query, a *Answer) {
	digits := q.Labels() - 2
	if digits == apexLabels[reverse]-2 || digits > 32 {
		return
	}
	addr := address{}
	for i := range digits {
		label := q.Label(2 + i)
		d := hexDigit(label[0])
		if len(label) != 1 || d < 0 {
			return
		}
		addr[i/2] |= byte(d) << (4 - i%2*4)
	}
	if digits < 32 {
		if v.anyAt(addr, digits) {
			a.exists()
		}
		return
	}
	if addr == wellKnown || addr == v.network.Server().As16() {
		a.pointTo(q, "", serverName)
		return
	}
	if networkOf(addr) != v.network {
		return
	}
	switch h, ok := v.view.shown.Get(blockBits(addr), nil).find(addressOrder(addr)); {
	case !ok:
	case h.peer != nil:
		a.pointTo(q, h.peer.Name, "\x05_peer\x08internal\x00")
	case h.flycast != nil:
		a.pointTo(q, *h.flycast, "\x07flycast\x00")
	default:
		m := v.machineAt(addr)
		a.pointTo(q, m.ID, "\x02vm", m.App, "\x08internal\x00")
	}
}

// anyAt reports whether the view has a reverse name below the first digits of prefix.
func (v *View) anyAt(prefix address, digits int) bool {
	// begins compares the first digits of an address with those of prefix.
	begins := func(a address) int {
		whole := digits / 2
		if c := bytes.Compare(a[:whole], prefix[:whole]); c != 0 || digits%2 == 0 {
			return c
		}
		return cmp.Compare(a[whole]>>4, prefix[whole]>>4)
	}
	if begins(wellKnown) == 0 || begins(v.network.Server().As16()) == 0 {
		return true
	}
	const networkDigits, blockDigits = 12, 16
	switch {
	case digits <= networkDigits || networkOf(prefix) != v.network:
		return false
	case digits <= networkDigits+blockDigits:
		return v.view.shown.HasPrefix(blockBits(prefix), 4*(digits-networkDigits))
	}
	_, ok := v.view.shown.Get(blockBits(prefix), nil).find(begins)
	return ok
}

// pointTo makes the answer a PTR record to the name of those parts. Parts are in turn
// one label without its length, and labels in wire form. An empty label is left out.
func (a *Answer) pointTo(q *wire.Query, parts ...string) {
	a.exists()
	if !asksFor(q, wire.TypePTR) {
		return
	}
	name := a.name[:0]
	for i, part := range parts {
		if i%2 == 0 && part != "" {
			name = append(name, byte(len(part)))
		}
		name = append(name, part...)
	}
	a.Finding, a.kind, a.nlen = Data, pointer, len(name)
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// networkOf returns the network whose number is in the bits of a.
func networkOf(a address) registry.Network { return registry.Network(binary.BigEndian.Uint32(a[2:])) }
