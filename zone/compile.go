package zone

import (
	"cmp"
	"slices"
	"unique"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone/persist"
)

// Commit compiles what changed, and makes the Table with it the current one. Pass it
// to registry.NewStore as its publish function: it must get every commit of the
// store, in order.
func (p *Publisher) Commit(snap *registry.Snapshot, changes *registry.Changes) {
	p.replace(func(next *Table) {
		next.snap = snap
		if changes.Geography {
			next.geo = newGeography(snap.Geography(), p.codes)
		}
		p.edits++
		c := commit{table: next, edit: p.edits, codes: p.codes, scratch: &p.scratch}
		c.run(changes)
		results := p.scratch.sets.results
		clear(results[:cap(results)]) // they would keep the sets of an old Table from being freed
	})
}

// A commit makes one Table.
type commit struct {
	table   *Table
	edit    persist.Edit
	codes   codes
	dropped map[registry.AppKey]bool // apps removed with all their machines; nil if there are none
	*scratch
}

// A scratch is memory that each commit uses again.
type scratch struct {
	name  []byte    // the result of key
	names metaNames // of one machine
	sets  setChange // of one machine
}

// key returns the hash of a name, and the name as octets. The octets are good until
// the next call.
func (s *scratch) key(name string) (hash uint64, key []byte) {
	s.name = append(s.name[:0], name...)
	return hashOf(s.name), s.name
}

