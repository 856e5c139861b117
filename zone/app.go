package zone

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone/persist"
	"github.com/internaldns/internaldns/zone/wire"
)

// An address is an IPv6 address, network byte order.
type address = [16]byte

// An addressSet is a set of addresses in ascending order.
type addressSet = persist.Sorted[address]

func addressOrder(a address) func(address) int {
	return func(b address) int { return bytes.Compare(b[:], a[:]) }
}

// An app is what follows from one app and its machines, compiled. It is
// immutable but for texts, which are rendered when first asked for.
//
// It is three lines of the cache, each in one since Go allocates 192 octets at a
// multiple of 64: most queries touch the first, or that and one more.
type app struct {
	// near holds a name of up to nearMax octets once more, beside what most
	// queries want next: finding the app touches one cache line less.
	near    [nearMax]byte
	nearLen uint8 // 0: the name is longer
	started addressSet

	names    persist.Trie[*named] // of process groups and metadata, by the hash of their labels
	deployed persist.Sorted[vm]   // by id
	name     string

	regions []region // by code
	texts   *appTexts
	edit    persist.Edit
	unnamed int // groups and metadata entries of deployed machines that form no name
	_       [16]byte
}

// nearMax leaves room for started in the 64 octets of a cache line.
const nearMax = 31

func newApp(e persist.Edit, name string) *app {
	a := &app{edit: e, name: name, texts: new(appTexts)}
	if len(name) <= nearMax {
		a.nearLen = uint8(copy(a.near[:], name))
	}
	return a
}

func (a *app) Is(name []byte) bool {
	if a.nearLen == 0 {
		return a.name == string(name)
	}
	return string(a.near[:a.nearLen]) == string(name)
}

// A vm is a deployed machine. The first octets of its id stand beside the
// pointer so that a search seldom follows it.
type vm struct {
	head    uint64
	machine *registry.Machine
}

// A region is an app's part in one region.
type region struct {
	code     string
	number   uint32
	deployed int32
	started  addressSet
}

// A named is what one name made of a process group or of metadata stands for,
// or one that exists because there are names below.
type named struct {
	edit    persist.Edit
	labels  string // wire form, left of the app's label
	refs    int32  // deployed machines that give rise to the name or one below it
	started addressSet
}

func (n *named) Is(labels []byte) bool { return n.labels == string(labels) }

// appTexts holds an app's lists: RDATA of TXT records.
type appTexts struct {
	vms, allVMs, regions, allRegions atomic.Pointer[[]byte]
}

// hashSeed makes collisions unpredictable.
var hashSeed = maphash.MakeSeed()

func hashOf(name []byte) uint64 { return maphash.Bytes(hashSeed, name) }

// idHead returns the first 8 octets of an id, so that comparing heads compares
// ids that differ there.
func idHead(id []byte) uint64 {
	var b [8]byte
	copy(b[:], id)
	return binary.BigEndian.Uint64(b[:])
}

// idOrder compares machines with the one of that id, by id.
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

// region returns where the region of that code is, or belongs.
func (a *app) region(code string) (i int, found bool) {
	return slices.BinarySearchFunc(a.regions, code, func(r region, code string) int { return strings.Compare(r.code, code) })
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

// maxText bounds the RDATA of a list, in octets. It is longer than a message has
// room for by more than an item takes, so that a list that ends early here also
// ends early, and is counted as cut, in every message.
const maxText = wire.MaxMessageLen + 512

// text returns the list that p holds, rendering it if nobody asked before.
// Several workers may render the same list at once; they all get the same.
func text(p *atomic.Pointer[[]byte], render func() []byte) []byte {
	if t := p.Load(); t != nil {
		return *t
	}
	t := slices.Clip(render())
	p.Store(&t)
	return t
}
