package format

import (
	"fmt"

	"github.com/internaldns/internaldns/registry"
)

// An assembly joins what the walk found to facts. What cannot take part in them
// leaves a fault, and does not keep the rest from being checked.
type assembly struct {
	facts  registry.Facts
	faults registry.Faults // of apps and machines, in the order of the file
	silent registry.Faults // what Validate need not say, since it follows from faults
}

// assemble makes facts of what w walked through, and of its machines as the pool
// decoded them.
func assemble(w *walk, machines []decoded) *assembly {
	s := &assembly{facts: w.facts}
	s.facts.Apps = make([]registry.App, 0, len(w.apps))
	s.facts.Machines = make([]*registry.Machine, 0, len(machines))
	for i := range w.apps {
		a := &w.apps[i]
		s.app(a, machines[a.first:a.first+a.machines], w.end != nil)
	}
	return s
}

// app adds an app with its machines. If the file was cut short, what is missing
// is no fault of the app's.
func (s *assembly) app(a *app, machines []decoded, cutShort bool) {
	object := a.object()
	s.faults = append(s.faults, in(object, a.faults)...)
	excused := cutShort || a.faulted("network") || a.faulted("machines")
	for i := range machines {
		d := &machines[i]
		if len(d.faults) > 0 {
			s.faults = append(s.faults, in(d.object(i, object), d.faults)...)
			excused = true
		}
	}
	if a.name == "" {
		return // nothing can be said of its machines but by themselves
	}
	if a.network == 0 {
		a.network = networkOf(machines)
	}
	if a.network == 0 {
		s.facts.Apps = append(s.facts.Apps, registry.App{Name: a.name}) // for Validate to refuse
		if excused {
			s.silent = append(s.silent, registry.Fault{Object: object, Field: "network"})
		}
		s.machines(a, machines) // what else is wrong with them
		return
	}
	s.facts.Apps = append(s.facts.Apps, registry.App{Network: a.network, Name: a.name})
	for _, addr := range a.flycast {
		s.facts.Flycast = append(s.facts.Flycast, registry.Flycast{Address: addr, App: a.name, Owner: a.network})
	}
	s.machines(a, machines)
}

// machines adds the machines of an app, but for those without an id.
func (s *assembly) machines(a *app, machines []decoded) {
	for _, d := range machines {
		if d.machine.ID == "" && !d.machine.Gone() {
			continue // said already, under its position
		}
		d.machine.App, d.machine.Network = a.name, a.network
		s.facts.Machines = append(s.facts.Machines, d.machine)
	}
}

// networkOf returns the network of an app that does not say it: that of its
// first machine that is not gone and has an address in one, else of its first
// gone one, else 0.
func networkOf(machines []decoded) (gone registry.Network) {
	for _, d := range machines {
		n, ok := registry.NetworkOf(d.machine.Address)
		switch {
		case ok && !d.machine.Gone():
			return n
		case ok && gone == 0:
			gone = n
		}
	}
	return gone
}

// object names the machine in faults: by its id, or by its position among the
// app's machines if it has none.
func (d *decoded) object(position int, app string) string {
	if d.machine.ID == "" {
		return fmt.Sprintf("machines[%d] of %s", position, app)
	}
	return fmt.Sprintf("machine %s of %s", quote(d.machine.ID), app)
}
