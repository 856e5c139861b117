package etcd

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/internaldns/internaldns/registry"
)

// A mirror holds what etcd has below one epoch: for every key its revisions and its
// lease, and whether its object is in effect. It depends only on these keys and on
// head, not on the order in which they arrived: all nodes decide alike.
//
// An object is in effect if it is right by itself, its app exists, and no other
// object that wants the same id, address or name comes before it (see before). The
// machines in effect are in the store; a mirror does not hold them a second time.
//
// A mirror is not safe for concurrent use.
type mirror struct {
	entries map[string]*entry
	apps    map[registry.AppKey]*app
	wanted  map[string][]*entry // by what they want; all are right by themselves
	// quarantined holds the entries that are not in effect, by key.
	quarantined map[string]*entry

	// head is the revision of the last write of a server.
	head int64
	// displaced holds the entries that are older than an object of the last write that
	// wants the same. They must be put again before the next write (see before).
	displaced map[*entry]struct{}
}

// An entry is one key of an object.
type entry struct {
	key         string
	create, mod int64 // revisions
	lease       clientv3.LeaseID
	of          *app          // of a machine or Flycast address
	wants       []string      // the id, address or name that no other object may have
	object      registry.Fact // nil if the value is bad, or if it is a machine that the store has
	live        bool          // a machine that is not gone
	bad         string        // what is wrong with it by itself
	why         string        // why it is not in effect; "" if it is
}

// An app lists the machines and Flycast addresses of an app, also if the app does
// not exist.
type app struct {
	entry    *entry              // nil if the app does not exist
	machines map[string][]*entry // by id
	flycast  []*entry
}

func newMirror() *mirror {
	return &mirror{
		entries:     make(map[string]*entry),
		apps:        make(map[registry.AppKey]*app),
		wanted:      make(map[string][]*entry),
		quarantined: make(map[string]*entry),
		displaced:   make(map[*entry]struct{}),
	}
}

// wants lists what only one object of a registry can have.
func wants(object registry.Fact) []string {
	switch o := object.(type) {
	case *registry.Machine:
		if !o.Gone() {
			return []string{wantID + o.ID, wantAddress + o.Address.String()}
		}
		// The registry holds equal gone machines once.
		return []string{fmt.Sprintf("%s as %x", keyOf(o), sha256.Sum256(o.Raw))}
	case *registry.Peer:
		return []string{wantAddress + o.Address.String()}
	case *registry.Flycast:
		return []string{wantAddress + o.Address.String()}
	case *registry.NetworkName:
		return []string{wantName + o.Name}
	}
	return nil
}

const (
	wantID      = "id "
	wantAddress = "address "
	wantName    = "name "
)

// before reports whether a is in effect rather than b, if both want the same. What
// servers have acknowledged must stay in effect, whatever is put by hand:
//
//   - An object of the last write of a server comes first: it was decided on what was
//     in effect, so it can only exclude what was put by hand.
//   - Otherwise the older value comes first. So what is put by hand after a write
//     does not displace what was written.
//   - What is older than an object of the last write and wants the same is displaced.
//     A server puts it again, unchanged, before the next write: then it is younger,
//     and the order is the same after the next write.
func (m *mirror) before(a, b *entry) bool {
	if x, y := a.mod == m.head, b.mod == m.head; x != y {
		return x
	}
	return older(a, b)
}

func older(a, b *entry) bool {
	return cmp.Or(cmp.Compare(a.mod, b.mod), cmp.Compare(a.create, b.create), cmp.Compare(a.key, b.key)) < 0
}

// A dirty collects the entries that must be decided on.
type dirty map[*entry]struct{}

func (d dirty) add(entries ...*entry) {
	for _, e := range entries {
		d[e] = struct{}{}
	}
}

// setHead notes the revision of a server's write.
func (m *mirror) setHead(revision int64, d dirty) {
	m.head = revision
	for e := range m.displaced {
		for _, w := range e.wants {
			d.add(m.wanted[w]...)
		}
	}
}

// put notes the value of a key, which is below the epoch. object, unless nil, is what
// decode would make of it.
func (m *mirror) put(kv *mvccpb.KeyValue, key string, object registry.Fact, d dirty) {
	if isClaim(key) {
		return
	}
	e := &entry{key: key, create: kv.CreateRevision, mod: kv.ModRevision, lease: clientv3.LeaseID(kv.Lease)}
	if old := m.entries[key]; old != nil {
		e.why = old.why // the same reason is not logged again
	}
	m.delete(key, d)
	m.entries[key] = e
	d.add(e)
	r, err := parseKey(key)
	if err != nil {
		e.bad = err.Error()
		return
	}
	if object == nil {
		object, err = decode(&r, kv.Value, kv.ModRevision)
	}
	if err != nil {
		e.bad = err.Error()
	} else {
		e.object, e.wants = object, wants(object)
		machine, is := object.(*registry.Machine)
		e.live = is && !machine.Gone()
	}
	switch r.Kind {
	case registry.KindApp:
		if e.bad == "" {
			a := m.app(r.app())
			a.entry = e
			m.dependents(a, d)
		}
	case registry.KindMachine:
		e.of = m.app(r.app())
		e.of.machines[r.ID] = append(e.of.machines[r.ID], e)
	case registry.KindFlycast:
		e.of = m.app(r.app())
		e.of.flycast = append(e.of.flycast, e)
	}
	for _, w := range e.wants {
		m.wanted[w] = append(m.wanted[w], e)
		d.add(m.wanted[w]...)
	}
}

