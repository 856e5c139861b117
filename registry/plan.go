package registry

import (
	"net/netip"

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
	old      *Snapshot
	lastApp  uint32
	others   [numKinds]edits // all kinds but machines
	machines machineEdits
	homeless []*Machine // put into apps that do not exist
}

// edits holds, for every key of a kind that a batch mentions, the object before
// and after it. The zero edits is ready to use.
type edits struct {
	at   index.Small[Key, int]
	list []Change // in the order in which the keys were first mentioned
}

func newPlan(old *Snapshot) *plan {
	return &plan{old: old, lastApp: old.lastApp}
}

// edit returns the change of the object k, which is good until the next call.
func (p *plan) edit(k Key) *Change {
	e := &p.others[k.Kind]
	i, ok := e.at.Get(k)
	if !ok {
		i = len(e.list)
		e.at.Add(k, i)
		e.list = append(e.list, Change{Before: p.old.find(k)})
	}
	return &e.list[i]
}

// mentions reports whether the batch replaces or deletes f.
func (p *plan) mentions(f Fact) bool {
	k := f.Key()
	_, ok := p.others[k.Kind].at.Get(k)
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
	p.machines.expect(len(events))
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

// app returns the app as it is after the batch, or nil.
func (p *plan) app(k AppKey) *App {
	e := &p.others[KindApp]
	if i, ok := e.at.Get(k.Key()); ok {
		a, _ := e.list[i].After.(*App)
		return a
	}
	return p.old.App(k.Network, k.Name)
}

// check returns what is wrong with the objects that are put.
func (p *plan) check() error {
	c := checker{registry: p}
	c.ids.Size, c.addresses.Size = p.machines.size, p.machines.size
	for k := range numKinds {
		if k == KindMachine {
			for i := range p.machines.list {
				if m := p.machines.list[i].live.After; m != nil {
					c.add(m)
				}
			}
			for _, m := range p.homeless {
				c.add(m)
			}
			continue
		}
		for _, ch := range p.others[k].list {
			if ch.After != nil {
				c.add(ch.After)
			}
		}
	}
	return c.faults.Err()
}

// The lookup of a plan's checker: what the batch leaves as it is.

func (p *plan) hasApp(k AppKey) bool { return p.app(k) != nil }

func (p *plan) holderOfID(id string) *Machine {
	if m := p.old.Machine(id); m != nil && !p.machines.has(m) {
		return m
	}
	return nil
}

func (p *plan) holderOfAddress(addr netip.Addr) Fact {
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

func (p *plan) holderOfName(name string) *NetworkName {
	if row := first[network](p.old.txn, KindNetwork, rowName, []byte(name)); row != nil && !p.mentions(row) {
		return &row.NetworkName
	}
	return nil
}

// changes returns what a batch without faults changes in the commit of that
// index.
func (p *plan) changes(index uint64) *Changes {
	c := &Changes{Index: index, Machines: p.machines.changed()}
	for k := range numKinds {
		for _, ch := range p.others[k].list {
			if ch.Before != ch.After {
				c.Others = append(c.Others, ch)
				c.Geography = c.Geography || k == KindRegion || k == KindRTT
			}
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
