package registry

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/hashicorp/go-memdb"
)

// Table and index names; doc.go lists what they hold.
const (
	tApps     = "apps"
	tPeers    = "peers"
	tFlycast  = "flycast"
	tNetworks = "networks"
	tRegions  = "regions"
	tRTTs     = "rtts"

	rowID      = "id" // memdb's name for the primary key
	rowAddress = "address"
	rowApp     = "app"
	rowName    = "name"
)

// A network row is a network that has facts or a name.
type network struct {
	NetworkName     // Name is "" without one
	objects     int // apps, peers and Flycast addresses in it
}

func schema() *memdb.DBSchema {
	return &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{
		tApps: table(tApps, uniqueIndex(rowID, func(a *App) []byte { return networkKey(a.Network, a.Name) })),
		tPeers: table(tPeers,
			uniqueIndex(rowID, func(p *Peer) []byte { return networkKey(p.Network(), p.Name) }),
			uniqueIndex(rowAddress, func(p *Peer) []byte { return addressKey(nil, p.Address) }),
		),
		tFlycast: table(tFlycast,
			uniqueIndex(rowID, func(f *Flycast) []byte { return addressKey(nil, f.Address) }),
			uniqueIndex(rowApp, func(f *Flycast) []byte { return addressKey(appKey(f.app), f.Address) }),
		),
		tNetworks: table(tNetworks,
			uniqueIndex(rowID, func(n *network) []byte { return networkKey(n.Network, "") }),
			uniqueIndex(rowName, func(n *network) []byte {
				if n.Name == "" {
					return nil
				}
				return []byte(n.Name)
			}),
		),
		tRegions: table(tRegions, uniqueIndex(rowID, func(r *Region) []byte { return []byte(r.Code) })),
		tRTTs:    table(tRTTs, uniqueIndex(rowID, func(r *RTT) []byte { return rttKey(r.From, r.To) })),
	}}
}

// addressKey appends an address without the leading fdaa, so it begins with the
// network. It is only for addresses that are in one.
func addressKey(b []byte, a netip.Addr) []byte {
	octets := a.As16()
	return append(b, octets[2:]...)
}

func networkKey(n Network, name string) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(name)), uint32(n)), name...)
}

func appKey(app uint32) []byte { return binary.BigEndian.AppendUint32(nil, app) }

func rttKey(from, to string) []byte { return []byte(from + "\x00" + to) }

func table(name string, indexes ...*memdb.IndexSchema) *memdb.TableSchema {
	t := &memdb.TableSchema{Name: name, Indexes: make(map[string]*memdb.IndexSchema, len(indexes))}
	for _, ix := range indexes {
		t.Indexes[ix.Name] = ix
	}
	return t
}

// uniqueIndex returns an index in which every key is one object's. (memdb would make the
// keys of others by appending the primary key, which is longer than need be.)
func uniqueIndex[T any](name string, key func(*T) []byte) *memdb.IndexSchema {
	return &memdb.IndexSchema{Name: name, Unique: true, AllowMissing: name != rowID, Indexer: indexer[T]{key: key}}
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
