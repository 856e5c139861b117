package registry

import (
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/hashicorp/go-memdb"
)

// A Snapshot is the whole registry as one commit left it. It never changes and
// may be read by many goroutines. The comments of lists say how they are sorted. All
// readers share the objects.
type Snapshot struct {
	// Index is the number of the commit; 0 before the first.
	Index uint64

	machines machineIndex
	db       *memdb.MemDB // the tables; they do not change any more
	txn      *memdb.Txn   // reads db
	geo      *Geography
	stats    Stats
	lastApp  uint32 // the last app number given
}

// Stats counts what a registry holds. Networks are those that have facts or a
// name.
type Stats struct {
	Networks, Apps, Peers, Flycast int
	// Machines counts machines by state: Machines[i] are in States[i], those
	// in a state that is not listed there come last.
	Machines [numStates + 1]int
}

const numStates = len(States)

// Total returns the number of machines in all states, gone ones included.
func (s Stats) Total() int {
	n := 0
	for _, m := range s.Machines {
		n += m
	}
	return n
}

// Stats counts what the registry holds.
func (s *Snapshot) Stats() Stats { return s.stats }

// Geography returns the distances between regions.
func (s *Snapshot) Geography() *Geography { return s.geo }

// NetworkIndex returns the index of the last commit that changed facts of n on
// which an answer depends; 0 if none did. Regions and round trips are facts of
// no network.
func (s *Snapshot) NetworkIndex(n Network) uint64 {
	return s.machines.network(n).changed
}

// Networks yields the networks that have facts or a name, in ascending order.
func (s *Snapshot) Networks() iter.Seq[NetworkName] {
	return func(yield func(NetworkName) bool) {
		for row := range s.machines.networks.From(func(networkRow) bool { return false }) {
			if row.objects > 0 && !yield(NetworkName{row.network, s.NetworkName(row.network)}) {
				return
			}
		}
	}
}

// NetworkByName returns the network of that name.
func (s *Snapshot) NetworkByName(name string) (Network, bool) {
	if row := first[*NetworkName](s, KindNetwork, rowName, []byte(name)); row != nil {
		return row.Network, true
	}
	return 0, false
}

// NetworkName returns the name of n, or "" if it has none.
func (s *Snapshot) NetworkName(n Network) string {
	if f := s.find(Key{Kind: KindNetwork, Network: n}); f != nil {
		return f.(*NetworkName).Name
	}
	return ""
}

// Known reports whether the registry has facts or a name of n, or has ever had facts
// on which an answer depended.
func (s *Snapshot) Known(n Network) bool {
	row := s.machines.network(n)
	return row.objects > 0 || row.changed != 0
}

// Apps yields the apps of all networks, by network, then name.
func (s *Snapshot) Apps() iter.Seq[*App] { return rows[*App](s, KindApp, rowID, nil) }

// AppsIn yields the apps of one network, by name.
func (s *Snapshot) AppsIn(n Network) iter.Seq[*App] {
	return rows[*App](s, KindApp, rowID, networkKey(n, ""))
}

// App returns the app of that name, or nil.
func (s *Snapshot) App(n Network, name string) *App {
	a, _ := s.find(AppKey{n, name}.Key()).(*App)
	return a
}

// Machines yields the machines of a, gone ones included, by id.
func (s *Snapshot) Machines(a *App) iter.Seq[*Machine] {
	return byIDs(func(add func(*Machine) bool) {
		key := appOrderKey(rowKey{app: a.number}, "") >> 32 << 32
		s.machines.between(byApp, key, key|0xFFFFFFFF)(add)
	})
}

// goneMachines returns the gone machines of a of that id.
func (s *Snapshot) goneMachines(a *App, id string) (list []*Machine) {
	key := goneOrderKey(a.number, id)
	for m := range s.machines.at(byID, key) {
		if m.Gone() && m.app == a.number && m.ID == id {
			list = append(list, m)
		}
	}
	return list
}

// GoneMachines yields the gone machines of a, in no order. Its cost grows with their
// number, not with that of all machines.
func (s *Snapshot) GoneMachines(a *App) iter.Seq[*Machine] {
	return where(s.machines.at(byApp, appOrderKey(rowKey{app: a.number}, "")), (*Machine).Gone)
}

// MachinesIn yields the machines of one network that are not gone, by id.
func (s *Snapshot) MachinesIn(n Network) iter.Seq[*Machine] {
	key := networkOrderKey(n, "")
	return s.machines.between(byNetwork, key, key|0xFFFFFFFF)
}

// byIDs yields by id the machines that collect adds.
func byIDs(collect func(add func(*Machine) bool)) iter.Seq[*Machine] {
	return func(yield func(*Machine) bool) {
		var list []*Machine
		collect(func(m *Machine) bool {
			list = append(list, m)
			return true
		})
		slices.SortFunc(list, func(a, b *Machine) int { return strings.Compare(a.ID, b.ID) })
		for _, m := range list {
			if !yield(m) {
				return
			}
		}
	}
}

// Machine returns the machine of that id that is not gone, or nil.
func (s *Snapshot) Machine(id string) *Machine {
	for m := range s.machines.at(byID, idOrderKey(id)) {
		if m.ID == id && !m.Gone() {
			return m
		}
	}
	return nil
}

