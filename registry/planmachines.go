package registry

import (
	"hash/maphash"
	"slices"
	"unique"

	"github.com/internaldns/internaldns/registry/index"
)

// machineEdits holds, for every app and machine id that a batch mentions, the machines
// before and after it.
type machineEdits struct {
	at   index.Small[machineID, int]
	list []machineEdit // in the order in which the ids were first mentioned
}

type machineID struct {
	app uint32
	id  string
}

// A machineEdit is what becomes of the machines of one app and id: at most one
// that is not gone, and any number that are.
type machineEdit struct {
	live MachineChange
	gone *goneEdit // nil: none before or after
}

// A goneEdit holds gone machines by their sums.
type goneEdit struct {
	at   map[uint64]int
	list []MachineChange
}

// edit returns the edit of a's machines of that id, which is good until the next
// call.
func (e *machineEdits) edit(old *Snapshot, a *App, id string) *machineEdit {
	key := machineID{a.number, id}
	i, ok := e.at.Get(key)
	if !ok {
		if e.list == nil {
			e.list = make([]machineEdit, 0, e.at.Size)
		}
		i = len(e.list)
		e.at.Add(key, i)
		e.list = append(e.list, machineEdit{})
		me := &e.list[i]
		if m := old.Machine(id); m != nil && m.app == a.number {
			me.live.Before = m
		}
		for _, m := range old.goneMachines(a, id) {
			me.goneAt(m.sum).Before = m
		}
	}
	return &e.list[i]
}

// has reports whether the batch replaces or deletes m.
func (e *machineEdits) has(m *Machine) bool {
	_, ok := e.at.Get(machineID{m.app, m.ID})
	return ok
}

// before returns the machine that m, which is put, replaces, or nil. Neither is gone.
func (e *machineEdits) before(m *Machine) *Machine {
	if i, ok := e.at.Get(machineID{m.app, m.ID}); ok {
		return e.list[i].live.Before
	}
	return nil
}

func (me *machineEdit) goneAt(sum uint64) *MachineChange {
	if me.gone == nil {
		me.gone = &goneEdit{at: make(map[uint64]int)}
	}
	g := me.gone
	i, ok := g.at[sum]
	if !ok {
		i = len(g.list)
		g.at[sum] = i
		g.list = append(g.list, MachineChange{})
	}
	return &g.list[i]
}

// changed returns the edits that change something. A machine that leaves and one that
// comes with the same app and id are one change: a machine that was destroyed has a
// Before that is started and an After that is gone.
func (e *machineEdits) changed() []MachineChange {
	var out []MachineChange
	var single []MachineChange
	for i := range e.list {
		me := &e.list[i]
		if me.gone == nil {
			if c := me.live; !same(c) {
				out = append(out, c)
			}
			continue
		}
		single = single[:0]
		for _, c := range append(me.gone.list, me.live) {
			switch {
			case same(c):
			case c.Before != nil && c.After != nil:
				out = append(out, c)
			default:
				single = append(single, c)
			}
		}
		out = append(out, joined(single)...)
	}
	return out
}

func same(c MachineChange) bool {
	return c.Before == c.After || c.Before != nil && c.After != nil && c.After.equal(c.Before)
}

// joined pairs removals with additions. It begins with the last change, which is
// that of the machine that is not gone, if there is one.
func joined(changes []MachineChange) []MachineChange {
	var before, after []*Machine
	for i := len(changes) - 1; i >= 0; i-- {
		if c := changes[i]; c.Before != nil {
			before = append(before, c.Before)
		} else {
			after = append(after, c.After)
		}
	}
	out := make([]MachineChange, max(len(before), len(after)))
	for i := range out {
		if i < len(before) {
			out[i].Before = before[i]
		}
		if i < len(after) {
			out[i].After = after[i]
		}
	}
	return out
}

// putMachine notes a copy of given, unless its app does not exist.
func (p *plan) putMachine(given *Machine) {
	a := p.app(given.AppKey())
	if a == nil {
		p.appless = append(p.appless, given)
		return
	}
	m := new(Machine)
	*m = *given
	m.App, m.State, m.Region = a.Name, knownState(m.State), unique.Make(m.Region).Value() // all machines share these
	m.app, m.sum, m.number = a.number, 0, 0
	me := p.machines.edit(p.old, a, m.ID)
	if m.Gone() {
		m.Metadata = slices.Clone(m.Metadata)
		m.sum = m.contentSum()
		me.goneAt(m.sum).After = m
		return
	}
	me.live.After = m
}

// contentSum returns a hash of all of a gone machine, so that others of its app
// and id have other sums. It is never 0.
func (m *Machine) contentSum() uint64 {
	var h maphash.Hash
	h.SetSeed(sumSeed)
	text := func(s string) {
		maphash.WriteComparable(&h, len(s))
		h.WriteString(s)
	}
	text(m.State)
	text(m.Region)
	maphash.WriteComparable(&h, m.Address)
	maphash.WriteComparable(&h, m.Skip)
	for _, p := range m.Metadata {
		text(p.Key)
		text(p.Value)
	}
	text("")
	h.Write(m.Raw)
	return h.Sum64() | 1
}

// sumSeed is drawn anew in each process, so that clients cannot choose facts that have
// one hash.
var sumSeed = maphash.MakeSeed()

// knownState returns s, sharing the memory of States if it is one of them.
func knownState(s string) string {
	if i := stateIndex(s); i < numStates {
		return States[i]
	}
	return s
}

// stateIndex returns the index of a state in Stats.Machines.
func stateIndex(state string) int {
	for i, s := range States {
		if s == state {
			return i
		}
	}
	return numStates
}
