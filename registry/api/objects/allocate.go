package objects

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"time"

	"github.com/internaldns/internaldns/registry"
)

// Ids, addresses and networks are allocated at random, and drawn again while they
// are in use. So nothing follows from one about others, and one that was just given
// up is not used again while clients still remember it.

// maxTries bounds how often a random value is drawn. Even if half of all values were
// in use, more draws would be needed once in 10^19 times.
const maxTries = 64

var errNoneFree = errors.New("nothing free was found to allocate")

// newMachineID returns an id that no machine has: 14 hexadecimal digits, as on Fly.
func newMachineID(s *registry.Snapshot, a *registry.App) (string, error) {
	gone := make(map[string]bool)
	for m := range s.GoneMachines(a) {
		gone[m.ID] = true
	}
	var b [7]byte
	for range maxTries {
		rand.Read(b[:])
		if id := hex.EncodeToString(b[:]); s.Machine(id) == nil && !gone[id] {
			return id, nil
		}
	}
	return "", errNoneFree
}

// newMachineAddress returns an address for a machine of network n. No other address
// of its /112 is in use:
//
//	fdaa : NNNN:NNNN : HHHH:HHHH : MMMM:MMMM : 2
//
// On Fly, HHHH:HHHH names a host. Values up to ffff are left out: Flycast addresses
// and a network's DNS server are there.
func newMachineAddress(s *registry.Snapshot, n registry.Network) (netip.Addr, error) {
	for range maxTries {
		a := n.Prefix().Addr().As16()
		rand.Read(a[6:14])
		if binary.BigEndian.Uint16(a[6:]) == 0 {
			continue
		}
		a[15] = 2
		if addr := netip.AddrFrom16(a); freeAround(s, addr) {
			return addr, nil
		}
	}
	return netip.Addr{}, errNoneFree
}

// freeAround reports whether no machine is in the /112 around addr, and no peer or
// Flycast address is at it.
func freeAround(s *registry.Snapshot, addr netip.Addr) bool {
	for range s.MachinesBeside(addr) {
		return false
	}
	return s.PeerAt(addr) == nil && s.FlycastAt(addr) == nil
}

// NewFlycastAddress returns the first free Flycast address of network n:
// fdaa:N:N:0:1::3, then fdaa:N:N:0:2::3, and so on.
func NewFlycastAddress(s *registry.Snapshot, n registry.Network) (netip.Addr, error) {
	a := n.Prefix().Addr().As16()
	a[15] = 3
	for i := 1; i < 1<<16; i++ {
		binary.BigEndian.PutUint16(a[8:], uint16(i))
		if addr := netip.AddrFrom16(a); freeAround(s, addr) {
			return addr, nil
		}
	}
	return netip.Addr{}, errNoneFree
}

// NewNetwork returns a network that the registry does not know.
func NewNetwork(s *registry.Snapshot) (registry.Network, error) {
	var b [4]byte
	for range maxTries {
		rand.Read(b[:])
		if n := registry.Network(binary.BigEndian.Uint32(b[:])); n != 0 && !s.Known(n) {
			return n, nil
		}
	}
	return 0, errNoneFree
}

// newInstanceID returns an identifier of a machine's version, as on Fly: a ULID of 26
// digits. The first ten are the time, so identifiers sort by it.
func newInstanceID(now time.Time) string {
	const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	var b [16]byte
	rand.Read(b[6:])
	ms := uint64(now.UnixMilli())
	binary.BigEndian.PutUint16(b[:], uint16(ms>>32))
	binary.BigEndian.PutUint32(b[2:], uint32(ms))
	hi, lo := binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])
	var id [26]byte
	for i := len(id) - 1; i >= 0; i-- {
		id[i] = digits[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(id[:])
}
