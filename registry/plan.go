package registry

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/internaldns/internaldns/registry/index"
)

// A plan is a batch of events on its way to be a commit. It reads the snapshot
// that stands and writes nothing, so a batch that is refused or changes nothing
// leaves no trace.
//
// Everything a batch deletes or puts is first noted under its key, beside what
// stands there now; only then is it decided whether each may be there. So no
// object stands in the way of another that the same batch moves away.
type plan struct {
	old     *Snapshot
	lastApp uint32
	faults  Faults

	names    edits[Network, NetworkName]
	apps     edits[AppKey, App]
	machines machineEdits
	peers    edits[AppKey, Peer]
	flycast  edits[netip.Addr, Flycast]
	regions  edits[string, Region]
	rtts     edits[[2]string, RTT]

	addresses index.Small[netip.Addr, fmt.Stringer] // of objects that are put, to who has them
}

// edits holds, for every key that a batch mentions, what stands there before and
// after it. The zero edits is ready to use.
type edits[K comparable, T any] struct {
	at   index.Small[K, int]
	list []Change[T] // in the order in which the keys were first mentioned
}

// edit returns the change of key, which is good until the next call. On the
// first mention find tells what stands there.
func (e *edits[K, T]) edit(key K, find func() *T) *Change[T] {
	i, ok := e.at.Get(key)
	if !ok {
		i = len(e.list)
		e.at.Add(key, i)
		e.list = append(e.list, Change[T]{Before: find()})
	}
	return &e.list[i]
}

// has reports whether the batch replaces or deletes what stands under key.
func (e *edits[K, T]) has(key K) bool {
	_, ok := e.at.Get(key)
	return ok
}

// changed returns the edits that change something.
func changed[K comparable, T comparable](e *edits[K, T]) []Change[T] {
	return slices.DeleteFunc(e.list, func(c Change[T]) bool {
		return c.Before == c.After || c.Before != nil && c.After != nil && *c.Before == *c.After
	})
}

func newPlan(old *Snapshot) *plan {
	return &plan{old: old, lastApp: old.lastApp}
}

// read notes the events: deletes, then puts, what others depend on first.
func (p *plan) read(events []Event) {
	for _, e := range events {
		p.readDelete(e)
	}
	for _, e := range events {
		if e, ok := e.(DeleteApp); ok {
			p.deleteApp(e)
		}
	}
	for _, e := range events {
		if e, ok := e.(PutApp); ok {
			p.putApp(e.App)
		}
	}
	p.machines.expect(len(events))
	p.addresses.Size = len(events)
	for _, e := range events {
		p.readPut(e)
	}
}

// readDelete notes a delete event, unless it deletes a whole app.
func (p *plan) readDelete(e Event) {
	switch e := e.(type) {
	case DeleteNetwork:
		p.name(e.Network)
	case DeleteMachine:
		if a := p.old.App(e.Network, e.App); a != nil {
			p.machines.edit(p.old, a, e.ID)
		}
	case DeletePeer:
		p.peer(e.Network, e.Name)
	case DeleteFlycast:
		p.flycastAt(e.Address)
	case DeleteRegion:
		p.region(e.Code)
	case DeleteRTT:
		p.rtt(e.From, e.To)
	case DeleteApp, PutApp, PutNetwork, PutMachine, PutPeer, PutFlycast, PutRegion, PutRTT:
	default:
		panic(fmt.Sprintf("registry: no such event: %T", e))
	}
}

// readPut notes a put event, unless it puts an app.
func (p *plan) readPut(e Event) {
	switch e := e.(type) {
	case PutNetwork:
		p.name(e.Network).After = &e.NetworkName
	case PutMachine:
		p.putMachine(e.Machine)
	case PutPeer:
		p.putPeer(&e.Peer)
	case PutFlycast:
		p.flycastAt(e.Address).After = &e.Flycast
	case PutRegion:
		p.region(e.Code).After = &e.Region
	case PutRTT:
		p.rtt(e.From, e.To).After = &e.RTT
	}
}

func (p *plan) name(n Network) *Change[NetworkName] {
	return p.names.edit(n, func() *NetworkName {
		if row := p.old.network(n); row != nil && row.Name != "" {
			return &row.NetworkName
		}
		return nil
	})
}

func (p *plan) peer(n Network, name string) *Change[Peer] {
	return p.peers.edit(AppKey{n, name}, func() *Peer { return p.old.Peer(n, name) })
}

func (p *plan) putPeer(peer *Peer) {
	c := p.peer(peer.Network(), peer.Name)
	c.After = peer
	if c.Before != nil && peer.equal(c.Before) {
		c.After = c.Before
	}
}

func (p *plan) flycastAt(addr netip.Addr) *Change[Flycast] {
	addr = addr.WithZone("")
	return p.flycast.edit(addr, func() *Flycast { return p.old.FlycastAt(addr) })
}

func (p *plan) region(code string) *Change[Region] {
	return p.regions.edit(code, func() *Region {
		return first[Region](p.old.txn, tRegions, rowID, []byte(code))
	})
}

func (p *plan) rtt(from, to string) *Change[RTT] {
	return p.rtts.edit([2]string{from, to}, func() *RTT {
		return first[RTT](p.old.txn, tRTTs, rowID, rttKey(from, to))
	})
}

