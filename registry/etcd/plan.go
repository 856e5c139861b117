package etcd

import (
	"bytes"
	"maps"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
)

const (
	// maxOps is how much one transaction puts and deletes; etcd takes 128 unless
	// --max-txn-ops says otherwise.
	maxOps = 120

	// maxOctets is how much one transaction puts, in octets; etcd takes 1.5 MiB, keys
	// included, unless --max-request-bytes says otherwise.
	maxOctets = 1 << 20
)

// A batch is what one transaction changes. Keys are below the epoch.
type batch struct {
	puts    map[string]put
	deletes map[string]bool
	ranges  []string         // prefixes of which everything is deleted
	lock    clientv3.LeaseID // the lease of the import lock, if the batch takes it; else 0

	// touched holds the keys that the batch puts and deletes, and those that it leaves
	// because they are as wanted. Batches that have such a key in common are not merged.
	touched map[string]bool
	octets  int
}

// A put is a value for a key, with its lease (0: none).
type put struct {
	value  []byte
	lease  clientv3.LeaseID
	object *registry.Machine // what value was made of; nil for other kinds
}

func newBatch() *batch {
	return &batch{puts: make(map[string]put), deletes: make(map[string]bool), touched: make(map[string]bool)}
}

// changes reports whether there is something to write.
func (b *batch) changes() bool {
	return len(b.puts)+len(b.deletes)+len(b.ranges) > 0 || b.lock != 0
}

// large reports whether the batch is too large for one transaction of etcd.
func (b *batch) large() bool {
	ops := len(b.puts) + len(b.deletes) + len(b.ranges) + 1 // head
	return ops > maxOps || b.octets > maxOctets && len(b.puts) > 1
}

// alone reports whether the batch cannot be merged with others: it takes the import lock,
// or deletes ranges, and a transaction cannot put a key that is in a range it deletes.
func (b *batch) alone() bool { return len(b.ranges) > 0 || b.lock != 0 }

// merge adds next, and reports whether that was possible.
func (b *batch) merge(next *batch) bool {
	if b.changes() {
		ops := len(b.puts) + len(b.deletes) + len(next.puts) + len(next.deletes) + 1
		if b.alone() || next.alone() || ops > maxOps || b.octets+next.octets > maxOctets {
			return false
		}
	}
	for key := range next.touched {
		if b.touched[key] {
			return false
		}
	}
	maps.Copy(b.puts, next.puts)
	maps.Copy(b.deletes, next.deletes)
	maps.Copy(b.touched, next.touched)
	b.ranges, b.lock, b.octets = append(b.ranges, next.ranges...), b.lock|next.lock, b.octets+next.octets
	return true
}

func (b *batch) put(key string, p put) {
	delete(b.deletes, key)
	b.puts[key], b.touched[key] = p, true
	b.octets += len(key) + len(p.value)
}

func (b *batch) delete(key string) {
	if _, ok := b.puts[key]; !ok {
		b.deletes[key], b.touched[key] = true, true
	}
}

// A planner makes the batch for the changes of a write.
type planner struct {
	*batch
	mirror *mirror
	store  *registry.Snapshot // the registry as it is in etcd
	after  *registry.Snapshot // the same with this write and those before it in the group
	leases map[registry.MachineKey]clientv3.LeaseID
}

// plan makes the batch for changes.
func (p *planner) plan(changes *registry.Changes) error {
	for _, ch := range changes.Others {
		if app, ok := ch.Before.(*registry.App); ok && ch.After == nil {
			key := networkSegment(app.Network) + "/" + app.Name + "/"
			p.ranges = append(p.ranges, registry.KindMachine.Plural()+"/"+key, registry.KindFlycast.Plural()+"/"+key)
		}
		if ch.Before != nil {
			p.delete(keyOf(ch.Before)) // a Flycast address has another key if its app changes
		}
		if ch.After != nil {
			p.put(keyOf(ch.After), put{value: encode(ch.After)})
		}
	}
	groups := make(map[registry.MachineKey][]registry.MachineChange)
	for g := range p.leases {
		groups[g] = nil
	}
	for _, c := range changes.Machines {
		var before registry.MachineKey
		if m := c.Before; m != nil {
			before = m.MachineKey()
			groups[before] = append(groups[before], c)
		}
		if m := c.After; m != nil {
			if g := m.MachineKey(); g != before {
				groups[g] = append(groups[g], c)
			}
		}
	}
	for g, changes := range groups {
		if err := p.machines(g, changes); err != nil {
			return err
		}
	}
	return nil
}

// machines plans the keys of the machines of one app and id.
func (p *planner) machines(g registry.MachineKey, changes []registry.MachineChange) error {
	if p.after.App(g.App.Network, g.App.Name) == nil {
		return nil // the keys of its machines are deleted as a range
	}
	p.touched[machineKey(g, 1)] = true
	have := p.mirror.machines(g)
	lease, set := p.leases[g]
	if !set {
		lease = leaseOf(have)
	}
	want, err := p.want(g, have, changes)
	if err != nil {
		return err
	}
	for i, m := range want {
		key := machineKey(g, i+1)
		e := p.mirror.entries[key]
		if e != nil && e.why == "" && e.lease == lease && bytes.Equal(e.machine(p.store).Raw, m.Raw) {
			continue
		}
		value, err := m.Raw.JSON()
		if err != nil {
			return registry.Faults{{Object: m.String(), Problem: err.Error()}}
		}
		p.put(key, put{value, lease, m})
	}
	for _, e := range have {
		if r, _ := parseKey(e.key); r.n > len(want) {
			p.delete(e.key)
		}
	}
	return nil
}

// want returns the machines that a group has after the write, in the order of their
// keys: the one that is not gone, and those that are. All have their objects.
func (p *planner) want(g registry.MachineKey, have []*entry, changes []registry.MachineChange) ([]*registry.Machine, error) {
	is := func(m *registry.Machine) bool { return m != nil && m.ID == g.ID && m.AppKey() == g.App }
	var want []*registry.Machine
	if m := p.after.Machine(g.ID); is(m) {
		want = append(want, m)
	}
	live := len(want)
	for _, e := range have {
		if e.why == "" && !e.live {
			want = append(want, e.machine(p.store))
		}
	}
	for _, c := range changes {
		if is(c.Before) && c.Before.Gone() {
			want = slices.DeleteFunc(want, func(m *registry.Machine) bool { return m.Gone() && bytes.Equal(m.Raw, c.Before.Raw) })
		}
	}
	for _, c := range changes {
		if is(c.After) && c.After.Gone() {
			want = append(want, c.After)
		}
	}
	for i, m := range want {
		if len(m.Raw) > 0 {
			continue
		}
		object, err := format.MachineObject(m)
		if err != nil {
			return nil, registry.Faults{{Object: m.String(), Problem: err.Error()}}
		}
		m := *m
		m.Raw = registry.NewRaw(object)
		want[i] = &m
	}
	slices.SortFunc(want[live:], func(a, b *registry.Machine) int { return bytes.Compare(a.Raw, b.Raw) })
	return want, nil
}