// run removes all changed objects as they were, and then adds them as they are. The
// order matters: in one commit, two machines may exchange their addresses.
func (c *commit) run(changes *registry.Changes) {
	for _, n := range changes.Networks {
		c.view(n).serial = uint32(changes.Index)
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
		if m := ch.Before; m != nil && !c.sameNames(ch) {
			c.machine(m, nil, !sameAddress(ch))
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
		if c.sameNames(ch) {
			c.machine(ch.Before, ch.After, false)
		} else if m := ch.After; m != nil {
			c.machine(nil, m, !sameAddress(ch))
		}
	}
}

// dropApp removes an app with all its names, so that its machines need not be removed
// from it one by one.
func (c *commit) dropApp(a *registry.App) {
	if c.dropped == nil {
		c.dropped = make(map[registry.AppKey]bool)
	}
	c.dropped[a.AppKey()] = true
	c.table.unnamed -= c.view(a.Network).dropApp(a.Name)
}

// machine replaces before with after. Either may be nil; if neither is, both give
// rise to the same names. moves reports that the address must be removed or added.
func (c *commit) machine(before, after *registry.Machine, moves bool) {
	m := cmp.Or(after, before)
	v := c.view(m.Network)
	if moves && after == nil {
		v.removeMachine(m)
	} else if moves {
		v.addMachine(m)
	}
	if !m.Deployed() || after == nil && c.dropped[m.AppKey()] {
		return
	}
	a := v.app(m.App)
	c.table.unnamed -= a.unnamed
	a.change(before, after)
	c.table.unnamed += a.unnamed
}

// sameNames reports whether a machine gives rise to the same names as before. Most
// often it has stopped or started, so that only its address in their sets changes.
func (c *commit) sameNames(ch registry.MachineChange) bool {
	b, a := ch.Before, ch.After
	return sameAddress(ch) && a.Deployed() && b.Region == a.Region && slices.Equal(b.Metadata, a.Metadata)
}

// view returns the network's view for this commit to change. It makes one for a
// network that has none.
func (c *commit) view(n registry.Network) viewEdit {
	v := c.table.views.Get(networkBits(n), nil)
	if v != nil && v.edit == c.edit {
		return viewEdit{v, c}
	}
	if v == nil {
		v = &view{network: n, appList: new(lazyList), peerList: new(lazyList)}
	}
	v = v.copyFor(c.edit)
	c.table.views = c.table.views.Put(c.edit, networkBits(n), nil, v)
	return viewEdit{v, c}
}

// A viewEdit is a view while a commit changes it.
type viewEdit struct {
	*view
	c *commit
}

// copyFor returns a copy of v that e may change.
func (v *view) copyFor(e persist.Edit) *view {
	own := *v
	own.edit = e
	own.instances, own.allInstances = new(lazyList), new(lazyList)
	return &own
}

// app returns the app of that name for this commit to change. It makes one if there
// is none.
func (v viewEdit) app(name string) appEdit {
	hash, key := v.c.key(name)
	a := v.apps.Get(hash, key)
	if a != nil && a.edit == v.edit {
		return appEdit{a, v.c}
	}
	if a != nil {
		a = a.copyFor(v.edit)
	} else {
		a = newApp(v.edit, name)
		v.appList = new(lazyList)
	}
	v.apps = v.apps.Put(v.edit, hash, key, a)
	return appEdit{a, v.c}
}

// dropApp removes an app with all its names, and returns its count of unnamed
// entries.
func (v viewEdit) dropApp(name string) (unnamed int) {
	hash, key := v.c.key(name)
	if a := v.apps.Get(hash, key); a != nil {
		unnamed = a.unnamed
	}
	v.apps = v.apps.Drop(v.edit, hash, key)
	v.appList = new(lazyList)
	return unnamed
}

func (v viewEdit) removeMachine(m *registry.Machine) {
	if !m.Gone() {
		v.removeHolder(v.machines(m), machineHolder(m))
	}
}

func (v viewEdit) addMachine(m *registry.Machine) {
	if !m.Gone() {
		v.addHolder(v.machines(m), machineHolder(m))
	}
}

// machines returns the trie for a machine's address.
func (v viewEdit) machines(m *registry.Machine) *persist.Trie[*block] {
	if m.Deployed() {
		return &v.shown
	}
	return &v.hidden
}

// sameAddress reports whether a machine keeps its address, and its place among the
// shown or the hidden ones.
func sameAddress(ch registry.MachineChange) bool {
	b, a := ch.Before, ch.After
	return b != nil && a != nil && b.Address == a.Address && b.Gone() == a.Gone() && b.Deployed() == a.Deployed()
}

// peersOf returns the trie for a peer's address.
func (v viewEdit) peersOf(p *registry.Peer) *persist.Trie[*block] {
	if HiddenPeer(p.Name) {
		return &v.hidden
	}
	return &v.shown
}

func (v viewEdit) removePeer(p *registry.Peer) {
	v.peerList = new(lazyList)
	v.removeHolder(v.peersOf(p), peerHolder(p))
	hash, key := v.c.key(p.Name)
	v.peers = v.peers.Drop(v.edit, hash, key)
}

func (v viewEdit) addPeer(p *registry.Peer) {
	v.peerList = new(lazyList)
	v.addHolder(v.peersOf(p), peerHolder(p))
	if !HiddenPeer(p.Name) {
		shown := &peer{p.Name, p.Address.As16()}
		hash, key := v.c.key(p.Name)
		v.peers = v.peers.Put(v.edit, hash, key, shown)
	}
}

func (v viewEdit) removeFlycast(f *registry.Flycast) {
	v.removeHolder(&v.shown, flycastHolder(f))
	addr := f.Address.As16()
	own := v.flycastApp(f.App)
	own.addrs = own.addrs.Remove(v.edit, addressOrder(addr))
	v.putFlycast(own)
}

func (v viewEdit) addFlycast(f *registry.Flycast) {
	v.addHolder(&v.shown, flycastHolder(f))
	addr := f.Address.As16()
	own := v.flycastApp(f.App)
	own.addrs = own.addrs.Insert(v.edit, addr, addressOrder(addr))
	v.putFlycast(own)
}

// flycastApp returns a copy of the Flycast addresses of the apps of that name.
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

// addHolder adds h to t, which is v.shown or v.hidden.
func (v viewEdit) addHolder(t *persist.Trie[*block], h holder) {
	bits := blockBits(h.addr)
	*t = t.Put(v.edit, bits, nil, t.Get(bits, nil).with(v.edit, h))
}

// removeHolder removes h from t.
func (v viewEdit) removeHolder(t *persist.Trie[*block], h holder) {
	bits := blockBits(h.addr)
	b := t.Get(bits, nil)
	if b == nil {
		return
	}
	if left := b.without(v.edit, h); left != nil {
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

// change replaces before, one of the app's deployed machines, with after. If before is
// nil, after is added; if after is nil, before is removed; if neither is, both give
// rise to the same names.
//
// No other function changes an app's sets of addresses. A new set needs one more call
// of sets.change here.
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
	switches := started != (before != nil && before.Started()) // starts or stops
	if delta == 0 && !switches {
		return
	}
	sets := a.sets(m, started)
	if switches {
		sets.change(&a.started)
	}

	i, found := a.region(m.Region)
	if !found {
		a.regions = slices.Insert(a.regions, i, region{code: m.Region, number: a.c.codes.number(m.Region)})
	}
	r := &a.regions[i]
	if r.deployed += int32(delta); r.deployed == 0 {
		a.regions = slices.Delete(a.regions, i, i+1)
	} else if switches {
		sets.change(&r.started)
	}

	a.unnamed += delta * a.c.names.of(m)
	for _, n := range a.c.names.list {
		if delta == 0 && n.inner {
			continue
		}
		own := a.named(n.labels)
		if own.refs += int32(delta); own.refs == 0 {
			a.names = a.names.Drop(a.edit, hashOf(n.labels), n.labels)
		} else if switches && !n.inner {
			sets.change(&own.started)
		}
	}
}

// sharedMax is the longest text of labels, in octets, that all apps share in memory.
// Process groups, roles and versions with flyctl's keys are shorter. Texts that belong
// to one app only, such as the id of a release, are longer.
const sharedMax = 48

// named returns the name of those labels for this commit to change. It makes one if
// there is none.
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

// copyFor returns a copy of a that e may change.
func (a *app) copyFor(e persist.Edit) *app {
	own := *a
	own.edit = e
	own.regions = slices.Clone(a.regions)
	own.lists = new(appLists)
	return &own
}

// A setChange adds one machine's address to sets of its app, or removes it from them.
//
// Many sets of an app are equal: if all its machines have the same metadata, the set of
// each entry equals the app's set. Short sets that were one slice in memory stay one
// slice: the first change makes a new slice, and the others take it from results.
type setChange struct {
	edit    persist.Edit
	addr    address
	add     bool
	results []setResult // of short sets, which are never changed in place
}

type setResult struct{ before, after []address }

// sets returns a setChange that adds the address of m, or removes it.
func (a appEdit) sets(m *registry.Machine, add bool) *setChange {
	c := &a.c.scratch.sets
	*c = setChange{edit: a.edit, addr: m.Address.As16(), add: add, results: c.results[:0]}
	return c
}

func (c *setChange) change(s *addressSet) {
	before, short := s.Short()
	if short {
		for _, d := range c.results {
			if len(d.before) == len(before) && (len(before) == 0 || &d.before[0] == &before[0]) {
				*s = persist.Slice(d.after)
				return
			}
		}
	}
	if c.add {
		*s = s.Insert(c.edit, c.addr, addressOrder(c.addr))
	} else {
		*s = s.Remove(c.edit, addressOrder(c.addr))
	}
	if after, still := s.Short(); short && still {
		c.results = append(c.results, setResult{before, after})
	}
}
