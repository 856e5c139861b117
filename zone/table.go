package zone

import (
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/internaldns/internaldns/registry"
)

// Options is what answers depend on beside the facts.
type Options struct {
	// TTL is that of every record, in seconds.
	TTL uint32
	// Region is the server's own, for clients of which none is known; "" if
	// there is none.
	Region string
	// Clients places clients that do not ask from or to a 6PN address. The
	// longest prefix that holds a client's address counts.
	Clients []Client
}

// A Client is a prefix of client addresses and where they are placed.
type Client struct {
	Prefix  netip.Prefix
	Network registry.Network
	Region  string // "" if unknown
}

// A Table is the names of all networks at one registry index. It is immutable.
type Table struct {
	index   uint64
	ready   bool
	snap    *registry.Snapshot
	views   trie[*view]
	geo     *geography
	options *Options // Clients sorted by length of prefix, the longest first
	unnamed int
}

// Index returns the registry index of the facts in t.
func (t *Table) Index() uint64 { return t.index }

// Ready reports whether t holds the facts of a source. Until it does, "there is
// no such name" would be a lie.
func (t *Table) Ready() bool { return t.ready }

// Unnamed returns how many process groups and metadata entries of deployed
// machines give no name, because they cannot form labels.
func (t *Table) Unnamed() int { return t.unnamed }

// A View is what one client sees of a Table: the names of its network. It has no
// way to the facts of another.
type View struct {
	table    *Table
	view     *view // nothing for a network without facts; nil without a network
	network  registry.Network
	src, dst netip.Addr
	client   *Client // the entry that holds src, or nil
	conflict bool    // src and dst name different networks
}

// For returns the view of a client that asks from address src at address dst.
// IPv4 addresses may be mapped into IPv6.
func (t *Table) For(src, dst netip.Addr) View {
	v := View{table: t, src: src.Unmap().WithZone(""), dst: dst.Unmap()}
	to, named := registry.NetworkOf(v.dst)
	if from, ok := registry.NetworkOf(v.src); ok { // else its bits mean nothing
		v.network, v.conflict = from, named && to != from
	} else if named && v.dst == to.Server() {
		v.network = to
	}
	for i := range t.options.Clients {
		if c := &t.options.Clients[i]; c.Prefix.Contains(v.src) {
			v.client = c
			if v.network == 0 {
				v.network = c.Network
			}
			break
		}
	}
	if v.network != 0 {
		if v.view = t.views.get(networkBits(v.network), nil); v.view == nil {
			v.view = nothing
		}
	}
	return v
}

// Is reports whether v is the view of that client in t, so that For would return
// it again.
func (v *View) Is(t *Table, src, dst netip.Addr) bool {
	return v.table == t && v.src == src && v.dst == dst
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
	return v.table.options.Region
}

// machineAt returns the machine at an address that is a machine's in v's view.
func (v *View) machineAt(a address) *registry.Machine {
	return v.table.snap.MachineAt(netip.AddrFrom16(a))
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

func sortClients(clients []Client) []Client {
	clients = slices.Clone(clients)
	for i := range clients {
		clients[i].Prefix = clients[i].Prefix.Masked()
	}
	slices.SortStableFunc(clients, func(a, b Client) int { return b.Prefix.Bits() - a.Prefix.Bits() })
	return clients
}
