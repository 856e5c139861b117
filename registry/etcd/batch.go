package etcd

import (
	"bytes"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/internaldns/internaldns/registry"
)

// A batch is a write on its way to etcd: what is put and deleted, and what must
// be as it was when that was decided. Keys are below the epoch.
type batch struct {
	revision int64 // of the mirror that it was decided on
	epoch    epoch

	puts      map[string]put
	deletes   map[string]bool
	ranges    []string         // prefixes of which everything is deleted
	optional  map[string]int64 // claims of what the ranges delete: they may stay for a while
	unchanged map[string]int64 // revisions of the keys that must not have changed

	renew   []clientv3.LeaseID
	unknown []clientv3.LeaseID // leases whose TTL has to be asked for first
}

// A put is a value for a key, with a lease that exists (0: none) or that is to be
// granted.
type put struct {
	value []byte
	lease clientv3.LeaseID
	grant *grant
}

// A grant is a lease that does not exist yet, for one machine.
type grant struct {
	machine string // its key
	ttl     time.Duration
}

// changes reports whether the batch is more than leases to renew.
func (b *batch) changes() bool { return len(b.puts)+len(b.deletes)+len(b.ranges) > 0 }

func (b *batch) empty() bool { return !b.changes() && len(b.renew) == 0 }

// A planner makes the batch for a write.
type planner struct {
	*batch
	mirror *mirror
	leases map[clientv3.LeaseID]*registry.Lease
	after  *registry.Snapshot
	// changed lists the changes that a group has a part in.
	changed map[group][]registry.MachineChange
}

// A group is the machines of one app and id.
type group struct {
	app registry.AppKey
	id  string
}

func groupOf(m *registry.Machine) group {
	return group{registry.AppKey{Network: m.Network, Name: m.App}, m.ID}
}

// planLocked makes the batch for w.
func (k *Keeper) planLocked(w registry.Write) (*batch, error) {
	tx := k.store.Begin()
	changes, err := tx.Apply(w.Events)
	after := tx.Snapshot()
	tx.Abort()
	if err != nil {
		return nil, err
	}
	p := planner{
		batch: &batch{
			revision: k.revision, epoch: k.epoch,
			puts: make(map[string]put), deletes: make(map[string]bool),
			optional: make(map[string]int64), unchanged: make(map[string]int64),
		},
		mirror: k.mirror, leases: k.leases, after: after, changed: make(map[group][]registry.MachineChange),
	}
	p.release(changes)
	p.others(changes)
	groups := make(map[group]*time.Duration)
	for _, c := range changes.Machines {
		if c.Before != nil {
			g := groupOf(c.Before)
			groups[g], p.changed[g] = nil, append(p.changed[g], c)
		}
		if c.After != nil && (c.Before == nil || groupOf(c.Before) != groupOf(c.After)) {
			g := groupOf(c.After)
			groups[g], p.changed[g] = nil, append(p.changed[g], c)
		}
	}
	if w.Lease != nil {
		for _, e := range w.Events {
			if m, ok := e.Fact.(*registry.Machine); ok && !e.Delete {
				groups[groupOf(m)] = w.Lease
			}
		}
	}
	for g, ttl := range groups {
		if err := p.machines(g, ttl); err != nil {
			return nil, err
		}
	}
	return p.batch, nil
}

// release deletes the claims of all changed objects; take re-adds those that are
// still needed.
func (p *planner) release(c *registry.Changes) {
	give := func(claim, owner string) {
		if of := p.mirror.owner(claim); of.mod != 0 && of.owner == owner {
			p.delete(claim)
		}
	}
	for _, ch := range c.Machines {
		if m := ch.Before; m != nil && !m.Gone() && (ch.After == nil || ch.After.Gone() || ch.After.Address != m.Address) {
			app := registry.AppKey{Network: m.Network, Name: m.App}
			owner := machineKey(app, m.ID, 1)
			if p.after.App(m.Network, m.App) == nil {
				for _, claim := range []string{idClaim(m.ID), addressClaim(m.Address)} {
					if of := p.mirror.owner(claim); of.mod != 0 && of.owner == owner {
						p.optional[claim] = of.mod
					}
				}
				continue
			}
			give(idClaim(m.ID), owner)
			give(addressClaim(m.Address), owner)
		}
	}
	for _, ch := range c.Others {
		switch o := ch.Before.(type) {
		case *registry.Peer:
			if a, _ := ch.After.(*registry.Peer); a == nil || a.Address != o.Address {
				give(addressClaim(o.Address), peerKey(o.Network(), o.Name))
			}
		case *registry.Flycast:
			give(addressClaim(o.Address), flycastKey(o))
		case *registry.NetworkName:
			give(nameClaim(o.Name), networkKey(o.Network))
		}
	}
}

// others adds what changes beside machines.
func (p *planner) others(c *registry.Changes) {
	for _, ch := range c.Others {
		switch o := ch.Before.(type) {
		case *registry.App:
			if ch.After == nil {
				app := registry.AppKey{Network: o.Network, Name: o.Name}
				p.delete(appKey(app))
				p.ranges = append(p.ranges, machinesPrefix(app), flycastPrefix(app))
			}
		case *registry.Flycast:
			if p.after.App(o.Owner, o.App) != nil {
				p.delete(flycastKey(o))
			}
		case nil:
		default:
			if ch.After == nil {
				p.delete(keyOf(o))
			}
		}
		switch o := ch.After.(type) {
		case *registry.App:
			if ch.Before == nil {
				p.put(keyOf(o), []byte(emptyValue), 0, nil)
			}
		case *registry.Peer:
			p.put(keyOf(o), []byte(encode(o)), 0, nil)
			p.take(addressClaim(o.Address), keyOf(o), 0, nil)
		case *registry.Flycast:
			p.compareApp(registry.AppKey{Network: o.Owner, Name: o.App})
			p.put(flycastKey(o), []byte(emptyValue), 0, nil)
			p.take(addressClaim(o.Address), flycastKey(o), 0, nil)
		case *registry.NetworkName:
			p.put(keyOf(o), []byte(encode(o)), 0, nil)
			p.take(nameClaim(o.Name), keyOf(o), 0, nil)
		case nil:
		default:
			p.put(keyOf(o), []byte(encode(o)), 0, nil)
		}
	}
}

