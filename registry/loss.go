package registry

import (
	"cmp"
	"slices"
)

// A Loss is what a network loses of its machines that are not gone.
type Loss struct {
	Network  Network
	Lost, Of int // machines
}

// Halved returns the networks that would lose more than half of their machines
// by events, in ascending order. A machine that stays in its network under
// another app is not lost, and neither is one that becomes gone: that is said
// of it, not left out. Whoever replaces a whole registry should ask twice before
// that.
func (s *Snapshot) Halved(events []Event) (halved []Loss) {
	type machine struct {
		network Network
		id      string
	}
	lost := make(map[machine]bool)
	for _, e := range events {
		switch e := e.(type) {
		case DeleteMachine:
			// The id may be a gone machine's as well as one's that is not.
			if m := s.Machine(e.ID); m != nil && m.Network == e.Network && m.App == e.App {
				lost[machine{m.Network, m.ID}] = true
			}
		case DeleteApp:
			for m := range s.Machines(s.App(e.Network, e.Name)) {
				if !m.Gone() {
					lost[machine{m.Network, m.ID}] = true
				}
			}
		}
	}
	if len(lost) == 0 {
		return nil
	}
	for _, e := range events {
		if e, ok := e.(PutMachine); ok {
			delete(lost, machine{e.Network, e.ID})
		}
	}
	count := make(map[Network]int)
	for m := range lost {
		count[m.network]++
	}
	for network, n := range count {
		of := 0
		for range s.MachinesIn(network) {
			of++
		}
		if 2*n > of {
			halved = append(halved, Loss{network, n, of})
		}
	}
	slices.SortFunc(halved, func(a, b Loss) int { return cmp.Compare(a.Network, b.Network) })
	return halved
}
