package zone

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone/persist"
)

// An address is an IPv6 address, network byte order.
type address = [16]byte

// An addressSet is a set of addresses in ascending order.
type addressSet = persist.Sorted[address]

// addressOrder returns a function that compares an address with a; see persist.Sorted.
func addressOrder(a address) func(address) int {
	return func(b address) int { return bytes.Compare(b[:], a[:]) }
}

// An app is one app of the registry and its machines, compiled. It is immutable, but
// for its lists, which are rendered when first asked for.
//
// It takes three cache lines of 64 octets, since Go allocates 192 octets at a multiple
// of 64. Most queries read the first, or the first and one more.
type app struct {
	// shortName is a copy of a name of at most shortMax octets. It is in the first
	// cache line, so comparing names loads no other.
	shortName [shortMax]byte
	shortLen  uint8 // of shortName; 0 if the name is longer
	started   addressSet

	names    persist.Trie[*named] // below process and _metadata, by the hash of their labels
	deployed persist.Sorted[vm]   // by id
	name     string

	regions []region // by code
	lists   *appLists
	edit    persist.Edit
	unnamed int // groups and metadata entries of deployed machines that give no name
	_       [16]byte
}

// shortMax leaves room for started in the first 64 octets.
const shortMax = 31

func newApp(e persist.Edit, name string) *app {
	a := &app{edit: e, name: name, lists: new(appLists)}
	if len(name) <= shortMax {
		a.shortLen = uint8(copy(a.shortName[:], name))
	}
	return a
}

func (a *app) Is(name []byte) bool {
	if a.shortLen == 0 {
		return a.name == string(name)
	}
	return string(a.shortName[:a.shortLen]) == string(name)
}

// A vm is a deployed machine. A search compares the first 8 octets of ids, and seldom
// follows the pointer.
type vm struct {
	head    uint64 // idHead of the machine's id
	machine *registry.Machine
}

// A region is the part of an app in one region.
type region struct {
	code     string
	number   uint32 // see codes
	deployed int32  // number of deployed machines
	started  addressSet
}

// A named is one name made of a process group or of metadata, or a name above such a
// name.
type named struct {
	edit    persist.Edit
	labels  string // wire form, the labels left of the app's label
	refs    int32  // number of deployed machines that give rise to the name or to names below it
	started addressSet
}

func (n *named) Is(labels []byte) bool { return n.labels == string(labels) }

// appLists holds an app's lists.
type appLists struct {
	vms, allVMs, regions, allRegions lazyList
}

// hashSeed is random, so that no client or app can choose names with the same hash.
var hashSeed = maphash.MakeSeed()

func hashOf(name []byte) uint64 { return maphash.Bytes(hashSeed, name) }

// idHead returns the first 8 octets of an id as a number. Ids are in the order of their
// heads, if these differ.
func idHead(id []byte) uint64 {
	var b [8]byte
	copy(b[:], id)
	return binary.BigEndian.Uint64(b[:])
}

// idOrder returns a function that compares the id of a machine with id; see
// persist.Sorted.
func idOrder(id []byte) func(vm) int {
	head := idHead(id)
	return func(v vm) int {
		switch { // comparisons with string(id) copy nothing; strings.Compare would
		case v.head != head:
			return cmp.Compare(v.head, head)
		case v.machine.ID < string(id):
			return -1
		case v.machine.ID > string(id):
			return 1
		}
		return 0
	}
}

// region returns the index of the region of that code, or the index at which to insert
// it.
func (a *app) region(code string) (i int, found bool) {
	return slices.BinarySearchFunc(a.regions, code, func(r region, code string) int { return strings.Compare(r.code, code) })
}

// regionOf returns the region whose code is label, or nil. Unlike region, it needs no
// string, for which a query would have to allocate.
func (a *app) regionOf(label []byte) *region {
	for i := range a.regions {
		if r := &a.regions[i]; r.code == string(label) {
			return r
		}
	}
	return nil
}

// renderVMs renders the list of vms or all.vms.
func (a *app) renderVMs(all bool) []byte {
	w := newTextWriter(nil, maxText, ',')
	var item []byte
	for chunk := range a.deployed.Chunks {
		for _, v := range chunk {
			if all || v.machine.Started() {
				item = append(append(append(item[:0], v.machine.ID...), ' '), v.machine.Region...)
				if !w.add(item) {
					return w.dst
				}
			}
		}
	}
	return w.dst
}

// renderRegions renders the list of regions or all.regions.
func (a *app) renderRegions(all bool) []byte {
	w := newTextWriter(nil, maxText, ',')
	for i := range a.regions {
		if r := &a.regions[i]; all || !r.started.Empty() {
			if !w.add([]byte(r.code)) {
				return w.dst
			}
		}
	}
	return w.dst
}