func (p *plan) deleteApp(e DeleteApp) {
	a := p.old.App(e.Network, e.Name)
	if a == nil {
		return
	}
	p.apps.edit(AppKey{a.Network, a.Name}, func() *App { return a })
	for m := range p.old.Machines(a) {
		p.machines.edit(p.old, a, m.ID)
	}
	for f := range p.old.FlycastOf(a) {
		p.flycastAt(f.Address)
	}
}

// putApp adds an app. One that is there, or was until this batch, keeps its row
// and number.
func (p *plan) putApp(a App) {
	c := p.apps.edit(AppKey{a.Network, a.Name}, func() *App { return p.old.App(a.Network, a.Name) })
	switch {
	case c.Before != nil && (a.Modified == 0 || a.Modified == c.Before.Modified):
		c.After = c.Before
	case c.Before != nil:
		a.number = c.Before.number
		c.After = &a
	case c.After == nil:
		p.lastApp++
		a.number = p.lastApp
		c.After = &a
	}
}

// app returns the app as it is after the batch, or nil.
func (p *plan) app(n Network, name string) *App {
	if i, ok := p.apps.at.Get(AppKey{n, name}); ok {
		return p.apps.list[i].After
	}
	return p.old.App(n, name)
}

// check faults everything that may not be. An object that is wrong in one field
// is still compared with others by the rest.
func (p *plan) check() {
	for i := range p.apps.list {
		if a := p.apps.list[i].After; a != nil {
			p.faults = append(p.faults, a.check()...)
		}
	}
	p.checkNames()
	p.checkMachines()
	p.checkPeers()
	p.checkFlycast()
	for _, c := range p.regions.list {
		if c.After != nil {
			p.faults = append(p.faults, c.After.check()...)
		}
	}
	for _, c := range p.rtts.list {
		if c.After != nil {
			p.faults = append(p.faults, c.After.check()...)
		}
	}
}

func (p *plan) checkNames() {
	taken := make(map[string]Network, len(p.names.list))
	for _, c := range p.names.list {
		n := c.After
		if n == nil {
			continue
		}
		faults := n.check()
		p.faults = append(p.faults, faults...)
		if faults.in("name") {
			continue
		}
		holder, is := taken[n.Name]
		if !is {
			holder, is = p.old.NetworkByName(n.Name)
			is = is && !p.names.has(holder)
		}
		if is {
			p.faults.addf(n.object(), "name", "is already the name of %v", holder)
			continue
		}
		taken[n.Name] = n.Network
	}
}

func (p *plan) checkPeers() {
	for _, c := range p.peers.list {
		if c.After == nil {
			continue
		}
		faults := c.After.check()
		p.faults = append(p.faults, faults...)
		if !faults.in("address") {
			p.take(c.After.Address, c.After, "address")
		}
	}
}

func (p *plan) checkFlycast() {
	for _, c := range p.flycast.list {
		f := c.After
		if f == nil {
			continue
		}
		faults := f.check()
		p.faults = append(p.faults, faults...)
		if a := p.app(f.Owner, f.App); a != nil {
			f.App, f.app = a.Name, a.number
		} else {
			p.faults.addf(f.String(), "app", "%v has no app %s", f.Owner, quote(f.App))
		}
		if !faults.in("flycast") {
			p.take(f.Address, f, "flycast")
		}
	}
}

// take notes that object, which is put, has addr, and faults it if another
// object has it that the batch leaves where it is or puts there, too.
func (p *plan) take(addr netip.Addr, object fmt.Stringer, field string) {
	var holder fmt.Stringer
	if m := p.old.MachineAt(addr); m != nil && !p.machines.has(m) {
		holder = m
	} else if o := p.old.PeerAt(addr); o != nil && !p.peers.has(AppKey{o.Network(), o.Name}) {
		holder = o
	} else if f := p.old.FlycastAt(addr); f != nil && !p.flycast.has(addr) {
		holder = f
	}
	if holder != nil {
		p.addressFault(addr, object, field, holder)
		return
	}
	p.takeFree(addr, object, field)
}

// takeFree is take for an address that nobody had, or object itself.
func (p *plan) takeFree(addr netip.Addr, object fmt.Stringer, field string) {
	if holder, ok := p.addresses.Get(addr); ok {
		p.addressFault(addr, object, field, holder)
		return
	}
	p.addresses.Add(addr, object)
}

func (p *plan) addressFault(addr netip.Addr, object fmt.Stringer, field string, holder fmt.Stringer) {
	p.faults.addf(object.String(), field, "%v is already the address of %v", addr, holder)
}

// changes returns what a batch without faults changes in the commit of that
// index.
func (p *plan) changes(index uint64) *Changes {
	c := &Changes{
		Index:    index,
		Apps:     changed(&p.apps),
		Machines: p.machines.changed(),
		Peers:    changed(&p.peers),
		Flycast:  changed(&p.flycast),
		Names:    changed(&p.names),
	}
	c.Regions, c.RTTs = changed(&p.regions), changed(&p.rtts)
	c.Geography = len(c.Regions)+len(c.RTTs) > 0
	for _, ch := range c.Apps {
		if ch.After != nil && ch.After.Modified == 0 {
			ch.After.Modified = index
		}
	}
	for _, ch := range c.Machines {
		if ch.After != nil && ch.After.Modified == 0 {
			ch.After.Modified = index
		}
	}
	for _, ch := range c.Peers {
		if ch.After != nil && ch.After.Modified == 0 {
			ch.After.Modified = index
		}
	}
	c.Networks = c.networks()
	return c
}
