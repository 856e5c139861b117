package zone

import "github.com/internaldns/internaldns/registry"

// Many of an app's sets are equal: if all machines have the same metadata, then
// each entry stands for all that are started, as the app does. Sets that were
// one in memory, as empty ones are, stay one when the same becomes of them.

// A setChange puts one machine's address into sets of its app, or takes it out.
type setChange struct {
	edit edit
	addr address
	put  bool
	done []setDone // of short sets, which nobody changes in place
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
	before := *s
	if before.long == nil {
		for _, d := range c.done {
			if len(d.before) == len(before.short) && (len(d.before) == 0 || &d.before[0] == &before.short[0]) {
				s.short = d.after
				return
			}
		}
	}
	if c.put {
		*s = s.insert(c.edit, c.addr, addressOrder(c.addr))
	} else {
		*s = s.remove(c.edit, addressOrder(c.addr))
	}
	if before.long == nil && s.long == nil {
		c.done = append(c.done, setDone{before.short, s.short})
	}
}
