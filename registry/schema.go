package registry

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/hashicorp/go-memdb"
)

// The indexes of memdb tables; doc.go lists what they hold.
const (
	rowID      = "id" // memdb's name for the primary key
	rowAddress = "address"
	rowApp     = "app"
	rowName    = "name"
)

// A network is the row of a network that has facts or a name.
type network struct {
	NetworkName     // Name is "" without one
	objects     int // apps, peers and Flycast addresses in it
}

// schema returns a table for each kind but machines.
func schema() *memdb.DBSchema {
	s := &memdb.DBSchema{Tables: make(map[string]*memdb.TableSchema)}
	for _, k := range kinds {
		if k.key == nil {
			continue
		}
		t := &memdb.TableSchema{Name: k.plural, Indexes: make(map[string]*memdb.IndexSchema)}
		for _, ix := range append(k.indexes, rowIndex(rowID, func(f Fact) []byte { return k.key(f.Key()) })) {
			t.Indexes[ix.Name] = ix
		}
		s.Tables[k.plural] = t
	}
	return s
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

// rowIndex returns an index in which every key is of one row, which is a T. A nil
// key leaves the row out of the index. (An index of memdb whose keys are not unique
// would append the primary key, which is longer than need be.)
func rowIndex[T any](name string, key func(T) []byte) *memdb.IndexSchema {
	return &memdb.IndexSchema{Name: name, Unique: true, AllowMissing: name != rowID, Indexer: indexer[T]{key: key}}
}

// An indexer is a memdb indexer.
type indexer[T any] struct {
	keyIndexer
	key func(T) []byte
}

func (ix indexer[T]) FromObject(row any) (bool, []byte, error) {
	k := ix.key(row.(T))
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
