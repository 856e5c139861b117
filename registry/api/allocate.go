package api

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"time"

	"github.com/internaldns/internaldns/registry"
)

// What is allocated is random, and tried again while it is in use: whoever was
// there before is not guessed from who is there now, and what was just given up
// does not come back at once, while somebody may still have it in mind.

// maxTries bounds how often something random is tried. Even if half of what
// there is were in use, more tries would be needed once in 10^19 times.
const maxTries = 64

var errNoneFree = errors.New("nothing free was found to allocate")

// newMachineID returns the id of no machine: 14 hexadecimal digits, as Fly's.
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

// newMachineAddress returns an address for a machine of network n, in a /112
// that is its own:
//
//	fdaa : NNNN:NNNN : HHHH:HHHH : MMMM:MMMM : 2
//
// On Fly the first 32 bits after the network's name a host. Those of 0 to ffff,
// where Flycast addresses and a network's server are, are left out.
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

// freeAround reports whether no machine is in the /112 around addr, and nobody
// else at it.
func freeAround(s *registry.Snapshot, addr netip.Addr) bool {
	for range s.MachinesBeside(addr) {
		return false
	}
	return s.PeerAt(addr) == nil && s.FlycastAt(addr) == nil
}

// newFlycastAddress returns the first free Flycast address of network n:
// fdaa:N:N:0:1::3, then fdaa:N:N:0:2::3, and so on.
func newFlycastAddress(s *registry.Snapshot, n registry.Network) (netip.Addr, error) {
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

// newNetwork returns a network of which the registry knows nothing.
func newNetwork(s *registry.Snapshot) (registry.Network, error) {
	var b [4]byte
	for range maxTries {
		rand.Read(b[:])
		if n := registry.Network(binary.BigEndian.Uint32(b[:])); n != 0 && !s.Known(n) {
			return n, nil
		}
	}
	return 0, errNoneFree
}

// newInstanceID returns an identifier for a version of a machine, as Fly's: 26
// digits of which the first ten are the time (a ULID), so that they sort by it.
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
