package zone

import (
	"encoding/binary"
	"strings"
	"sync/atomic"

	"github.com/internaldns/internaldns/registry"
)

// A view is what one network sees, compiled. It holds facts of that network
// only; whoever has a view has no way to another's. It is immutable but for its
// lists, which are rendered when first asked for.
type view struct {
	edit    edit
	network registry.Network
	serial  uint32
	apps    trie[*app]        // by the hash of their names
	peers   trie[*peer]       // by the hash of their names
	flycast trie[*flycastApp] // by the hash of the apps' names
	// hosts and hidden hold everything that has an address, by the 64 bits
	// between network and /112: hosts what the reverse zone shows, hidden what
	// only counts as an asker with a region.
	hosts, hidden trie[*host]

	appList, peerList, instances, allInstances *atomic.Pointer[[]byte]
}

// is tells that the view is the one looked for: the bits it is stored under are
// its network's, and say all.
func (v *view) is([]byte) bool { return true }

// networkBits spreads networks over the table's trie. Different networks have
// different bits.
func networkBits(n registry.Network) uint64 { return uint64(n) * 0x9E3779B97F4A7C15 }

// A peer is a WireGuard peer that answers show.
type peer struct {
	name string
	addr address
}

func (p *peer) is(name []byte) bool { return p.name == string(name) }

// A flycastApp is the Flycast addresses in one network of all apps of one name.
type flycastApp struct {
	name  string
	addrs addressSet
}

func (f *flycastApp) is(name []byte) bool { return f.name == string(name) }

// hiddenPeer reports whether a peer is in no answer.
func hiddenPeer(name string) bool { return strings.HasPrefix(name, "interactive-") }

// hostBits returns the bits of a between its network and its /112.
func hostBits(a address) uint64 { return binary.BigEndian.Uint64(a[6:]) }

// A viewEdit is a view while a commit changes it.
type viewEdit struct {
	*view
	c *commit
}

// begin returns a copy of v that e may change.
func (v *view) begin(e edit) *view {
	own := *v
	own.edit = e
	own.instances, own.allInstances = new(atomic.Pointer[[]byte]), new(atomic.Pointer[[]byte])
	return &own
}

// app returns the app of that name for changing, made if need be.
func (v viewEdit) app(name string) appEdit {
	hash, key := v.c.key(name)
	a := v.apps.get(hash, key)
	if a != nil && a.edit == v.edit {
		return appEdit{a, v.c}
	}
	if a != nil {
		a = a.begin(v.edit)
	} else {
		a = newApp(v.edit, name)
		v.appList = new(atomic.Pointer[[]byte])
	}
	v.apps = v.apps.put(v.edit, hash, key, a)
	return appEdit{a, v.c}
}

// dropApp removes an app with all its names and returns how many entries of its
// machines formed no name.
func (v viewEdit) dropApp(name string) (unnamed int) {
	hash, key := v.c.key(name)
	if a := v.apps.get(hash, key); a != nil {
		unnamed = a.unnamed
	}
	v.apps = v.apps.drop(v.edit, hash, key)
	v.appList = new(atomic.Pointer[[]byte])
	return unnamed
}

func (v viewEdit) removeMachine(m *registry.Machine) {
	if !m.Gone() {
		v.vacate(v.machines(m), machineOwner(m))
	}
}

func (v viewEdit) addMachine(m *registry.Machine) {
	if !m.Gone() {
		v.settle(v.machines(m), machineOwner(m))
	}
}

// machines returns where a machine's address stands: in hosts, if the reverse
// zone shows it.
func (v viewEdit) machines(m *registry.Machine) *trie[*host] {
	if m.Deployed() {
		return &v.hosts
	}
	return &v.hidden
}

// keeps reports whether a change of a machine leaves its address as it is.
func keeps(ch registry.Change[registry.Machine]) bool {
	b, a := ch.Before, ch.After
	return b != nil && a != nil && b.Address == a.Address && b.Gone() == a.Gone() && b.Deployed() == a.Deployed()
}

// peersOf returns where a peer's address stands.
func (v viewEdit) peersOf(p *registry.Peer) *trie[*host] {
	if hiddenPeer(p.Name) {
		return &v.hidden
	}
	return &v.hosts
}

func (v viewEdit) removePeer(p *registry.Peer) {
	v.peerList = new(atomic.Pointer[[]byte])
	v.vacate(v.peersOf(p), peerOwner(p))
	hash, key := v.c.key(p.Name)
	v.peers = v.peers.drop(v.edit, hash, key)
}

func (v viewEdit) addPeer(p *registry.Peer) {
	v.peerList = new(atomic.Pointer[[]byte])
	v.settle(v.peersOf(p), peerOwner(p))
	if !hiddenPeer(p.Name) {
		shown := &peer{p.Name, p.Address.As16()}
		hash, key := v.c.key(p.Name)
		v.peers = v.peers.put(v.edit, hash, key, shown)
	}
}

func (v viewEdit) removeFlycast(f *registry.Flycast) {
	v.vacate(&v.hosts, flycastOwner(f))
	addr := f.Address.As16()
	own := v.flycastApp(f.App)
	own.addrs = own.addrs.remove(v.edit, addressOrder(addr))
	v.putFlycast(own)
}

func (v viewEdit) addFlycast(f *registry.Flycast) {
	v.settle(&v.hosts, flycastOwner(f))
	addr := f.Address.As16()
	own := v.flycastApp(f.App)
	own.addrs = own.addrs.insert(v.edit, addr, addressOrder(addr))
	v.putFlycast(own)
}

// flycastApp returns a copy of the addresses of the apps of that name.
func (v viewEdit) flycastApp(name string) *flycastApp {
	if f := v.flycast.get(v.c.key(name)); f != nil {
		own := *f
		return &own
	}
	return &flycastApp{name: name}
}

func (v viewEdit) putFlycast(f *flycastApp) {
	hash, key := v.c.key(f.name)
	if f.addrs.empty() {
		v.flycast = v.flycast.drop(v.edit, hash, key)
		return
	}
	v.flycast = v.flycast.put(v.edit, hash, key, f)
}

// settle gives o its address in t, which is hosts or hidden.
func (v viewEdit) settle(t *trie[*host], o addressOwner) {
	bits := hostBits(o.addr)
	h := t.get(bits, nil)
	if h == nil {
		h = new(host)
	}
	*t = t.put(v.edit, bits, nil, h.with(v.edit, o))
}

// vacate takes o's address back.
func (v viewEdit) vacate(t *trie[*host], o addressOwner) {
	bits := hostBits(o.addr)
	h := t.get(bits, nil)
	if h == nil {
		return
	}
	if left := h.without(v.edit, o); left != nil {
		*t = t.put(v.edit, bits, nil, left)
	} else {
		*t = t.drop(v.edit, bits, nil)
	}
}

// at returns who has the address, in hosts or hidden.
func (v *view) at(a address) (o addressOwner, ok bool) {
	if o, ok = v.hosts.get(hostBits(a), nil).find(addressOrder(a)); ok {
		return o, true
	}
	return v.hidden.get(hostBits(a), nil).find(addressOrder(a))
}

// only returns the address of the one machine in the /112 around a. It reports
// false if there is none or are several.
func (v *view) only(a address) (addr address, one bool) {
	for _, t := range [...]trie[*host]{v.hosts, v.hidden} {
		for m := range t.get(hostBits(a), nil).machines {
			if one {
				return address{}, false
			}
			addr, one = m, true
		}
	}
	return addr, one
}