// MachineAt returns the machine at that address that is not gone, or nil.
func (s *Snapshot) MachineAt(addr netip.Addr) *Machine {
	if _, ok := NetworkOf(addr); !ok {
		return nil
	}
	for m := range s.machines.at(byAddress, addressOrderKey(addr)) {
		if m.Address == addr.WithZone("") {
			return m
		}
	}
	return nil
}

// MachinesBeside yields the machines that are not gone in the /112 around addr,
// by address.
func (s *Snapshot) MachinesBeside(addr netip.Addr) iter.Seq[*Machine] {
	if _, ok := NetworkOf(addr); !ok {
		return func(func(*Machine) bool) {}
	}
	beside, _ := addr.WithZone("").Prefix(112)
	key := addressOrderKey(addr) &^ 0xFFFF
	return where(s.machines.between(byAddress, key, key|0xFFFF), func(m *Machine) bool { return beside.Contains(m.Address) })
}

// Peers yields the peers of all networks, by network, then name.
func (s *Snapshot) Peers() iter.Seq[*Peer] { return rows[*Peer](s, KindPeer, rowID, nil) }

// PeersIn yields the peers of one network, by name.
func (s *Snapshot) PeersIn(n Network) iter.Seq[*Peer] {
	return rows[*Peer](s, KindPeer, rowID, networkKey(n, ""))
}

// Peer returns the peer of that name, or nil.
func (s *Snapshot) Peer(n Network, name string) *Peer {
	p, _ := s.find(Key{Kind: KindPeer, Network: n, Name: name}).(*Peer)
	return p
}

// PeerAt returns the peer at that address, or nil.
func (s *Snapshot) PeerAt(addr netip.Addr) *Peer {
	if _, ok := NetworkOf(addr); !ok {
		return nil
	}
	return first[*Peer](s, KindPeer, rowAddress, addressKey(nil, addr))
}

// Flycast yields all Flycast addresses, in ascending order.
func (s *Snapshot) Flycast() iter.Seq[*Flycast] { return rows[*Flycast](s, KindFlycast, rowID, nil) }

// FlycastIn yields the Flycast addresses in one network, in ascending order. Their
// apps may be in other networks.
func (s *Snapshot) FlycastIn(n Network) iter.Seq[*Flycast] {
	return rows[*Flycast](s, KindFlycast, rowID, networkKey(n, ""))
}

// FlycastOf yields the Flycast addresses of one app, in ascending order.
func (s *Snapshot) FlycastOf(a *App) iter.Seq[*Flycast] {
	return rows[*Flycast](s, KindFlycast, rowApp, appKey(a.number))
}

// FlycastAt returns the Flycast address addr, or nil.
func (s *Snapshot) FlycastAt(addr netip.Addr) *Flycast {
	f, _ := s.find(Key{Kind: KindFlycast, Address: addr.WithZone("")}).(*Flycast)
	return f
}

// Regions yields the regions that were put, without built-in ones, by code.
func (s *Snapshot) Regions() iter.Seq[*Region] { return rows[*Region](s, KindRegion, rowID, nil) }

// RTTs yields the measured round trips, by from and to.
func (s *Snapshot) RTTs() iter.Seq[*RTT] { return rows[*RTT](s, KindRTT, rowID, nil) }

// NetworkFacts is one network's part of a Snapshot. It gives access to the facts of
// that network only.
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

// find returns the object of that key, or nil. Machines are found by Machine.
func (s *Snapshot) find(k Key) Fact {
	key := kinds[k.Kind].key(k)
	if key == nil {
		return nil
	}
	return first[Fact](s, k.Kind, rowID, key)
}

// all yields the objects of a kind: machines by app and id, and others in the
// order of their keys.
func (s *Snapshot) all(k Kind) iter.Seq[Fact] {
	return func(yield func(Fact) bool) {
		if k == KindMachine {
			for a := range s.Apps() {
				for m := range s.Machines(a) {
					if !yield(m) {
						return
					}
				}
			}
			return
		}
		rows[Fact](s, k, rowID, nil)(yield)
	}
}

// first returns the object of a key in an index of a kind, or the zero P.
func first[P Fact](s *Snapshot, k Kind, index string, key []byte) (f P) {
	row, err := s.txn.First(kinds[k].plural, index, key)
	if err != nil {
		panic(err) // the schema has no such table or index
	}
	f, _ = row.(P)
	return f
}

// rows yields the objects whose keys in an index of a kind begin with prefix, sorted by
// key.
func rows[P Fact](s *Snapshot, k Kind, index string, prefix []byte) iter.Seq[P] {
	return func(yield func(P) bool) {
		it, err := s.txn.Get(kinds[k].plural, index+"_prefix", prefix)
		if err != nil {
			panic(err) // the schema has no such table or index
		}
		for row := it.Next(); row != nil; row = it.Next() {
			if !yield(row.(P)) {
				return
			}
		}
	}
}

// some reports whether seq yields anything.
func some[T any](seq iter.Seq[T]) bool {
	for range seq {
		return true
	}
	return false
}

func where[T any](seq iter.Seq[*T], keep func(*T) bool) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for v := range seq {
			if keep(v) && !yield(v) {
				return
			}
		}
	}
}
