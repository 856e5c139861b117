package registry

import "net/netip"

// An Event is one wanted change. Put events replace what stands under the same
// key or add it; delete events of what is not there do nothing.
type Event interface{ event() }

type (
	// PutNetwork names a network, or renames it.
	PutNetwork struct{ NetworkName }
	// DeleteNetwork takes the name from a network. Its apps stay.
	DeleteNetwork struct{ Network Network }

	// PutApp adds an app without machines.
	PutApp struct{ App }
	// DeleteApp removes an app with its machines and Flycast addresses.
	DeleteApp struct {
		Network Network
		Name    string
	}

	// PutMachine adds or replaces the machine of that app and id. The store
	// keeps a copy, but for Raw, which it shares.
	PutMachine struct{ *Machine }
	// DeleteMachine removes a machine without a trace, gone ones of the same
	// id too.
	DeleteMachine struct {
		Network Network
		App     string
		ID      string
	}

	// PutPeer adds or replaces the peer of that name in its address's network.
	PutPeer struct{ Peer }
	// DeletePeer removes a peer.
	DeletePeer struct {
		Network Network
		Name    string
	}

	// PutFlycast gives an app an address, or an address to another app.
	PutFlycast struct{ Flycast }
	// DeleteFlycast takes an address away.
	DeleteFlycast struct{ Address netip.Addr }

	// PutRegion adds a region or overrides a built-in one.
	PutRegion struct{ Region }
	// DeleteRegion removes a region; a built-in one of that code is back.
	DeleteRegion struct{ Code string }

	// PutRTT sets a measured round trip.
	PutRTT struct{ RTT }
	// DeleteRTT forgets a measured round trip.
	DeleteRTT struct{ From, To string }
)

func (PutNetwork) event()    {}
func (DeleteNetwork) event() {}
func (PutApp) event()        {}
func (DeleteApp) event()     {}
func (PutMachine) event()    {}
func (DeleteMachine) event() {}
func (PutPeer) event()       {}
func (DeletePeer) event()    {}
func (PutFlycast) event()    {}
func (DeleteFlycast) event() {}
func (PutRegion) event()     {}
func (DeleteRegion) event()  {}
func (PutRTT) event()        {}
func (DeleteRTT) event()     {}

// A Change is one object as it was before a commit and as it is after: nil
// where it was not there.
type Change[T any] struct{ Before, After *T }

// Changes is what one commit changed. An object that is as it was before, put
// again or even deleted and put, is not in it. A machine that moves to another
// app is two changes.
type Changes struct {
	// Index is the commit's number, counted from 1.
	Index uint64
	// Networks lists the networks in which any answer can have changed, each
	// once, in ascending order. A change of Geography alone is in none.
	Networks []Network

	Apps     []Change[App]
	Machines []Change[Machine]
	Peers    []Change[Peer]
	Flycast  []Change[Flycast]
	Names    []Change[NetworkName]

	Regions []Change[Region]
	RTTs    []Change[RTT]

	// Geography tells that a region or a round trip changed, which can change
	// the order of nearest machines in all networks.
	Geography bool
}

// Empty reports whether the commit changed nothing.
func (c *Changes) Empty() bool {
	return len(c.Apps)+len(c.Machines)+len(c.Peers)+len(c.Flycast)+len(c.Names) == 0 && !c.Geography
}

// An AppKey names an app.
type AppKey struct {
	Network Network
	Name    string
}

// Touched returns the apps that the commit touched, each once: its own facts,
// its machines or its Flycast addresses.
func (c *Changes) Touched() []AppKey {
	seen := make(map[AppKey]bool)
	var keys []AppKey
	add := func(n Network, name string) {
		if k := (AppKey{n, name}); !seen[k] {
			seen[k] = true
			keys = append(keys, k)
		}
	}
	for _, ch := range c.Apps {
		a := either(ch)
		add(a.Network, a.Name)
	}
	for _, ch := range c.Machines {
		m := either(ch)
		add(m.Network, m.App)
	}
	for _, ch := range c.Flycast {
		for _, f := range []*Flycast{ch.Before, ch.After} {
			if f != nil {
				add(f.Owner, f.App)
			}
		}
	}
	return keys
}

// either returns the side of a change that is there.
func either[T any](c Change[T]) *T {
	if c.After != nil {
		return c.After
	}
	return c.Before
}