// delete forgets the entry of key, if there is one. The entry is dirty afterwards.
func (m *mirror) delete(key string, d dirty) {
	e := m.entries[key]
	if e == nil {
		return
	}
	delete(m.entries, key)
	delete(m.quarantined, key)
	delete(m.displaced, e)
	d.add(e)
	r, _ := parseKey(key)
	if a := m.apps[r.app()]; a != nil {
		switch r.Kind {
		case registry.KindApp:
			if a.entry == e {
				a.entry = nil
				m.dependents(a, d)
			}
		case registry.KindMachine:
			if a.machines[r.ID] = without(a.machines[r.ID], e); len(a.machines[r.ID]) == 0 {
				delete(a.machines, r.ID)
			}
		case registry.KindFlycast:
			a.flycast = without(a.flycast, e)
		}
		if a.entry == nil && len(a.machines)+len(a.flycast) == 0 {
			delete(m.apps, r.app())
		}
	}
	for _, w := range e.wants {
		m.wanted[w] = without(m.wanted[w], e)
		d.add(m.wanted[w]...)
		if len(m.wanted[w]) == 0 {
			delete(m.wanted, w)
		}
	}
}

func (m *mirror) app(key registry.AppKey) *app {
	a := m.apps[key]
	if a == nil {
		a = &app{machines: make(map[string][]*entry)}
		m.apps[key] = a
	}
	return a
}

// dependents marks what must be decided on when an app is put or deleted: its machines
// and Flycast addresses, and entries that want the same as these.
func (m *mirror) dependents(a *app, d dirty) {
	mark := func(entries []*entry) {
		for _, e := range entries {
			d.add(e)
			for _, w := range e.wants {
				d.add(m.wanted[w]...)
			}
		}
	}
	for _, entries := range a.machines {
		mark(entries)
	}
	mark(a.flycast)
}

// machines returns the entries of a machine's id in an app.
func (m *mirror) machines(key registry.MachineKey) []*entry {
	if a := m.apps[key.App]; a != nil {
		return a.machines[key.ID]
	}
	return nil
}

// fault returns why the entry cannot be in effect, whatever others want, or "".
func (e *entry) fault() string {
	if e.bad == "" && e.of != nil && e.of.entry == nil {
		return "there is no such app"
	}
	return e.bad
}

// first returns the entry that is in effect of those that want the same, or nil.
func (m *mirror) first(want string) (first *entry) {
	entries := m.wanted[want]
	for _, e := range entries {
		if (len(entries) == 1 || e.fault() == "") && (first == nil || m.before(e, first)) {
			first = e
		}
	}
	return first
}

// decide returns why the entry is not in effect, or "". It notes whether the entry is
// displaced.
func (m *mirror) decide(e *entry) string {
	delete(m.displaced, e)
	why := e.fault()
	for _, w := range e.wants {
		first := m.first(w)
		if first == nil || first == e {
			continue
		}
		why = cmp.Or(why, fmt.Sprintf("%s is that of %s", w, first.key))
		if first.mod == m.head && older(e, first) { // also if its app may be made later
			m.displaced[e] = struct{}{}
		}
	}
	return why
}

func without(entries []*entry, e *entry) []*entry {
	return slices.DeleteFunc(entries, func(o *entry) bool { return o == e })
}

// machine returns the machine of an entry that is right by itself. store is the
// registry as the mirror was settled last.
func (e *entry) machine(store *registry.Snapshot) *registry.Machine {
	if m, ok := e.object.(*registry.Machine); ok {
		return m
	}
	r, _ := parseKey(e.key)
	return store.Machine(r.ID)
}

// update decides on an entry, and notes whether it is in effect.
func (m *mirror) update(e *entry) {
	if e.why = m.decide(e); e.why == "" {
		delete(m.quarantined, e.key)
	} else {
		m.quarantined[e.key] = e
	}
}

// settle decides on the dirty entries, and returns the events that bring the registry
// from store, which is as the mirror was before, to what the mirror is now. It returns
// those entries, too, that are not in effect, if they were before, are new, or have
// another reason.
func (m *mirror) settle(d dirty, store *registry.Snapshot) (events []registry.Event, quarantined []*entry) {
	groups := make(map[registry.MachineKey]bool)
	for e := range d {
		now := m.entries[e.key]
		if now == e {
			before := e.why
			m.update(e)
			if e.why != "" && e.live && e.object == nil {
				e.object = e.machine(store) // the store is about to lose it
			}
			if e.why != "" && e.why != before {
				quarantined = append(quarantined, e)
			}
		}
		r, err := parseKey(e.key)
		switch {
		case err != nil:
		case r.Kind == registry.KindMachine:
			groups[registry.MachineKey{App: r.app(), ID: r.ID}] = true
		case now == e && e.why == "":
			events = append(events, registry.Put(e.object))
		case now == nil || now == e:
			events = append(events, registry.Delete(r.Key)) // unless another entry puts the same
		}
	}
	for g := range groups {
		n := len(events)
		for _, e := range m.machines(g) {
			if e.why == "" {
				events = append(events, registry.Put(e.machine(store)))
			}
		}
		if len(events) == n {
			events = append(events, registry.Delete(registry.Key{Kind: registry.KindMachine, Network: g.App.Network, Name: g.App.Name, ID: g.ID}))
		}
	}
	for g := range groups {
		m.drop(m.machines(g))
	}
	return events, quarantined
}

// drop forgets the machines that the store has.
func (m *mirror) drop(entries []*entry) {
	for _, e := range entries {
		if e.live && e.why == "" {
			e.object = nil
		}
	}
}

// facts returns all that is in effect. It must be called before drop.
func (m *mirror) facts() *registry.Facts {
	f := new(registry.Facts)
	for _, e := range m.entries {
		if e.why == "" {
			f.Add(e.object)
		}
	}
	return f
}
