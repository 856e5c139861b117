package zone

import (
	"net/netip"
	"strings"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone/persist"
)

// A View is what one client sees of a Table: the names of its network, and what all
// networks share. It holds no pointer to the Table, so code that reaches for the facts
// of another network does not compile.
type View struct {
	shared   *shared // of the Table
	view     *view   // emptyView for a network without facts; nil without a network
	facts    registry.NetworkFacts
	network  registry.Network
	src, dst netip.Addr
	client   *Client // the entry whose prefix holds src, or nil
	conflict bool    // src and dst are in different networks
}

// For returns the view of a client that asks from address src at address dst. IPv4
// addresses may be mapped into IPv6.
func (t *Table) For(src, dst netip.Addr) View {
	v := View{shared: &t.shared, src: src.Unmap().WithZone(""), dst: dst.Unmap()}
	to, named := registry.NetworkOf(v.dst)
	if from, ok := registry.NetworkOf(v.src); ok {
		v.network, v.conflict = from, named && to != from
	} else if named && v.dst == to.Server() {
		v.network = to
	}
	clients := *t.clients
	for i := range clients {
		if c := &clients[i]; c.Prefix.Contains(v.src) {
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
			v.view = emptyView
		}
	}
	return v
}

// Is reports whether v is the view of that client in t: t.For(src, dst) would return
// it again.
func (v *View) Is(t *Table, src, dst netip.Addr) bool {
	return v.shared == &t.shared && v.src == src && v.dst == dst
}

// Network returns the network whose names the client sees; 0 if it sees none.
func (v *View) Network() registry.Network { return v.network }

// Region returns the client's region: that of the machine or peer with the client's
// address; else that of the machine in the client's /112, if there is exactly one; else
// the region of Options.Clients; else the server's. It is "" if none of these is known.
func (v *View) Region() string {
	if n, ok := registry.NetworkOf(v.src); ok && n == v.network && v.view != nil {
		src := v.src.As16()
		switch h, ok := v.view.at(src); {
		case h.peer != nil && h.peer.Region != "":
			return h.peer.Region
		case ok && h.kind() == 0:
			return v.machineAt(src).Region
		}
		if addr, ok := v.view.onlyMachine(src); ok {
			return v.machineAt(addr).Region
		}
	}
	if v.client != nil && v.client.Region != "" {
		return v.client.Region
	}
	return *v.shared.region
}

// machineAt returns the machine at an address, which must be a machine's in v.view.
func (v *View) machineAt(a address) *registry.Machine {
	return v.facts.MachineAt(netip.AddrFrom16(a))
}

// A view is the names of one network, compiled. It holds facts of that network only, and
// no pointer to another network's view. It is immutable, but for its lists, which are
// rendered when first asked for.
type view struct {
	edit    persist.Edit
	network registry.Network
	serial  uint32                    // SERIAL of the SOA
	apps    persist.Trie[*app]        // by the hash of their names
	peers   persist.Trie[*peer]       // by the hash of their names
	flycast persist.Trie[*flycastApp] // by the hash of the apps' names
	// shown and hidden hold everything that has an address, by blockBits. The reverse
	// zone has names for what is shown. What is hidden (machines that are skipped,
	// interactive peers) only gives a region to clients that ask from its address.
	shown, hidden persist.Trie[*block]

	appList, peerList, instances, allInstances *lazyList
}

func (v *view) Is([]byte) bool { return true } // different networks have different bits

// emptyView is the view of every network without facts. Its lists are rendered here and
// are empty, so that no network's facts can get into it.
var emptyView = func() *view {
	empty := new(lazyList)
	empty.get(func() []byte { return newTextWriter(nil, 1, ',').dst })
	return &view{appList: empty, peerList: empty, instances: empty, allInstances: empty}
}()

// networkBits spreads the numbers of networks evenly over 64 bits. Different networks
// have different bits.
func networkBits(n registry.Network) uint64 { return uint64(n) * 0x9E3779B97F4A7C15 }

// A peer is a WireGuard peer that has a name.
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

// HiddenPeer reports whether the peer of that name is in no answer. flyctl makes such
// peers for one session.
func HiddenPeer(name string) bool { return strings.HasPrefix(name, "interactive-") }

// appNames renders the list _apps of one network.
func appNames(facts registry.NetworkFacts) []byte {
	w := newTextWriter(nil, maxText, ',')
	for a := range facts.Apps() {
		if !w.add([]byte(a.Name)) {
			break
		}
	}
	return w.dst
}

// peerNames renders the list _peer of one network.
func peerNames(facts registry.NetworkFacts) []byte {
	w := newTextWriter(nil, maxText, ',')
	for p := range facts.Peers() {
		if !HiddenPeer(p.Name) && !w.add([]byte(p.Name)) {
			break
		}
	}
	return w.dst
}

// instanceList renders the list _instances of one network, or all._instances.
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
	return w.dst
}
