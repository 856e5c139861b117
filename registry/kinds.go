package registry

import (
	"cmp"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"

	"github.com/hashicorp/go-memdb"
)

// A Kind is a kind of fact.
//
// To add a kind:
//
//  1. Write its type in facts.go, with the methods of Fact, and give Facts a list of
//     it.
//  2. Add a constant, and an entry to the table kinds: what it is found by, and how
//     it is stored. Plan, checker, Diff, writer and snapshot go through that table.
//  3. registry/check.go: add check and compare, what can be wrong with it by itself
//     and with others.
//  4. registry/format/walk.go, registry/format/write.go: name its list in the registry file.
//     registry/disk and registry/etcd store its Fields; etcd/keys.go needs its key.
//  5. zone/compile.go: make answers of it. registry/api/routes.go: add its routes.
//  6. registry/random_test.go and twin_test.go: draw it, and keep it the slow way.
type Kind uint8

// The kinds, in the order in which they are checked, written and listed: what
// others depend on comes first.
const (
	KindNetwork Kind = iota // *NetworkName
	KindApp                 // *App
	KindMachine             // *Machine
	KindPeer                // *Peer
	KindFlycast             // *Flycast
	KindRegion              // *Region
	KindRTT                 // *RTT
	numKinds
)

// String returns the name of one object of the kind, such as "app".
func (k Kind) String() string { return kinds[k].name }

// Plural returns the name of all objects of the kind, such as "apps".
func (k Kind) Plural() string { return kinds[k].plural }

// A Fact is one object of the registry: a *NetworkName, *App, *Machine, *Peer,
// *Flycast, *Region or *RTT.
type Fact interface {
	// Key returns what the object is found by. No two objects have one key, but
	// for machines that are gone.
	Key() Key

	// String names the object in messages.
	String() string

	// Fields returns the fields of the object as files and stores write them, each
	// with a pointer to its value, the one first by which a file names the object.
	// It returns nil for a machine: package format reads and writes those.
	Fields() []Field

	// check returns what is wrong with the object by itself, each field at most
	// once.
	check() Faults

	// compare checks the object beside others: that what it needs exists, and that
	// what only one object can have is free. own is what check returned: fields that
	// are wrong by themselves are not compared.
	compare(c *checker, own Faults)

	// equal reports whether the object, put in the place of o, which is of the
	// same kind, would change nothing.
	equal(o Fact) bool
}

// A Field is one field of a fact.
type Field struct {
	Name     string // in files
	Value    any    // a *string, *netip.Addr, *Network, *float64 or *uint32
	Key      bool   // it is part of the object's Key
	Optional bool   // it may be missing, and is then zero
	Lower    bool   // it is a string that is stored in lower case
}

// A Key names one object of the registry. The fields that a kind does not have
// are zero.
//
//	network  Network
//	app      Network, Name
//	machine  Network, Name (of the app), ID
//	peer     Network, Name
//	flycast  Address
//	region   Name (its code)
//	rtt      Name (the code from), ID (the code to)
type Key struct {
	Kind    Kind
	Network Network
	Name    string
	ID      string
	Address netip.Addr
}

// In returns the network that the object is in; 0 for regions and round trips.
func (k Key) In() Network {
	if k.Kind == KindFlycast {
		n, _ := NetworkOf(k.Address)
		return n
	}
	return k.Network
}

// Compare orders keys by their fields.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Kind, o.Kind), cmp.Compare(k.Network, o.Network), cmp.Compare(k.Name, o.Name),
		cmp.Compare(k.ID, o.ID), k.Address.Compare(o.Address))
}

// Fact returns an object of which nothing but the key is set. That of a key with
// nothing but its kind is the zero object.
func (k Key) Fact() Fact { return kinds[k.Kind].blank(k) }

// A kind is all that differs from one Kind to the next, beside the methods of Fact.
type kind struct {
	name   string
	plural string   // also the name of its memdb table
	fields []string // those that make its key; faults of a repeated key are about the first

	blank func(Key) Fact                     // see Key.Fact
	clone func(Fact) Fact                    // a copy, which the store may keep
	each  func(*Facts, func(Fact) bool) bool // yields the objects in Facts until yield returns false, which it returns
	add   func(*Facts, Fact)                 // adds the object to Facts

	// The table. Machines have none (see machineIndex).
	key     func(Key) []byte     // the key of the table's primary index; nil for an object that cannot be in it
	indexes []*memdb.IndexSchema // the other indexes
	stat    func(*Stats) *int    // where the objects are counted; nil if they are not
}

