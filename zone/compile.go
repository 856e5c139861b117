package zone

import (
	"cmp"
	"slices"
	"sync/atomic"
	"unique"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone/persist"
)

// Commit compiles what changed and makes the Table with it the current one. It
// takes the arguments of a registry store's publish function; every commit of the
// store must come here, in order.
func (p *Publisher) Commit(snap *registry.Snapshot, changes *registry.Changes) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := *p.current.Load()
	next.index, next.snap = changes.Index, snap
	if changes.Geography {
		next.geo = newGeography(snap.Geography(), p.codes)
	}
	p.edits++
	c := commit{
		table:   &next,
		index:   changes.Index,
		edit:    p.edits,
		codes:   p.codes,
		scratch: &p.scratch,
	}
	c.run(changes)
	clear(p.scratch.sets.done[:cap(p.scratch.sets.done)]) // else they would keep an old Table from being freed
	p.current.Store(&next)
}

// A commit is the making of one Table.
type commit struct {
	table *Table
	index uint64
	edit  persist.Edit
	codes codes
	gone  map[registry.AppKey]bool // apps dropped whole; nil if there are none
	*scratch
}

// A scratch is what commits use one after the other.
type scratch struct {
	name   []byte    // the last that key was asked about
	owners owners    // those of one machine
	sets   setChange // the one that is being made
}

// key returns what a name is stored under, and the name as octets, which are
// good until the next call.
func (s *scratch) key(name string) (hash uint64, key []byte) {
	s.name = append(s.name[:0], name...)
	return hashOf(s.name), s.name
}

// run takes all that was there before away, then adds all that is there now:
// within one commit, machines may exchange their addresses.
func (c *commit) run(changes *registry.Changes) {
	for _, n := range changes.Networks {
		c.view(n).serial = uint32(c.index)
	}
	for _, ch := range changes.Others {
		switch f := ch.Before.(type) {
		case *registry.App:
			if ch.After == nil {
				c.dropApp(f)
			}
		case *registry.Flycast:
			c.view(f.Network()).removeFlycast(f)
		case *registry.Peer:
			c.view(f.Network()).removePeer(f)
		}
	}
	for _, ch := range changes.Machines {
		if m := ch.Before; m != nil && !c.restates(ch) {
			c.machine(m, nil, !keeps(ch))
		}
	}

	for _, ch := range changes.Others {
		switch f := ch.After.(type) {
		case *registry.App:
			c.view(f.Network).app(f.Name)
		case *registry.Flycast:
			c.view(f.Network()).addFlycast(f)
		case *registry.Peer:
			c.view(f.Network()).addPeer(f)
		}
	}
	for _, ch := range changes.Machines {
		if c.restates(ch) {
			c.machine(ch.Before, ch.After, false)
		} else if m := ch.After; m != nil {
			c.machine(nil, m, !keeps(ch))
		}
	}
}

// dropApp removes an app whole. Its machines then need not be taken out of it one by
// one.
func (c *commit) dropApp(a *registry.App) {
	if c.gone == nil {
		c.gone = make(map[registry.AppKey]bool)
	}
	c.gone[registry.AppKey{Network: a.Network, Name: a.Name}] = true
	c.table.unnamed -= c.view(a.Network).dropApp(a.Name)
}

// machine replaces before with after, either of which may be nil. If neither is,
// the same names follow from both. moves reports that the address changes hands.
func (c *commit) machine(before, after *registry.Machine, moves bool) {
	m := cmp.Or(after, before)
	v := c.view(m.Network)
	if moves && after == nil {
		v.removeMachine(m)
	} else if moves {
		v.addMachine(m)
	}
	if !m.Deployed() || after == nil && c.gone[registry.AppKey{Network: m.Network, Name: m.App}] {
		return
	}
	a := v.app(m.App)
	c.table.unnamed -= a.unnamed
	a.change(before, after)
	c.table.unnamed += a.unnamed
}

// restates reports whether the same names follow from a machine as did before:
// it has stopped or started, most often, and its names stay with it or without.
func (c *commit) restates(ch registry.MachineChange) bool {
	b, a := ch.Before, ch.After
	return keeps(ch) && a.Deployed() && b.Region == a.Region && slices.Equal(b.Metadata, a.Metadata)
}

// view returns the network's view for changing, made if need be.
func (c *commit) view(n registry.Network) viewEdit {
	v := c.table.views.Get(networkBits(n), nil)
	if v != nil && v.edit == c.edit {
		return viewEdit{v, c}
	}
	if v == nil {
		v = &view{network: n, appList: new(atomic.Pointer[[]byte]), peerList: new(atomic.Pointer[[]byte])}
	}
	v = v.begin(c.edit)
	c.table.views = c.table.views.Put(c.edit, networkBits(n), nil, v)
	return viewEdit{v, c}
}

