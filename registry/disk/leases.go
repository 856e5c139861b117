package disk

import (
	"container/heap"
	"time"

	"github.com/internaldns/internaldns/registry"
)

// leases holds the leases of machines, in the order of their ends. The zero leases
// is ready to use.
type leases struct {
	at    map[registry.MachineKey]*lease
	order leaseHeap
}

type lease struct {
	registry.Lease
	key   registry.MachineKey
	place int // in order
}

// set gives a machine a lease, or, if l is nil, takes it away.
func (s *leases) set(k registry.MachineKey, l *registry.Lease) {
	old := s.at[k]
	switch {
	case l == nil && old == nil:
	case l == nil:
		heap.Remove(&s.order, old.place)
		delete(s.at, k)
	case old != nil:
		old.Lease = *l
		heap.Fix(&s.order, old.place)
	default:
		if s.at == nil {
			s.at = make(map[registry.MachineKey]*lease)
		}
		s.at[k] = &lease{Lease: *l, key: k}
		heap.Push(&s.order, s.at[k])
	}
}

// next returns when the next lease ends. It reports false if there is no lease.
func (s *leases) next() (time.Time, bool) {
	if len(s.order) == 0 {
		return time.Time{}, false
	}
	return s.order[0].Expires, true
}

// over returns the machines whose leases have ended at now, but not those whose
// leases are staged, and at most maxExpired.
func (s *leases) over(now time.Time, staged *stagedLeases) (keys []registry.MachineKey) {
	// A lease that has not ended has none below it in the heap that has.
	var visit func(i int)
	visit = func(i int) {
		if i >= len(s.order) || s.order[i].Expires.After(now) || len(keys) == maxExpired {
			return
		}
		k := s.order[i].key
		if _, ok := staged.at[k]; !ok {
			keys = append(keys, k)
		}
		visit(2*i + 1)
		visit(2*i + 2)
	}
	visit(0)
	return keys
}

// A leaseHeap has the lease that ends first at its top.
type leaseHeap []*lease

func (h leaseHeap) Len() int           { return len(h) }
func (h leaseHeap) Less(i, j int) bool { return h[i].Expires.Before(h[j].Expires) }

func (h leaseHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *leaseHeap) Push(v any) {
	l := v.(*lease)
	l.place = len(*h)
	*h = append(*h, l)
}

func (h *leaseHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return l
}

// stagedLeases are the changes that a commit will make to base.
type stagedLeases struct {
	base  *leases
	at    map[registry.MachineKey]*registry.Lease // nil: the lease is taken away
	order []registry.MachineKey                   // in which they were first staged
}

func stage(base *leases) *stagedLeases {
	return &stagedLeases{base: base, at: make(map[registry.MachineKey]*registry.Lease)}
}

func (s *stagedLeases) set(k registry.MachineKey, l *registry.Lease) {
	if _, ok := s.at[k]; !ok {
		if l == nil && s.base.at[k] == nil {
			return // it has none
		}
		s.order = append(s.order, k)
	}
	s.at[k] = l
}

// maxLease is the longest length of a lease. The time of day of its end, in ns,
// must fit 64 bits.
const maxLease = 200 * 365 * 24 * time.Hour

// write stages what a write does to leases: it gives one to each machine that it
// puts, if it says so, and takes away those of machines that it deleted.
func (s *stagedLeases) write(w registry.Write, changes *registry.Changes, now time.Time) {
	put := make(map[registry.MachineKey]bool)
	for _, e := range w.Events {
		m, ok := e.Fact.(*registry.Machine)
		if !ok || e.Delete {
			continue
		}
		k := m.MachineKey()
		put[k] = true
		switch {
		case w.Lease == nil: // stays as it is
		case *w.Lease > 0:
			s.set(k, &registry.Lease{TTL: *w.Lease, Expires: now.Add(min(*w.Lease, maxLease))})
		default:
			s.set(k, nil)
		}
	}
	for _, ch := range changes.Machines {
		if ch.After == nil && !put[ch.Before.MachineKey()] {
			s.set(ch.Before.MachineKey(), nil)
		}
	}
}

// records returns the records of what is staged.
func (s *stagedLeases) records() []record {
	list := make([]record, 0, len(s.order))
	for _, k := range s.order {
		list = append(list, leaseRecord(k, s.at[k]))
	}
	return list
}

// take makes the staged changes to base.
func (s *stagedLeases) take() {
	for _, k := range s.order {
		s.base.set(k, s.at[k])
	}
}
