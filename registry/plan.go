package registry

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/internaldns/internaldns/registry/index"
)

// A plan is what becomes of a batch of events: a commit, or faults. It reads the
// snapshot before the commit and writes nothing, so a batch that is refused or
// changes nothing leaves no trace.
//
// First, everything that the batch deletes or puts is noted under its key, beside
// what the registry holds there; only then is each object checked. So no object
// is in the way of another that the same batch moves.
type plan struct {
	checker
	old      *Snapshot
	lastApp  uint32
	others   edits // of all kinds but machines
	machines machineEdits
	appless  []*Machine // put into apps that do not exist
	found    *App       // by app: files list the machines of an app together
}

// edits holds, for every key that a batch mentions, the object before and after it.
// The zero edits is ready to use.
type edits struct {
	at   index.Small[Key, int]
	list []edit // in the order in which the keys were first mentioned
}

type edit struct {
	Change
	kind Kind
}

// begin makes p an empty plan for the commit after old.
func (p *plan) begin(old *Snapshot) {
	*p = plan{old: old, lastApp: old.lastApp}
	p.registry = p
}

// edit returns the change of the object k, which is good until the next call.
func (p *plan) edit(k Key) *Change {
	e := &p.others
	i, ok := e.at.Get(k)
	if !ok {
		i = len(e.list)
		e.at.Add(k, i)
		e.list = append(e.list, edit{Change{Before: p.old.find(k)}, k.Kind})
	}
	return &e.list[i].Change
}

// mentions reports whether the batch replaces or deletes f.
func (p *plan) mentions(f Fact) bool {
	_, ok := p.others.at.Get(f.Key())
	return ok
}

// read notes the events: first deletions, then apps, which others depend on, then
// everything else that is put.
func (p *plan) read(events []Event) {
	for _, e := range events {
		if e.Delete {
			p.delete(e.Fact.Key())
		}
	}
	for _, e := range events {
		if a, ok := e.Fact.(*App); ok && !e.Delete {
			p.putApp(a)
		}
	}
	p.machines.at.Size = len(events)
	for _, e := range events {
		if e.Delete {
			continue
		}
		switch f := e.Fact.(type) {
		case *App:
		case *Machine:
			p.putMachine(f)
		default:
			p.put(f)
		}
	}
}

func (p *plan) delete(k Key) {
	switch k.Kind {
	case KindMachine:
		if a := p.old.App(k.Network, k.Name); a != nil {
			p.machines.edit(p.old, a, k.ID)
		}
	case KindApp:
		a := p.old.App(k.Network, k.Name)
		if a == nil {
			return
		}
		p.edit(k)
		for m := range p.old.Machines(a) {
			p.machines.edit(p.old, a, m.ID)
		}
		for f := range p.old.FlycastOf(a) {
			p.edit(f.Key())
		}
	default:
		p.edit(k)
	}
}

// put notes a copy of f.
func (p *plan) put(f Fact) {
	k := f.Key()
	c := p.edit(k)
	if c.Before != nil && f.equal(c.Before) {
		c.After = c.Before
	} else {
		c.After = kinds[k.Kind].clone(f)
	}
}

// putApp notes a copy of a. If the app exists, or did until this batch, it keeps
// its number.
func (p *plan) putApp(a *App) {
	c := p.edit(a.Key())
	had := c.Fact()
	p.put(a)
	switch after := c.After.(*App); {
	case c.After == c.Before:
	case had != nil:
		after.number = had.(*App).number
	default:
		p.lastApp++
		after.number = p.lastApp
	}
}

// app returns the app as it is after the batch, or nil. It is for use when all apps of
// the batch have been read.
func (p *plan) app(k AppKey) *App {
	if p.found != nil && p.found.AppKey() == k {
		return p.found
	}
	p.found = p.old.App(k.Network, k.Name)
	if i, ok := p.others.at.Get(k.Key()); ok {
		p.found, _ = p.others.list[i].After.(*App)
	}
	return p.found
}

// check returns what is wrong with the objects that are put.
func (p *plan) check() error {
	p.ids.Size, p.addresses.Size = p.machines.at.Size, p.machines.at.Size
	byKind := p.byKind()
	machines, _ := slices.BinarySearchFunc(byKind, KindMachine, func(e edit, k Kind) int { return cmp.Compare(e.kind, k) })
	p.add(byKind[:machines])
	for i := range p.machines.list {
		if m := p.machines.list[i].live.After; m != nil {
			p.checker.add(m)
		}
	}
	for _, m := range p.appless {
		p.checker.add(m)
	}
	p.add(byKind[machines:])
	return p.faults.Err()
}

func (p *plan) add(edits []edit) {
	for _, e := range edits {
		if e.After != nil {
			p.checker.add(e.After)
		}
	}
}

// byKind returns the edits of objects other than machines, sorted by kind.
func (p *plan) byKind() []edit {
	list := slices.Clone(p.others.list)
	slices.SortStableFunc(list, func(a, b edit) int { return cmp.Compare(a.kind, b.kind) })
	return list
}

// The lookup of a plan's checker: what the batch leaves as it is.

func (p *plan) hasApp(k AppKey) bool { return p.app(k) != nil }

func (p *plan) holderOfID(m *Machine) *Machine {
	if p.machines.before(m) != nil {
		return nil // m replaces it
	}
	if o := p.old.Machine(m.ID); o != nil && !p.machines.has(o) {
		return o
	}
	return nil
}

func (p *plan) holderOfAddress(f Fact, addr netip.Addr) Fact {
	if m, ok := f.(*Machine); ok {
		if before := p.machines.before(m); before != nil && before.Address == addr {
			return nil // m replaces it
		}
	}
	if m := p.old.MachineAt(addr); m != nil {
		if !p.machines.has(m) {
			return m
		}
	} else if o := p.old.PeerAt(addr); o != nil {
		if !p.mentions(o) {
			return o
		}
	} else if f := p.old.FlycastAt(addr); f != nil && !p.mentions(f) {
		return f
	}
	return nil
}

func (p *plan) holderOfName(n *NetworkName) *NetworkName {
	if o := first[*NetworkName](p.old, KindNetwork, rowName, []byte(n.Name)); o != nil && !p.mentions(o) {
		return o
	}
	return nil
}

// changes returns what a batch without faults changes in the commit of that
// index.
func (p *plan) changes(index uint64) *Changes {
	c := &Changes{Index: index, Machines: p.machines.changed()}
	for _, e := range p.byKind() {
		if e.Before != e.After {
			c.Others = append(c.Others, e.Change)
			c.Geography = c.Geography || e.kind == KindRegion || e.kind == KindRTT
		}
	}
	for _, ch := range c.Machines {
		if ch.After != nil {
			stamp(ch.After, index)
		}
	}
	for _, ch := range c.Others {
		switch f := ch.After.(type) {
		case *Flycast:
			a := p.app(AppKey{f.Owner, f.App})
			f.App, f.app = a.Name, a.number // they share the name
		case stamped:
			stamp(f, index)
		}
	}
	c.Networks = c.networks()
	return c
}

// A stamped is a fact that knows the commit that made it as it is.
type stamped interface{ modified() *uint64 }

// stamp sets the commit of f, unless its source has.
func stamp(f stamped, commit uint64) {
	if m := f.modified(); *m == 0 {
		*m = commit
	}
}