// machines adds the machines of one app and id as they are afterwards. ttl, unless
// nil, is how long they stay.
func (p *planner) machines(g group, ttl *time.Duration) error {
	if p.after.App(g.app.Network, g.app.Name) == nil {
		return nil // the range goes
	}
	p.compareApp(g.app)
	var have []*entry
	if app := p.mirror.apps[g.app]; app != nil {
		have = app.machines[g.id]
	}
	want, err := p.values(g, have)
	if err != nil {
		return err
	}
	lease, grant := p.lease(g, have, ttl)
	for i, value := range want.values {
		key := machineKey(g.app, g.id, i+1)
		if e := p.mirror.entries[key]; e == nil || e.lease != lease || grant != nil || !holds(e, value) {
			p.put(key, value, lease, grant)
		}
	}
	for _, e := range have {
		r, err := parseKey(e.key)
		if err != nil || r.n > len(want.values) {
			p.delete(e.key)
		}
	}
	if m := want.live; m != nil {
		key := machineKey(g.app, g.id, 1)
		for _, c := range []string{idClaim(m.ID), addressClaim(m.Address)} {
			if of := p.mirror.owner(c); of.mod == 0 || of.owner != key || of.lease != lease || grant != nil || p.deletes[c] {
				p.take(c, key, lease, grant)
			}
		}
	}
	return nil
}

// machineValues are the values for the machines of one app and id.
type machineValues struct {
	live   *registry.Machine // the first, if it is not gone; else nil
	values [][]byte
}

// values returns what is wanted under a group's keys: the machine that is not
// gone, and then those that are, which are what they were but for the changes.
func (p *planner) values(g group, have []*entry) (v machineValues, err error) {
	if m := p.after.Machine(g.id); m != nil && m.Network == g.app.Network && m.App == g.app.Name {
		v.live = m
		value, err := encodeMachine(m)
		if err != nil {
			return v, err
		}
		v.values = append(v.values, value)
	}
	var gone []*registry.Machine
	for _, e := range have {
		if m, ok := e.object.(*registry.Machine); ok && e.why == "" && m.Gone() {
			gone = append(gone, m)
		}
	}
	for _, c := range p.changed[g] {
		if o := c.Before; o != nil && o.Gone() && groupOf(o) == g {
			gone = slices.DeleteFunc(gone, func(m *registry.Machine) bool { return bytes.Equal(m.Raw, o.Raw) })
		}
	}
	for _, c := range p.changed[g] {
		if m := c.After; m != nil && m.Gone() && groupOf(m) == g {
			gone = append(gone, m)
		}
	}
	first := len(v.values)
	for _, m := range gone {
		value, err := encodeMachine(m)
		if err != nil {
			return v, err
		}
		v.values = append(v.values, value)
	}
	slices.SortFunc(v.values[first:], bytes.Compare)
	return v, nil
}

// holds reports whether the entry's machine was made of value.
func holds(e *entry, value []byte) bool {
	m, ok := e.object.(*registry.Machine)
	return ok && bytes.Equal(m.Raw, registry.NewRaw(value))
}

// lease returns the lease that the machines of a group get: one that exists or 0,
// or one to be granted.
func (p *planner) lease(g group, have []*entry, ttl *time.Duration) (clientv3.LeaseID, *grant) {
	var now clientv3.LeaseID
	for _, e := range have {
		if now = e.lease; now != 0 {
			break
		}
	}
	if ttl == nil {
		return now, nil
	}
	if *ttl <= 0 {
		return 0, nil
	}
	if now != 0 {
		of := p.leases[now]
		if of == nil {
			p.unknown = append(p.unknown, now)
			return now, nil
		}
		if of.TTL == wholeSeconds(*ttl) {
			p.renew = append(p.renew, now)
			return now, nil
		}
	}
	return 0, &grant{machineKey(g.app, g.id, 1), wholeSeconds(*ttl)}
}

// compareApp notes that an app must stay as it is.
func (p *planner) compareApp(app registry.AppKey) { p.compare(appKey(app)) }

// compare notes that a key must not have changed.
func (p *planner) compare(key string) {
	if e := p.mirror.entries[key]; e != nil {
		p.unchanged[key] = e.mod
	} else {
		p.unchanged[key] = p.mirror.owner(key).mod
	}
}

func (p *planner) put(key string, value []byte, lease clientv3.LeaseID, grant *grant) {
	p.compare(key)
	delete(p.deletes, key)
	p.puts[key] = put{value, lease, grant}
}

func (p *planner) take(claim, owner string, lease clientv3.LeaseID, grant *grant) {
	delete(p.optional, claim)
	p.put(claim, []byte(owner), lease, grant)
}

func (p *planner) delete(key string) {
	if _, ok := p.puts[key]; !ok {
		p.compare(key)
		p.deletes[key] = true
	}
}
