package zone

import (
	"cmp"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone/persist"
)

// A host is a /112 and what has an address in it: as a rule one machine, or the
// many peers of one gateway.
type host struct {
	machine address                       // one of the machines; zero if there is none
	others  *persist.Sorted[addressOwner] // machines first, then by address; nil if there are none
}

func (h *host) Is([]byte) bool { return true } // stored under its own bits

// An addressOwner has an address: a machine, if there is neither peer nor
// Flycast. Which machine, and what is known of it, the registry tells, so that
// its changes are none here.
type addressOwner struct {
	addr    address
	peer    *registry.Peer
	flycast *string // name of the Flycast address's app, which may live in another network
}

func machineOwner(m *registry.Machine) addressOwner { return addressOwner{addr: m.Address.As16()} }

func peerOwner(p *registry.Peer) addressOwner { return addressOwner{addr: p.Address.As16(), peer: p} }

func flycastOwner(f *registry.Flycast) addressOwner {
	return addressOwner{addr: f.Address.As16(), flycast: &f.App}
}

// kind tells machines from peers from Flycast addresses.
func (o addressOwner) kind() int {
	switch {
	case o.peer != nil:
		return 1
	case o.flycast != nil:
		return 2
	}
	return 0
}

const ownerKinds = 3

// ownerOrder compares owners by kind, then by what match says of their addresses.
func ownerOrder(kind int, match func(address) int) func(addressOwner) int {
	return func(o addressOwner) int {
		if k := o.kind(); k != kind {
			return cmp.Compare(k, kind)
		}
		return match(o.addr)
	}
}

// find returns the owner of an address that match finds, as a sorted's cmp does.
func (h *host) find(match func(address) int) (addressOwner, bool) {
	if h == nil {
		return addressOwner{}, false
	}
	if h.machine != (address{}) && match(h.machine) == 0 {
		return addressOwner{addr: h.machine}, true
	}
	if h.others != nil {
		for kind := range ownerKinds {
			if o, ok := h.others.Find(ownerOrder(kind, match)); ok {
				return o, true
			}
		}
	}
	return addressOwner{}, false
}

// with returns a host that has o, too.
func (h *host) with(e persist.Edit, o addressOwner) *host {
	own := *h
	if o.kind() == 0 && h.machine == (address{}) {
		own.machine = o.addr
		return &own
	}
	own.others = new(persist.Sorted[addressOwner])
	if h.others != nil {
		*own.others = *h.others
	}
	*own.others = own.others.Insert(e, o, ownerOrder(o.kind(), addressOrder(o.addr)))
	return &own
}

// without returns a host that has o no more, or nil if it has nobody then.
func (h *host) without(e persist.Edit, o addressOwner) *host {
	own := *h
	if o.kind() == 0 && h.machine == o.addr {
		own.machine = address{}
	} else if h.others != nil {
		left := h.others.Remove(e, ownerOrder(o.kind(), addressOrder(o.addr)))
		if own.others = &left; left.Empty() {
			own.others = nil
		}
	}
	if own == (host{}) {
		return nil
	}
	return &own
}

// machines yields the addresses of the machines.
func (h *host) machines(yield func(address) bool) {
	if h == nil || h.machine != (address{}) && !yield(h.machine) || h.others == nil {
		return
	}
	for chunk := range h.others.Chunks {
		for _, o := range chunk {
			if o.kind() != 0 || !yield(o.addr) { // machines stand first
				return
			}
		}
	}
}
