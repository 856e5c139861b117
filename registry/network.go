package registry

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// A Network is the number of a private network (6PN): the 32 bits after fdaa in all of
// its addresses. 0 is no network.
type Network uint32

// NetworkOf returns the network that a's bits name, or 0 and false if a is
// not in fdaa::/16, or is in fdaa:0:0::/48, which names no network.
func NetworkOf(a netip.Addr) (Network, bool) {
	if !a.Is6() {
		return 0, false
	}
	b := a.As16()
	if b[0] != 0xfd || b[1] != 0xaa {
		return 0, false
	}
	n := Network(binary.BigEndian.Uint32(b[2:]))
	return n, n != 0
}

// ParseNetwork parses a network's prefix, such as "fdaa:0:18::/48".
func ParseNetwork(s string) (Network, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return 0, fmt.Errorf("%q is no prefix such as fdaa:0:18::/48", s)
	}
	n, ok := NetworkOf(p.Addr())
	if !ok || p.Bits() != 48 || p.Masked() != p {
		return 0, fmt.Errorf("%q is no network: want a /48 in fdaa::/16 other than fdaa::/48", s)
	}
	return n, nil
}

// Prefix returns the /48 of n.
func (n Network) Prefix() netip.Prefix {
	return netip.PrefixFrom(n.address(nil), 48)
}

// Server returns the address of the network's DNS and API server, such as
// fdaa:0:18::3.
func (n Network) Server() netip.Addr {
	return n.address([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 3})
}

// String returns the prefix, such as "fdaa:0:18::/48".
func (n Network) String() string { return n.Prefix().String() }

func (n Network) address(host []byte) netip.Addr {
	b := [16]byte{0xfd, 0xaa}
	binary.BigEndian.PutUint32(b[2:], uint32(n))
	copy(b[6:], host)
	return netip.AddrFrom16(b)
}

// A NetworkName is the name of a network in the API and in messages. No answer depends
// on it.
type NetworkName struct {
	Network Network
	Name    string // lower case
}

func (n *NetworkName) Key() Key { return Key{Kind: KindNetwork, Network: n.Network} }

func (n *NetworkName) String() string { return fmt.Sprintf("network %s", Quote(n.Name)) }

func (n *NetworkName) Fields() []Field {
	return []Field{{Name: "name", Value: &n.Name, Lower: true}, {Name: "prefix", Value: &n.Network, Key: true}}
}

func (n *NetworkName) equal(o Fact) bool { return *n == *o.(*NetworkName) }
