package registry

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
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
//  4. registry/format/walk.go and write.go: name its list in the registry file.
//     registry/disk and registry/etcd store its Fields; etcd/keys.go needs its key.
//  5. zone/compile.go: make answers of it. registry/api: add routes, and its names to
//     namesOf.
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

// Compare orders keys by their fields, one after the other.
func (k Key) Compare(o Key) int {
	if c := cmp.Compare(k.Kind, o.Kind); c != 0 {
		return c
	}
	if c := cmp.Compare(k.Network, o.Network); c != 0 {
		return c
	}
	if c := strings.Compare(k.Name, o.Name); c != 0 {
		return c
	}
	if c := strings.Compare(k.ID, o.ID); c != 0 {
		return c
	}
	return k.Address.Compare(o.Address)
}

// Fact returns an object of which nothing but the key is set. That of a key with
// nothing but its kind is the zero object.
func (k Key) Fact() Fact { return kinds[k.Kind].blank(k) }

// A kind is all that differs from one Kind to the next, beside the methods of Fact.
type kind struct {
	name   string
	plural string
	fields []string // those that make its key; faults of a repeated key are about the first

	blank func(Key) Fact                     // see Key.Fact
	clone func(Fact) Fact                    // a copy, which the store may keep
	each  func(*Facts, func(Fact) bool) bool // yields the objects in Facts until yield returns false, which it returns
	add   func(*Facts, Fact)                 // adds the object to Facts

	// second compares objects of the kind for the order by which they are found beside
	// their keys; nil if there is none.
	second func(a, b Fact) int
	stat   func(*Stats) *int // where the objects are counted; nil if they are not
}

var kinds = [numKinds]kind{
	KindNetwork: factKind(kind{
		name: "network", plural: "networks", fields: []string{"prefix"},
		blank:  func(k Key) Fact { return &NetworkName{Network: k.Network} },
		second: func(a, b Fact) int { return strings.Compare(a.(*NetworkName).Name, b.(*NetworkName).Name) },
	}, func(f *Facts) *[]NetworkName { return &f.Networks }),

	KindApp: factKind(kind{
		name: "app", plural: "apps", fields: []string{"name", "network"},
		blank: func(k Key) Fact { return &App{Network: k.Network, Name: k.Name} },
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
		second: func(a, b Fact) int { return a.(*Peer).Address.Compare(b.(*Peer).Address) },
		stat:   func(s *Stats) *int { return &s.Peers },
	}, func(f *Facts) *[]Peer { return &f.Peers }),

	KindFlycast: factKind(kind{
		name: "flycast", plural: "flycast", fields: []string{"flycast"},
		blank:  func(k Key) Fact { return &Flycast{Address: k.Address} },
		second: func(a, b Fact) int { return cmp.Compare(a.(*Flycast).app, b.(*Flycast).app) },
		stat:   func(s *Stats) *int { return &s.Flycast },
	}, func(f *Facts) *[]Flycast { return &f.Flycast }),

	KindRegion: factKind(kind{
		name: "region", plural: "regions", fields: []string{"code"},
		blank: func(k Key) Fact { return &Region{Code: k.Name} },
	}, func(f *Facts) *[]Region { return &f.Regions }),

	KindRTT: factKind(kind{
		name: "rtt", plural: "rtts", fields: []string{""},
		blank: func(k Key) Fact { return &RTT{From: k.Name, To: k.ID} },
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
