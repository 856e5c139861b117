package registry

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/hashicorp/go-memdb"
)

// Table and index names; doc.go lists what they hold.
const (
	tMachines = "machines"
	tApps     = "apps"
	tPeers    = "peers"
	tFlycast  = "flycast"
	tNetworks = "networks"
	tRegions  = "regions"
	tRTTs     = "rtts"

	byID       = "id" // memdb's name for the primary key
	byMachine  = "machine"
	byAddress  = "address"
	byNetwork  = "network"
	byRegion   = "region"
	byGroup    = "group"
	byMetadata = "metadata"
	byNumber   = "number"
	byApp      = "app"
	byName     = "name"
)

// A network row holds what the store keeps of each network it has ever known:
// the serial must stand when the last fact is gone.
type network struct {
	NetworkName        // Name is "" without one
	index       uint64 // of the last commit that changed an answer; 0: never
	objects     int    // apps, peers and Flycast addresses in it
}

func schema() *memdb.DBSchema {
	return &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{
		tMachines: table(tMachines,
			unique(byID, func(m *Machine) []byte { return machineKey(m.app, m.ID, m.gone) }),
			unique(byMachine, live(func(m *Machine) []byte { return []byte(m.ID) })),
			unique(byAddress, live(func(m *Machine) []byte { return addressKey(m.Address) })),
			unique(byNetwork, live(func(m *Machine) []byte { return networkKey(m.Network, m.ID) })),
			several(byRegion, live(func(m *Machine) []byte { return appKey(m.app, m.Region) })),
			several(byGroup, live(func(m *Machine) []byte {
				if g := m.Group(); g != "" {
					return appKey(m.app, Fold(g))
				}
				return nil
			})),
			&memdb.IndexSchema{Name: byMetadata, AllowMissing: true, Indexer: pairs{}},
		),
		tApps: table(tApps,
			unique(byID, func(a *App) []byte { return networkKey(a.Network, a.Name) }),
			unique(byNumber, func(a *App) []byte { return appKey(a.number) }),
		),
		tPeers: table(tPeers,
			unique(byID, func(p *Peer) []byte { return networkKey(p.Network(), p.Name) }),
			unique(byAddress, func(p *Peer) []byte { return addressKey(p.Address) }),
		),
		tFlycast: table(tFlycast,
			unique(byID, func(f *Flycast) []byte { return addressKey(f.Address) }),
			several(byApp, func(f *Flycast) []byte { return appKey(f.app) }),
		),
		tNetworks: table(tNetworks,
			unique(byID, func(n *network) []byte { return networkKey(n.Network, "") }),
			unique(byName, func(n *network) []byte {
				if n.Name == "" {
					return nil
				}
				return []byte(n.Name)
			}),
		),
		tRegions: table(tRegions, unique(byID, func(r *Region) []byte { return []byte(r.Code) })),
		tRTTs:    table(tRTTs, unique(byID, func(r *RTT) []byte { return []byte(r.From + "\x00" + r.To) })),
	}}
}

// addressKey leaves out the leading fdaa, so it begins with the network.
func addressKey(a netip.Addr) []byte {
	b := a.As16()
	return append([]byte(nil), b[2:]...)
}

func networkKey(n Network, name string) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(name)), uint32(n)), name...)
}

// appKey ends each word with a NUL, so that no word is another's prefix.
// Metadata may hold NULs, so readers compare what they find by such a key.
func appKey(app uint32, words ...string) []byte {
	n := 4
	for _, w := range words {
		n += len(w) + 1
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 0, n), app)
	for _, w := range words {
		b = append(append(b, w...), 0)
	}
	return b
}

func machineKey(app uint32, id string, gone uint64) []byte {
	b := appKey(app, id)
	if gone != 0 {
		b = binary.BigEndian.AppendUint64(b, gone)
	}
	return b
}

// live leaves gone machines out of an index.
func live(key func(*Machine) []byte) func(*Machine) []byte {
	return func(m *Machine) []byte {
		if m.Gone() {
			return nil
		}
		return key(m)
	}
}

func table(name string, indexes ...*memdb.IndexSchema) *memdb.TableSchema {
	t := &memdb.TableSchema{Name: name, Indexes: make(map[string]*memdb.IndexSchema, len(indexes))}
	for _, ix := range indexes {
		t.Indexes[ix.Name] = ix
	}
	return t
}

func unique[T any](name string, key func(*T) []byte) *memdb.IndexSchema {
	return &memdb.IndexSchema{Name: name, Unique: true, AllowMissing: name != byID, Indexer: indexer[T]{key}}
}

func several[T any](name string, key func(*T) []byte) *memdb.IndexSchema {
	return &memdb.IndexSchema{Name: name, AllowMissing: true, Indexer: indexer[T]{key}}
}

// indexer is a memdb indexer whose arguments are ready-made keys. A nil key
// leaves the object out of the index.
type indexer[T any] struct{ key func(*T) []byte }

func (ix indexer[T]) FromObject(raw any) (bool, []byte, error) {
	k := ix.key(raw.(*T))
	return k != nil, k, nil
}

func (indexer[T]) FromArgs(args ...any) ([]byte, error)       { return keyArg(args) }
func (indexer[T]) PrefixFromArgs(args ...any) ([]byte, error) { return keyArg(args) }

// pairs indexes a machine by each of its metadata entries, in lower case.
type pairs struct{}

func (pairs) FromObject(raw any) (bool, [][]byte, error) {
	m := raw.(*Machine)
	if m.Gone() {
		return false, nil, nil
	}
	var keys [][]byte
	for _, p := range m.Metadata {
		keys = append(keys, appKey(m.app, Fold(p.Key), Fold(p.Value)))
	}
	return len(keys) > 0, keys, nil
}

func (pairs) FromArgs(args ...any) ([]byte, error)       { return keyArg(args) }
func (pairs) PrefixFromArgs(args ...any) ([]byte, error) { return keyArg(args) }

func keyArg(args []any) ([]byte, error) {
	if len(args) == 1 {
		if k, ok := args[0].([]byte); ok {
			return k, nil
		}
	}
	return nil, errors.New("registry: an index takes one ready-made key")
}
