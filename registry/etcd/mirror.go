package etcd

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/internaldns/internaldns/registry"
)

// A mirror holds the keys below one epoch, and which of them are in effect. Which of
// two objects that exclude each other is, depends only on these keys,
// not on the order in which they arrived: all nodes agree.
//
// An object is in effect if it is right by itself, its app is there, and it is
// the first of those that want its id, address or name: the one that has the
// claim, else the one whose key has been there for longest. A mirror is not safe
// for concurrent use.
type mirror struct {
	entries map[string]*entry
	apps    map[registry.AppKey]*app
	wanted  map[string]*wanted // by the key of the claim
	bad     map[string]*entry  // what is not in effect
}

// An entry is one key of an object.
type entry struct {
	key         string
	create, mod int64 // revisions
	lease       clientv3.LeaseID
	object      registry.Fact // nil if the value is bad
	fault       string        // what is wrong with it by itself
	why         string        // why it is not in effect; "" if it is
}

// An app lists the machines and Flycast addresses of an app, also if the app does
// not exist.
type app struct {
	entry    *entry              // nil if the app does not exist
	machines map[string][]*entry // by id
	flycast  []*entry
}

// exists reports whether the app can have machines.
func (a *app) exists() bool { return a != nil && a.entry != nil && a.entry.fault == "" }

// A wanted holds the claim on an id, address or name, and the objects that want it.
type wanted struct {
	claim claim
	by    []*entry // right by themselves
}

// A claim is the key that names the owner of an id, address or name. mod is 0 if
// there is no claim.
type claim struct {
	owner string
	mod   int64
	lease clientv3.LeaseID
}

func newMirror() *mirror {
	return &mirror{
		entries: make(map[string]*entry),
		apps:    make(map[registry.AppKey]*app),
		wanted:  make(map[string]*wanted),
		bad:     make(map[string]*entry),
	}
}

// wants lists the claims that the entry's object needs.
func (e *entry) wants() []string {
	switch o := e.object.(type) {
	case *registry.Machine:
		if !o.Gone() {
			return []string{idClaim(o.ID), addressClaim(o.Address)}
		}
		// The registry holds equal gone machines once. There is no such key in etcd.
		return []string{fmt.Sprintf("%s as %x", machineKey(registry.AppKey{Network: o.Network, Name: o.App}, o.ID, 1), sha256.Sum256(o.Raw))}
	case *registry.Peer:
		return []string{addressClaim(o.Address)}
	case *registry.Flycast:
		return []string{addressClaim(o.Address)}
	case *registry.NetworkName:
		return []string{nameClaim(o.Name)}
	}
	return nil
}

// A dirty collects the entries whose being in effect has to be decided anew.
type dirty map[*entry]struct{}

func (d dirty) add(entries ...*entry) {
	for _, e := range entries {
		d[e] = struct{}{}
	}
}

// put notes that key, which is below the epoch, has a value.
func (m *mirror) put(kv *mvccpb.KeyValue, key string, d dirty) {
	r, err := parseKey(key)
	if err == nil && isClaim(r.kind) {
		m.claim(key, claim{m.intern(string(kv.Value)), kv.ModRevision, clientv3.LeaseID(kv.Lease)}, d)
		return
	}
	e := &entry{key: key, create: kv.CreateRevision, mod: kv.ModRevision, lease: clientv3.LeaseID(kv.Lease)}
	if old := m.entries[key]; old != nil {
		e.why = old.why // until it is decided on: the same again is not told again
	}
	m.remove(key, d)
	if err == nil {
		e.object, err = decode(&r, kv.Value, kv.ModRevision)
	}
	if err != nil {
		e.object, e.fault = nil, err.Error()
	}
	m.entries[key] = e
	d.add(e)
	m.link(e, &r, d)
}

// link lists the entry where others look for it.
func (m *mirror) link(e *entry, r *ref, d dirty) {
	switch r.kind {
	case kindApp:
		if e.fault == "" {
			a := m.app(r.app())
			a.entry = e
			m.dependents(a, d)
		}
	case kindMachine:
		a := m.app(r.app())
		a.machines[r.id] = append(a.machines[r.id], e)
	case kindFlycast:
		a := m.app(r.app())
		a.flycast = append(a.flycast, e)
	}
	for _, c := range e.wants() {
		w := m.want(c)
		w.by = append(w.by, e)
		d.add(w.by...)
	}
}

// remove forgets the entry of key, if there is one. It stays among the dirty.
func (m *mirror) remove(key string, d dirty) {
	e := m.entries[key]
	if e == nil {
		return
	}
	delete(m.entries, key)
	delete(m.bad, key)
	d.add(e)
	r, _ := parseKey(key)
	switch r.kind {
	case kindApp:
		if a := m.apps[r.app()]; a != nil && a.entry == e {
			a.entry = nil
			m.dependents(a, d)
			m.prune(r.app())
		}
	case kindMachine:
		if a := m.apps[r.app()]; a != nil {
			if a.machines[r.id] = without(a.machines[r.id], e); len(a.machines[r.id]) == 0 {
				delete(a.machines, r.id)
			}
			m.prune(r.app())
		}
	case kindFlycast:
		if a := m.apps[r.app()]; a != nil {
			a.flycast = without(a.flycast, e)
			m.prune(r.app())
		}
	}
	for _, c := range e.wants() {
		w := m.wanted[c]
		w.by = without(w.by, e)
		d.add(w.by...)
		m.release(c)
	}
	e.object = nil
}

// claim records the owner under the claim's key c; the zero claim has no owner.
func (m *mirror) claim(c string, of claim, d dirty) {
	w := m.want(c)
	w.claim = of
	d.add(w.by...)
	m.release(c)
}

