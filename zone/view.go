package zone

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone/persist"
)

// A View is what one client sees of a Table: the names of its network, and what
// all networks share. It has no way to the Table, so code that reaches for the
// facts of another network does not compile.
type View struct {
	shared   *shared // of the Table
	view     *view   // nothing for a network without facts; nil without a network
	facts    registry.NetworkFacts
	network  registry.Network
	src, dst netip.Addr
	client   *Client // the entry that holds src, or nil
	conflict bool    // src and dst name different networks
}

// For returns the view of a client that asks from address src at address dst.
// IPv4 addresses may be mapped into IPv6.
func (t *Table) For(src, dst netip.Addr) View {
	v := View{shared: &t.shared, src: src.Unmap().WithZone(""), dst: dst.Unmap()}
	to, named := registry.NetworkOf(v.dst)
	if from, ok := registry.NetworkOf(v.src); ok { // else its bits mean nothing
		v.network, v.conflict = from, named && to != from
	} else if named && v.dst == to.Server() {
		v.network = to
	}
	for i := range t.clients {
		if c := &t.clients[i]; c.Prefix.Contains(v.src) {
			v.client = c
			if v.network == 0 {
				v.network = c.Network
			}
			break
		}
	}
	if v.network != 0 {
		v.facts = t.snap.FactsOf(v.network)
		if v.view = t.views.Get(networkBits(v.network), nil); v.view == nil {
			v.view = nothing
		}
	}
	return v
}

// Is reports whether v is the view of that client in t, so that For would return
// it again.
func (v *View) Is(t *Table, src, dst netip.Addr) bool {
	return v.shared == &t.shared && v.src == src && v.dst == dst
}

// Network returns the network whose names the client sees; 0 if it sees none.
func (v *View) Network() registry.Network { return v.network }

// Region returns the client's region: that of the machine or peer with exactly
// its address, else that of the one machine in whose /112 it is, else the
// configured one of the client, else the server's; "" if there is none.
func (v *View) Region() string {
	if n, ok := registry.NetworkOf(v.src); ok && n == v.network && v.view != nil {
		src := v.src.As16()
		switch o, ok := v.view.at(src); {
		case o.peer != nil && o.peer.Region != "":
			return o.peer.Region
		case ok && o.kind() == 0:
			return v.machineAt(src).Region
		}
		if addr, ok := v.view.only(src); ok {
			return v.machineAt(addr).Region
		}
	}
	if v.client != nil && v.client.Region != "" {
		return v.client.Region
	}
	return v.shared.region
}

// machineAt returns the machine at an address that is a machine's in v's view.
func (v *View) machineAt(a address) *registry.Machine {
	return v.facts.MachineAt(netip.AddrFrom16(a))
}

// nothing is the view of a network without facts.
var nothing = &view{
	appList: emptyText(), peerList: emptyText(), instances: emptyText(), allInstances: emptyText(),
}

// emptyText returns an empty list: one empty string.
func emptyText() *atomic.Pointer[[]byte] {
	p := new(atomic.Pointer[[]byte])
	p.Store(&[]byte{0})
	return p
}

// A view is what one network sees, compiled. It holds facts of that network
// only; whoever has a view has no way to another's. It is immutable but for its
// lists, which are rendered when first asked for.
type view struct {
	edit    persist.Edit
	network registry.Network
	serial  uint32
	apps    persist.Trie[*app]        // by the hash of their names
	peers   persist.Trie[*peer]       // by the hash of their names
	flycast persist.Trie[*flycastApp] // by the hash of the apps' names
	// hosts and hidden hold everything that has an address, by the 64 bits
	// between network and /112: hosts what the reverse zone shows, hidden what
	// only counts as an asker with a region.
	hosts, hidden persist.Trie[*host]

	appList, peerList, instances, allInstances *atomic.Pointer[[]byte]
}

// is tells that the view is the one looked for: the bits it is stored under are
// its network's, and say all.
func (v *view) Is([]byte) bool { return true }

// networkBits spreads networks over the table's trie. Different networks have
// different bits.
func networkBits(n registry.Network) uint64 { return uint64(n) * 0x9E3779B97F4A7C15 }

// A peer is a WireGuard peer that answers show.
type peer struct {
	name string
	addr address
}

func (p *peer) Is(name []byte) bool { return p.name == string(name) }

// A flycastApp is the Flycast addresses in one network of all apps of one name.
type flycastApp struct {
	name  string
	addrs addressSet
}

func (f *flycastApp) Is(name []byte) bool { return f.name == string(name) }

// HiddenPeer reports whether the peer of that name is in no answer. flyctl makes
// such peers for one session.
func HiddenPeer(name string) bool { return strings.HasPrefix(name, "interactive-") }

// hostBits returns the bits of a between its network and its /112.
func hostBits(a address) uint64 { return binary.BigEndian.Uint64(a[6:]) }

// at returns who has the address, in hosts or hidden.
func (v *view) at(a address) (o addressOwner, ok bool) {
	if o, ok = v.hosts.Get(hostBits(a), nil).find(addressOrder(a)); ok {
		return o, true
	}
	return v.hidden.Get(hostBits(a), nil).find(addressOrder(a))
}

// only returns the address of the one machine in the /112 around a. It reports
// false if there is none or are several.
func (v *view) only(a address) (addr address, one bool) {
	for _, t := range [...]persist.Trie[*host]{v.hosts, v.hidden} {
		for m := range t.Get(hostBits(a), nil).machines {
			if one {
				return address{}, false
			}
			addr, one = m, true
		}
	}
	return addr, one
}

// appNames renders _apps, peerNames _peer and instanceList _instances and
// all._instances of one network, as far as a message holds.

func appNames(facts registry.NetworkFacts) []byte {
	w := newTextWriter(nil, maxText, ',')
	for a := range facts.Apps() {
		if !w.add([]byte(a.Name)) {
			break
		}
	}
	return slices.Clip(w.dst)
}

func peerNames(facts registry.NetworkFacts) []byte {
	w := newTextWriter(nil, maxText, ',')
	for p := range facts.Peers() {
		if !HiddenPeer(p.Name) && !w.add([]byte(p.Name)) {
			break
		}
	}
	return slices.Clip(w.dst)
}

func instanceList(facts registry.NetworkFacts, all bool) []byte {
	w := newTextWriter(nil, maxText, ';')
	var item []byte
	for m := range facts.Machines() {
		if !m.Deployed() || !all && !m.Started() {
			continue
		}
		item = append(append(item[:0], "instance="...), m.ID...)
		item = append(append(item, ",app="...), m.App...)
		item = m.Address.AppendTo(append(item, ",ip="...))
		item = append(append(item, ",region="...), m.Region...)
		if !w.add(item) {
			break
		}
	}
	return slices.Clip(w.dst)
}