var kinds = [numKinds]kind{
	KindNetwork: factKind(kind{
		name: "network", plural: "networks", fields: []string{"prefix"},
		blank:   func(k Key) Fact { return &NetworkName{Network: k.Network} },
		key:     func(k Key) []byte { return networkKey(k.Network, "") },
		indexes: []*memdb.IndexSchema{rowIndex(rowName, func(n *NetworkName) []byte { return []byte(n.Name) })},
	}, func(f *Facts) *[]NetworkName { return &f.Networks }),

	KindApp: factKind(kind{
		name: "app", plural: "apps", fields: []string{"name", "network"},
		blank: func(k Key) Fact { return &App{Network: k.Network, Name: k.Name} },
		key:   func(k Key) []byte { return networkKey(k.Network, k.Name) },
		stat:  func(s *Stats) *int { return &s.Apps },
	}, func(f *Facts) *[]App { return &f.Apps }),

	KindMachine: {
		name: "machine", plural: "machines", fields: []string{"id"},
		blank: func(k Key) Fact { return &Machine{Network: k.Network, App: k.Name, ID: k.ID} },
		each: func(f *Facts, yield func(Fact) bool) bool {
			return !slices.ContainsFunc(f.Machines, func(m *Machine) bool { return !yield(m) })
		},
		add: func(f *Facts, m Fact) { f.Machines = append(f.Machines, m.(*Machine)) },
	},

	KindPeer: factKind(kind{
		name: "peer", plural: "peers", fields: []string{"name", "address"},
		blank: func(k Key) Fact {
			p := &Peer{Name: k.Name}
			if k.Network != 0 {
				p.Address = k.Network.Prefix().Addr() // it names the peer's network
			}
			return p
		},
		key:     func(k Key) []byte { return networkKey(k.Network, k.Name) },
		indexes: []*memdb.IndexSchema{rowIndex(rowAddress, func(p *Peer) []byte { return addressKey(nil, p.Address) })},
		stat:    func(s *Stats) *int { return &s.Peers },
	}, func(f *Facts) *[]Peer { return &f.Peers }),

	KindFlycast: factKind(kind{
		name: "flycast", plural: "flycast", fields: []string{"flycast"},
		blank: func(k Key) Fact { return &Flycast{Address: k.Address} },
		key: func(k Key) []byte {
			if k.In() == 0 {
				return nil
			}
			return addressKey(nil, k.Address)
		},
		indexes: []*memdb.IndexSchema{rowIndex(rowApp, func(f *Flycast) []byte { return addressKey(appKey(f.app), f.Address) })},
		stat:    func(s *Stats) *int { return &s.Flycast },
	}, func(f *Facts) *[]Flycast { return &f.Flycast }),

	KindRegion: factKind(kind{
		name: "region", plural: "regions", fields: []string{"code"},
		blank: func(k Key) Fact { return &Region{Code: k.Name} },
		key:   func(k Key) []byte { return []byte(k.Name) },
	}, func(f *Facts) *[]Region { return &f.Regions }),

	KindRTT: factKind(kind{
		name: "rtt", plural: "rtts", fields: []string{""},
		blank: func(k Key) Fact { return &RTT{From: k.Name, To: k.ID} },
		key:   func(k Key) []byte { return []byte(k.Name + "\x00" + k.ID) },
	}, func(f *Facts) *[]RTT { return &f.RTTs }),
}

// factKind completes k for facts of type T, which list returns of Facts.
func factKind[T any, P interface {
	*T
	Fact
}](k kind, list func(*Facts) *[]T) kind {
	k.clone = func(f Fact) Fact {
		c := *f.(P)
		return P(&c)
	}
	k.each = func(f *Facts, yield func(Fact) bool) bool {
		facts := *list(f)
		for i := range facts {
			if !yield(P(&facts[i])) {
				return false
			}
		}
		return true
	}
	k.add = func(f *Facts, fact Fact) { *list(f) = append(*list(f), *fact.(P)) }
	return k
}

// The indexes of memdb tables; doc.go lists what they hold.
const (
	rowID      = "id" // memdb's name for the primary key
	rowAddress = "address"
	rowApp     = "app"
	rowName    = "name"
)

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
	return &memdb.IndexSchema{Name: name, Unique: true, AllowMissing: name != rowID, Indexer: indexer[T]{key}}
}

// An indexer is a memdb indexer that takes ready-made keys as arguments.
type indexer[T any] struct{ key func(T) []byte }

func (ix indexer[T]) FromObject(row any) (bool, []byte, error) {
	k := ix.key(row.(T))
	return k != nil, k, nil
}

func (indexer[T]) FromArgs(args ...any) ([]byte, error)       { return keyArg(args) }
func (indexer[T]) PrefixFromArgs(args ...any) ([]byte, error) { return keyArg(args) }

func keyArg(args []any) ([]byte, error) {
	if len(args) == 1 {
		if k, ok := args[0].([]byte); ok {
			return k, nil
		}
	}
	return nil, errors.New("registry: an index takes one ready-made key")
}
