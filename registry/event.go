package registry

import (
	"iter"
	"maps"
	"net/netip"
	"slices"
)

// An Event is one wanted change: Put or Delete returns it.
type Event struct {
	Fact   Fact
	Delete bool // then nothing of Fact counts but its key
}

// Put returns the event that adds f, or replaces the object of the same key. The
// store keeps a copy of f, but for a machine's Raw, which it shares.
//
// An app is put without its machines. A machine that is not gone replaces one
// that is not, and all gone ones of its app and id (see Store.Apply).
func Put(f Fact) Event { return Event{Fact: f} }

// Delete returns the event that deletes the object of that key. It does nothing
// if there is none.
//
// With an app go its machines and Flycast addresses, and with a machine the gone
// ones of its app and id. A network loses its name and keeps its apps. A built-in
// region is back when the region of its code is deleted.
func Delete(k Key) Event { return Event{Fact: k.Fact(), Delete: true} }

// A Change is one object as it was before a commit and as it is after: nil where
// it did not exist.
type Change struct{ Before, After Fact }

// Fact returns the object as it is after the commit, or, if it was deleted, as it
// was before.
func (c Change) Fact() Fact {
	if c.After != nil {
		return c.After
	}
	return c.Before
}

// A MachineChange is a Change of a machine.
type MachineChange struct{ Before, After *Machine }

// Machine returns the machine as it is after the commit, or, if it was deleted, as
// it was before.
func (c MachineChange) Machine() *Machine {
	if c.After != nil {
		return c.After
	}
	return c.Before
}

// change returns c as a Change.
func (c MachineChange) change() (ch Change) {
	if c.Before != nil {
		ch.Before = c.Before
	}
	if c.After != nil {
		ch.After = c.After
	}
	return ch
}

// Changes is what one commit changed. An object that is as it was before, put
// again or even deleted and put, is not in it. A machine that moves to another
// app is two changes.
type Changes struct {
	// Index is the commit's number, counted from 1.
	Index uint64
	// Networks lists the networks in which any answer can have changed, each
	// once, in ascending order. A change of Geography alone is in none.
	Networks []Network
	// Machines are the changes of machines, and Others those of all other kinds,
	// by kind.
	Machines []MachineChange
	Others   []Change
	// Geography reports that a region or a round trip changed, which can change
	// the order of nearest machines in all networks.
	Geography bool
}

// Len returns how many objects the commit changed.
func (c *Changes) Len() int { return len(c.Machines) + len(c.Others) }

// All yields all changes, by kind.
func (c *Changes) All() iter.Seq[Change] {
	return func(yield func(Change) bool) {
		i := 0
		for ; i < len(c.Others) && c.Others[i].Fact().Key().Kind < KindMachine; i++ {
			if !yield(c.Others[i]) {
				return
			}
		}
		for _, ch := range c.Machines {
			if !yield(ch.change()) {
				return
			}
		}
		for ; i < len(c.Others); i++ {
			if !yield(c.Others[i]) {
				return
			}
		}
	}
}

// networks returns the networks in which the changes can change an answer, in
// ascending order.
func (c *Changes) networks() []Network {
	touched := make(map[Network]bool)
	for _, ch := range c.Machines {
		if n := ch.Machine().Network; !touched[n] && ch.shows() {
			touched[n] = true
		}
	}
	for _, ch := range c.Others {
		switch k := ch.Fact().Key(); k.Kind {
		case KindApp, KindPeer:
			touched[k.Network] = true
		case KindFlycast: // no answer depends on the app's network
			if ch.Before == nil || ch.After == nil || ch.Before.(*Flycast).App != ch.After.(*Flycast).App {
				touched[k.In()] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(touched))
}

// shows reports whether an answer can depend on the change.
func (c MachineChange) shows() bool {
	b, a := shownOf(c.Before), shownOf(c.After)
	return b != a || a.deployed && !slices.EqualFunc(c.Before.Metadata, c.After.Metadata, samePair)
}

// samePair compares pairs as names do, without regard to letter case.
func samePair(a, b Pair) bool {
	return Fold(a.Key) == Fold(b.Key) && Fold(a.Value) == Fold(b.Value)
}

// shown is what answers depend on, beside metadata. A machine that is skipped still
// decides the region of a client; one that is gone decides nothing. The process group is
// here as well: it is read from a key in lower case, and samePair does not see letter
// case.
type shown struct {
	region            string
	address           netip.Addr
	deployed, started bool
	group             string // of a deployed machine, in lower case
}

func shownOf(m *Machine) shown {
	if m == nil || m.Gone() {
		return shown{}
	}
	s := shown{region: m.Region, address: m.Address, deployed: m.Deployed(), started: m.Started()}
	if s.deployed {
		s.group = Fold(m.Group())
	}
	return s
}
