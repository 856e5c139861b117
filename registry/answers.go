package registry

import (
	"maps"
	"net/netip"
	"slices"
)

// networks returns the networks in which the changes can change an answer, in
// ascending order.
func (c *Changes) networks() []Network {
	touched := make(map[Network]bool)
	for _, ch := range c.Apps {
		touched[either(ch).Network] = true
	}
	for _, ch := range c.Machines {
		if n := either(ch).Network; !touched[n] && machineShows(ch) {
			touched[n] = true
		}
	}
	for _, ch := range c.Peers {
		touched[either(ch).Network()] = true
	}
	for _, ch := range c.Flycast {
		if ch.Before == nil || ch.After == nil || ch.Before.App != ch.After.App {
			touched[either(ch).Network()] = true
		}
	}
	return slices.Sorted(maps.Keys(touched))
}

// machineShows reports whether an answer can tell the change of a machine.
func machineShows(c Change[Machine]) bool {
	b, a := shownOf(c.Before), shownOf(c.After)
	return b != a || a.deployed && !slices.EqualFunc(c.Before.Metadata, c.After.Metadata, samePair)
}

// samePair compares pairs as names do.
func samePair(a, b Pair) bool {
	return Fold(a.Key) == Fold(b.Key) && Fold(a.Value) == Fold(b.Value)
}

// shown is what answers depend on, metadata aside. A machine that is skipped
// still tells where an asker is; one that is gone tells nothing.
type shown struct {
	region            string
	address           netip.Addr
	deployed, started bool
}

func shownOf(m *Machine) shown {
	if m == nil || m.Gone() {
		return shown{}
	}
	return shown{m.Region, m.Address, m.Deployed(), m.Started()}
}
