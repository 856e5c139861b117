package zone

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/internaldns/internaldns/registry"
)

// A Publisher makes a new Table for every commit, sharing with the old one
// whatever the commit did not touch, and makes it the current one.
//
// All methods may be called from any goroutine.
type Publisher struct {
	current atomic.Pointer[Table]

	mu      sync.Mutex // one change after the other: each builds on the table before
	edits   edit       // of commits so far, guarded by mu
	codes   codes      // guarded by mu
	scratch scratch    // guarded by mu
}

// NewPublisher returns a Publisher whose Table is empty and not ready.
func NewPublisher(o Options) *Publisher {
	o.Clients = sortClients(o.Clients)
	p := &Publisher{codes: make(codes)}
	empty := registry.NewStore(nil).Snapshot()
	p.current.Store(&Table{
		snap:    empty,
		geo:     newGeography(empty.Geography(), p.codes),
		options: &o,
	})
	return p
}

// Table returns the current Table.
func (p *Publisher) Table() *Table { return p.current.Load() }

// Ready tells that the facts of a source have all been committed. From then on,
// Tables are ready.
func (p *Publisher) Ready() {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := *p.current.Load()
	next.ready = true
	p.current.Store(&next)
}

// SetClients replaces the configured clients.
func (p *Publisher) SetClients(clients []Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := *p.current.Load()
	o := *next.options // readers have the old ones
	o.Clients = sortClients(clients)
	next.options = &o
	p.current.Store(&next)
}

// Commit compiles what changed and makes the Table with it the current one. It
// takes the arguments of a registry store's commit hook; every commit of the
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
	edit  edit
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
	for _, ch := range changes.Apps {
		if a := ch.Before; a != nil && ch.After == nil {
			if c.gone == nil {
				c.gone = make(map[registry.AppKey]bool)
			}
			c.gone[registry.AppKey{Network: a.Network, Name: a.Name}] = true
			c.table.unnamed -= c.view(a.Network).dropApp(a.Name)
		}
	}
	for _, ch := range changes.Machines {
		if m := ch.Before; m != nil && !c.restates(ch) {
			c.removeMachine(m, keeps(ch))
		}
	}
	for _, ch := range changes.Flycast {
		if f := ch.Before; f != nil {
			c.view(f.Network()).removeFlycast(f)
		}
	}
	for _, ch := range changes.Peers {
		if p := ch.Before; p != nil {
			c.view(p.Network()).removePeer(p)
		}
	}

	for _, ch := range changes.Apps {
		if a := ch.After; a != nil {
			c.view(a.Network).app(a.Name)
		}
	}
	for _, ch := range changes.Machines {
		if c.restates(ch) {
			c.restate(ch.Before, ch.After)
		} else if m := ch.After; m != nil {
			c.addMachine(m, keeps(ch))
		}
	}
	for _, ch := range changes.Flycast {
		if f := ch.After; f != nil {
			c.view(f.Network()).addFlycast(f)
		}
	}
	for _, ch := range changes.Peers {
		if p := ch.After; p != nil {
			c.view(p.Network()).addPeer(p)
		}
	}
}

// removeMachine and addMachine leave the machine's address as it is if it is
// kept.

func (c *commit) removeMachine(m *registry.Machine, kept bool) {
	v := c.view(m.Network)
	if !kept {
		v.removeMachine(m)
	}
	if m.Deployed() && !c.gone[registry.AppKey{Network: m.Network, Name: m.App}] {
		a := v.app(m.App)
		c.table.unnamed -= a.unnamed
		a.remove(m)
		c.table.unnamed += a.unnamed
	}
}

func (c *commit) addMachine(m *registry.Machine, kept bool) {
	v := c.view(m.Network)
	if !kept {
		v.addMachine(m)
	}
	if m.Deployed() {
		a := v.app(m.App)
		c.table.unnamed -= a.unnamed
		a.add(m)
		c.table.unnamed += a.unnamed
	}
}

// restates reports whether the same names follow from a machine as did before:
// it has stopped or started, most often, and its names stay with it or without.
func (c *commit) restates(ch registry.Change[registry.Machine]) bool {
	b, a := ch.Before, ch.After
	return keeps(ch) && a.Deployed() && b.Region == a.Region && slices.Equal(b.Metadata, a.Metadata)
}

func (c *commit) restate(before, after *registry.Machine) {
	c.view(after.Network).app(after.App).restate(before, after)
}

// view returns the network's view for changing, made if need be.
func (c *commit) view(n registry.Network) viewEdit {
	v := c.table.views.get(networkBits(n), nil)
	if v != nil && v.edit == c.edit {
		return viewEdit{v, c}
	}
	if v == nil {
		v = &view{network: n, appList: new(atomic.Pointer[[]byte]), peerList: new(atomic.Pointer[[]byte])}
	}
	v = v.begin(c.edit)
	c.table.views = c.table.views.put(c.edit, networkBits(n), nil, v)
	return viewEdit{v, c}
}

// appNames renders _apps, peerNames _peer and instanceList _instances and
// all._instances of one network, as far as a message holds.

func appNames(snap *registry.Snapshot, n registry.Network) []byte {
	w := newTextWriter(nil, maxText, ',')
	for a := range snap.AppsIn(n) {
		if !w.add([]byte(a.Name)) {
			break
		}
	}
	return slices.Clip(w.dst)
}

func peerNames(snap *registry.Snapshot, n registry.Network) []byte {
	w := newTextWriter(nil, maxText, ',')
	for p := range snap.PeersIn(n) {
		if !hiddenPeer(p.Name) && !w.add([]byte(p.Name)) {
			break
		}
	}
	return slices.Clip(w.dst)
}

func instanceList(snap *registry.Snapshot, n registry.Network, all bool) []byte {
	w := newTextWriter(nil, maxText, ';')
	var item []byte
	for m := range snap.MachinesIn(n) {
		if !m.Deployed() || !all && !m.Started() {
			continue
		}
		item = append(append(item[:0], "instance="...), m.ID...)
		item = append(append(item, ",app="...), m.App...)
		item = m.Address.AppendTo(append(item, ",ip="...))
		item = append(append(item, ",region="...), m.Region...)
		if !w.add(item) {
			break
		}
	}
	return slices.Clip(w.dst)
}
