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
	tMetadata = "metadata"

	byID      = "id" // memdb's name for the primary key
	byAddress = "address"
	byNetwork = "network"
	byPlace   = "place"
	byPair    = "pair"
	byApp     = "app"
	byName    = "name"
)

// A network row holds what the store keeps of each network it has ever known:
// the serial must stand when the last fact is gone.
type network struct {
	NetworkName        // Name is "" without one
	index       uint64 // of the last commit that changed an answer; 0: never
	objects     int    // apps, peers and Flycast addresses in it
}

// known reports whether the network has facts or a name.
func (n *network) known() bool { return n.objects > 0 || n.Name != "" }

func schema() *memdb.DBSchema {
	return &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{
		tMachines: table(tMachines,
			index(byID, func(m *Machine) []byte {
				if m.Gone() {
					return goneKey(m.app, m.ID, m.sum)
				}
				return machineKey(m.ID)
			}),
			index(byAddress, live(func(m *Machine) []byte { return addressKey(m.Address) })),
			index(byNetwork, live(func(m *Machine) []byte { return networkKey(m.Network, m.ID) })),
			index(byPlace, placeKey),
		),
		tMetadata: table(tMetadata,
			index(byID, func(r *metadata) []byte { return metadataKey(r.app, r.sum) }),
			&memdb.IndexSchema{Name: byPair, Unique: true, AllowMissing: true, Indexer: pairsIndexer{}},
		),
		tApps: table(tApps, index(byID, func(a *App) []byte { return networkKey(a.Network, a.Name) })),
		tPeers: table(tPeers,
			index(byID, func(p *Peer) []byte { return networkKey(p.Network(), p.Name) }),
			index(byAddress, func(p *Peer) []byte { return addressKey(p.Address) }),
		),
		tFlycast: table(tFlycast,
			index(byID, func(f *Flycast) []byte { return addressKey(f.Address) }),
			index(byApp, func(f *Flycast) []byte { return append(appKey(f.app), addressKey(f.Address)...) }),
		),
		tNetworks: table(tNetworks,
			index(byID, func(n *network) []byte { return networkKey(n.Network, "") }),
			index(byName, func(n *network) []byte {
				if n.Name == "" {
					return nil
				}
				return []byte(n.Name)
			}),
		),
		tRegions: table(tRegions, index(byID, func(r *Region) []byte { return []byte(r.Code) })),
		tRTTs:    table(tRTTs, index(byID, func(r *RTT) []byte { return rttKey(r.From, r.To) })),
	}}
}

// addressKey leaves out the leading fdaa, so it begins with the network. It is
// only for addresses that are in one.
func addressKey(a netip.Addr) []byte {
	b := a.As16()
	return append([]byte(nil), b[2:]...)
}

func networkKey(n Network, name string) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(name)), uint32(n)), name...)
}

func appKey(app uint32) []byte { return binary.BigEndian.AppendUint32(nil, app) }

// machineKey is the key of the one machine of that id that is not gone.
func machineKey(id string) []byte { return append(append(make([]byte, 0, len(id)+1), id...), 0) }

// goneKey is the key of a gone machine. Its length tells where the id ends, so
// it is no other's key whatever the id is made of.
func goneKey(app uint32, id string, sum uint64) []byte {
	b := append(make([]byte, 0, len(id)+13), id...)
	b = binary.BigEndian.AppendUint32(append(b, 0), app)
	return binary.BigEndian.AppendUint64(b, sum)
}

// placeKey is where a machine stands in its app: metadata row, region, id. Gone
// machines, which have no metadata row, stand in the region "".
func placeKey(m *Machine) []byte {
	b := make([]byte, 0, 12+len(m.Region)+1+len(m.ID)+9)
	if m.Gone() {
		b = binary.BigEndian.AppendUint32(b, m.app)
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		return append(b, goneKey(m.app, m.ID, m.sum)...)
	}
	b = regionKey(b, m.app, m.sum, m.Region)
	return append(b, m.ID...)
}

// regionKey appends what the place keys of machines with that metadata in that
// region begin with.
func regionKey(b []byte, app uint32, sum uint64, region string) []byte {
	b = binary.BigEndian.AppendUint32(b, app)
	b = binary.BigEndian.AppendUint64(b, sum)
	return append(append(b, region...), 0)
}

func rttKey(from, to string) []byte { return []byte(from + "\x00" + to) }

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

// index is an index in which every key is one object's. (memdb would make the
// keys of others by appending the primary key, which is longer than need be.)
func index[T any](name string, key func(*T) []byte) *memdb.IndexSchema {
	return &memdb.IndexSchema{Name: name, Unique: true, AllowMissing: name != byID, Indexer: indexer[T]{key: key}}
}

// indexer is a memdb indexer. A nil key leaves the object out of the index.
type indexer[T any] struct {
	keyIndexer
	key func(*T) []byte
}

func (ix indexer[T]) FromObject(raw any) (bool, []byte, error) {
	k := ix.key(raw.(*T))
	return k != nil, k, nil
}

// keyIndexer takes ready-made keys as arguments.
type keyIndexer struct{}

func (keyIndexer) FromArgs(args ...any) ([]byte, error)       { return keyArg(args) }
func (keyIndexer) PrefixFromArgs(args ...any) ([]byte, error) { return keyArg(args) }

func keyArg(args []any) ([]byte, error) {
	if len(args) == 1 {
		if k, ok := args[0].([]byte); ok {
			return k, nil
		}
	}
	return nil, errors.New("registry: an index takes one ready-made key")
}