// A viewEdit is a view while a commit changes it.
type viewEdit struct {
	*view
	c *commit
}

// begin returns a copy of v that e may change.
func (v *view) begin(e persist.Edit) *view {
	own := *v
	own.edit = e
	own.instances, own.allInstances = new(atomic.Pointer[[]byte]), new(atomic.Pointer[[]byte])
	return &own
}

// app returns the app of that name for changing, made if need be.
func (v viewEdit) app(name string) appEdit {
	hash, key := v.c.key(name)
	a := v.apps.Get(hash, key)
	if a != nil && a.edit == v.edit {
		return appEdit{a, v.c}
	}
	if a != nil {
		a = a.begin(v.edit)
	} else {
		a = newApp(v.edit, name)
		v.appList = new(atomic.Pointer[[]byte])
	}
	v.apps = v.apps.Put(v.edit, hash, key, a)
	return appEdit{a, v.c}
}

// dropApp removes an app with all its names and returns how many entries of its
// machines formed no name.
func (v viewEdit) dropApp(name string) (unnamed int) {
	hash, key := v.c.key(name)
	if a := v.apps.Get(hash, key); a != nil {
		unnamed = a.unnamed
	}
	v.apps = v.apps.Drop(v.edit, hash, key)
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
func (v viewEdit) machines(m *registry.Machine) *persist.Trie[*host] {
	if m.Deployed() {
		return &v.hosts
	}
	return &v.hidden
}

// keeps reports whether a change of a machine leaves its address as it is.
func keeps(ch registry.MachineChange) bool {
	b, a := ch.Before, ch.After
	return b != nil && a != nil && b.Address == a.Address && b.Gone() == a.Gone() && b.Deployed() == a.Deployed()
}

// peersOf returns where a peer's address stands.
func (v viewEdit) peersOf(p *registry.Peer) *persist.Trie[*host] {
	if HiddenPeer(p.Name) {
		return &v.hidden
	}
	return &v.hosts
}

func (v viewEdit) removePeer(p *registry.Peer) {
	v.peerList = new(atomic.Pointer[[]byte])
	v.vacate(v.peersOf(p), peerOwner(p))
	hash, key := v.c.key(p.Name)
	v.peers = v.peers.Drop(v.edit, hash, key)
}

func (v viewEdit) addPeer(p *registry.Peer) {
	v.peerList = new(atomic.Pointer[[]byte])
	v.settle(v.peersOf(p), peerOwner(p))
	if !HiddenPeer(p.Name) {
		shown := &peer{p.Name, p.Address.As16()}
		hash, key := v.c.key(p.Name)
		v.peers = v.peers.Put(v.edit, hash, key, shown)
	}
}

func (v viewEdit) removeFlycast(f *registry.Flycast) {
	v.vacate(&v.hosts, flycastOwner(f))
	addr := f.Address.As16()
	own := v.flycastApp(f.App)
	own.addrs = own.addrs.Remove(v.edit, addressOrder(addr))
	v.putFlycast(own)
}

func (v viewEdit) addFlycast(f *registry.Flycast) {
	v.settle(&v.hosts, flycastOwner(f))
	addr := f.Address.As16()
	own := v.flycastApp(f.App)
	own.addrs = own.addrs.Insert(v.edit, addr, addressOrder(addr))
	v.putFlycast(own)
}

// flycastApp returns a copy of the addresses of the apps of that name.
func (v viewEdit) flycastApp(name string) *flycastApp {
	if f := v.flycast.Get(v.c.key(name)); f != nil {
		own := *f
		return &own
	}
	return &flycastApp{name: name}
}

func (v viewEdit) putFlycast(f *flycastApp) {
	hash, key := v.c.key(f.name)
	if f.addrs.Empty() {
		v.flycast = v.flycast.Drop(v.edit, hash, key)
		return
	}
	v.flycast = v.flycast.Put(v.edit, hash, key, f)
}

// settle gives o its address in t, which is hosts or hidden.
func (v viewEdit) settle(t *persist.Trie[*host], o addressOwner) {
	bits := hostBits(o.addr)
	h := t.Get(bits, nil)
	if h == nil {
		h = new(host)
	}
	*t = t.Put(v.edit, bits, nil, h.with(v.edit, o))
}

// vacate takes o's address back.
func (v viewEdit) vacate(t *persist.Trie[*host], o addressOwner) {
	bits := hostBits(o.addr)
	h := t.Get(bits, nil)
	if h == nil {
		return
	}
	if left := h.without(v.edit, o); left != nil {
		*t = t.Put(v.edit, bits, nil, left)
	} else {
		*t = t.Drop(v.edit, bits, nil)
	}
}

// An appEdit is an app while a commit changes it.
type appEdit struct {
	*app
	c *commit
}

// change replaces before, one of the app's deployed machines, with after. Either
// may be nil: then after is added, or before is removed. If neither is nil, the
// same names follow from both. A commit removes before it adds, so that machines
// may exchange addresses.
//
// This is the one place that keeps an app's sets of addresses: a new set is one
// more call of sets.change.
func (a appEdit) change(before, after *registry.Machine) {
	m, delta := after, 0 // delta is the change in the number of deployed machines
	switch {
	case before == nil:
		delta = 1
	case after == nil:
		m, delta = before, -1
	}
	id := []byte(m.ID)
	if after != nil {
		a.deployed = a.deployed.Insert(a.edit, vm{idHead(id), m}, idOrder(id))
	} else {
		a.deployed = a.deployed.Remove(a.edit, idOrder(id))
	}
	started := after != nil && after.Started()
	starts := started != (before != nil && before.Started()) // or stops
	if delta == 0 && !starts {
		return
	}
	sets := a.sets(m, started)
	if starts {
		sets.change(&a.started)
	}

	i, found := a.region(m.Region)
	if !found {
		a.regions = slices.Insert(a.regions, i, region{code: m.Region, number: a.c.codes.number(m.Region)})
	}
	r := &a.regions[i]
	if r.deployed += int32(delta); r.deployed == 0 {
		a.regions = slices.Delete(a.regions, i, i+1)
	} else if starts {
		sets.change(&r.started)
	}

	a.unnamed += delta * a.c.owners.of(m)
	for _, o := range a.c.owners.list {
		if delta == 0 && o.inner {
			continue
		}
		n := a.named(o.labels)
		if n.refs += int32(delta); n.refs == 0 {
			a.names = a.names.Drop(a.edit, hashOf(o.labels), o.labels)
		} else if starts && !o.inner {
			sets.change(&n.started)
		}
	}
}

// sharedMax is the length of labels, in octets, up to which they are kept once
// for all apps: groups, roles and versions are shorter, with the keys that flyctl
// gives them, and what no two apps have, such as the id of a release, is longer.
const sharedMax = 48

// named returns the name of those labels for changing, made if need be.
func (a appEdit) named(labels []byte) *named {
	hash := hashOf(labels)
	n := a.names.Get(hash, labels)
	if n != nil && n.edit == a.edit {
		return n
	}
	own := new(named)
	if n != nil {
		*own = *n
	} else if own.labels = string(labels); len(labels) <= sharedMax {
		own.labels = unique.Make(own.labels).Value()
	}
	own.edit = a.edit
	a.names = a.names.Put(a.edit, hash, labels, own)
	return own
}

// begin returns a copy of a that e may change.
func (a *app) begin(e persist.Edit) *app {
	own := *a
	own.edit = e
	own.regions = slices.Clone(a.regions)
	own.texts = new(appTexts)
	return &own
}

// Many of an app's sets are equal: if all machines have the same metadata, then
// each entry stands for all that are started, as the app does. Sets that were
// one in memory, as empty ones are, stay one when the same becomes of them.

// A setChange puts one machine's address into sets of its app, or takes it out.
type setChange struct {
	edit persist.Edit
	addr address
	put  bool
	done []setDone // of short sets, which are never changed in place
}

// A setDone is what became of a set.
type setDone struct{ before, after []address }

// sets begins to change the sets that hold m, which is started.
func (a appEdit) sets(m *registry.Machine, put bool) *setChange {
	c := &a.c.sets
	*c = setChange{edit: a.edit, addr: m.Address.As16(), put: put, done: c.done[:0]}
	return c
}

func (c *setChange) change(s *addressSet) {
	before, short := s.Short()
	if short {
		for _, d := range c.done {
			if len(d.before) == len(before) && (len(before) == 0 || &d.before[0] == &before[0]) {
				*s = persist.Slice(d.after)
				return
			}
		}
	}
	if c.put {
		*s = s.Insert(c.edit, c.addr, addressOrder(c.addr))
	} else {
		*s = s.Remove(c.edit, addressOrder(c.addr))
	}
	if after, still := s.Short(); short && still {
		c.done = append(c.done, setDone{before, after})
	}
}
