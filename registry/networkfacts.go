package registry

import (
	"iter"
	"net/netip"
)

// NetworkFacts is one network's part of a Snapshot. Its holder can read the facts
// of that network and of no other.
type NetworkFacts struct {
	snap    *Snapshot
	network Network
}

// FactsOf returns the facts of n.
func (s *Snapshot) FactsOf(n Network) NetworkFacts { return NetworkFacts{s, n} }

// Apps yields the network's apps, by name.
func (f NetworkFacts) Apps() iter.Seq[*App] { return f.snap.AppsIn(f.network) }

// Machines yields the network's machines that are not gone, by id.
func (f NetworkFacts) Machines() iter.Seq[*Machine] { return f.snap.MachinesIn(f.network) }

// Peers yields the network's peers, by name.
func (f NetworkFacts) Peers() iter.Seq[*Peer] { return f.snap.PeersIn(f.network) }

// MachineAt returns the network's machine at addr that is not gone, or nil.
func (f NetworkFacts) MachineAt(addr netip.Addr) *Machine {
	if n, _ := NetworkOf(addr); n == 0 || n != f.network {
		return nil
	}
	return f.snap.MachineAt(addr)
}