// delete notes that key is gone.
func (m *mirror) delete(key string, d dirty) {
	if r, err := parseKey(key); err == nil && isClaim(r.kind) {
		m.claim(key, claim{}, d)
		return
	}
	m.remove(key, d)
}

func (m *mirror) app(key registry.AppKey) *app {
	a := m.apps[key]
	if a == nil {
		a = &app{machines: make(map[string][]*entry)}
		m.apps[key] = a
	}
	return a
}

// prune removes an app that has no entry, machine or Flycast address.
func (m *mirror) prune(key registry.AppKey) {
	if a := m.apps[key]; a.entry == nil && len(a.machines)+len(a.flycast) == 0 {
		delete(m.apps, key)
	}
}

// dependents marks what the app's coming or going decides: its own, and those
// that want the same.
func (m *mirror) dependents(a *app, d dirty) {
	mark := func(entries []*entry) {
		for _, e := range entries {
			d.add(e)
			for _, c := range e.wants() {
				if w := m.wanted[c]; w != nil {
					d.add(w.by...)
				}
			}
		}
	}
	for _, entries := range a.machines {
		mark(entries)
	}
	mark(a.flycast)
}

func (m *mirror) want(c string) *wanted {
	w := m.wanted[c]
	if w == nil {
		w = new(wanted)
		m.wanted[c] = w
	}
	return w
}

// release removes c if no object wants it and there is no claim.
func (m *mirror) release(c string) {
	if w := m.wanted[c]; len(w.by) == 0 && w.claim.mod == 0 {
		delete(m.wanted, c)
	}
}

// owner returns the claim of that key.
func (m *mirror) owner(c string) claim {
	if w := m.wanted[c]; w != nil {
		return w.claim
	}
	return claim{}
}

// intern returns the key of an entry in the memory of that entry.
func (m *mirror) intern(key string) string {
	if e := m.entries[key]; e != nil {
		return e.key
	}
	return key
}

// appOf returns the app that the entry depends on, and whether it depends on one.
func (e *entry) appOf() (key registry.AppKey, depends bool) {
	switch o := e.object.(type) {
	case *registry.Machine:
		return registry.AppKey{Network: o.Network, Name: o.App}, true
	case *registry.Flycast:
		return registry.AppKey{Network: o.Owner, Name: o.App}, true
	}
	return registry.AppKey{}, false
}

var errNoApp = errors.New("there is no such app")

// candidate returns why the entry cannot be in effect whatever others want, or
// nil.
func (m *mirror) candidate(e *entry) error {
	if e.fault != "" {
		return errors.New(e.fault)
	}
	if key, depends := e.appOf(); depends && !m.apps[key].exists() {
		return errNoApp
	}
	return nil
}

// winner returns the entry that is in effect for the claim's key c.
func (m *mirror) winner(c string) *entry {
	var best *entry
	w := m.wanted[c]
	for _, e := range w.by {
		if m.candidate(e) != nil {
			continue
		}
		if e.key == w.claim.owner {
			return e
		}
		if best == nil || e.create < best.create || e.create == best.create && e.key < best.key {
			best = e
		}
	}
	return best
}

// decide returns why the entry is not in effect, or "".
func (m *mirror) decide(e *entry) string {
	if err := m.candidate(e); err != nil {
		return err.Error()
	}
	for _, c := range e.wants() {
		if o := m.winner(c); o != e {
			return fmt.Sprintf("%s is that of %s", c, o.key)
		}
	}
	return ""
}

func without(entries []*entry, e *entry) []*entry {
	return slices.DeleteFunc(entries, func(o *entry) bool { return o == e })
}

// settle decides on the dirty entries, and returns the events that bring a
// registry, which was as the mirror said before, to what it says now. bad is
// called for those that are not in effect, and were, or are new.
func (m *mirror) settle(d dirty, bad func(*entry)) []registry.Event {
	var events []registry.Event
	type machines struct {
		app registry.AppKey
		id  string
	}
	seen := make(map[machines]bool)
	for e := range d {
		if r, err := parseKey(e.key); err == nil {
			if r.kind == kindMachine {
				seen[machines{r.app(), r.id}] = true
			} else if m.entries[e.key] == nil || m.entries[e.key] == e {
				events = append(events, m.event(e, &r))
			}
		}
		if m.entries[e.key] != e {
			continue
		}
		before := e.why
		if e.why = m.decide(e); e.why == "" {
			delete(m.bad, e.key)
		} else {
			m.bad[e.key] = e
			if e.why != before {
				bad(e)
			}
		}
	}
	for of := range seen {
		n := len(events)
		if a := m.apps[of.app]; a != nil {
			for _, e := range a.machines[of.id] {
				if m.decide(e) == "" {
					events = append(events, registry.Put(e.object))
				}
			}
		}
		if len(events) == n {
			events = append(events, registry.Delete(registry.Key{Kind: registry.KindMachine, Network: of.app.Network, Name: of.app.Name, ID: of.id}))
		}
	}
	return events
}

// event returns what the entry, which is no machine's, means for the registry.
func (m *mirror) event(e *entry, r *ref) registry.Event {
	if m.entries[e.key] == e && m.decide(e) == "" {
		return registry.Put(e.object)
	}
	return registry.Delete(r.object()) // puts replace a Flycast address that another app has
}

// facts returns all that is in effect.
func (m *mirror) facts() *registry.Facts {
	f := new(registry.Facts)
	for _, e := range m.entries {
		if e.why == "" {
			f.Add(e.object)
		}
	}
	return f
}
