package disk

import (
	"container/heap"
	"time"

	"github.com/internaldns/internaldns/registry"
)

// leases holds the leases of machines, and which ends next. The zero leases is
// ready to use.
type leases struct {
	at    map[registry.MachineKey]*lease
	ofApp map[registry.AppKey]map[string]*lease // by machine id
	order leaseHeap
}

type lease struct {
	registry.Lease
	key   registry.MachineKey
	place int // in order
}

// set gives a machine a lease, or, with nil, takes it away.
func (s *leases) set(k registry.MachineKey, l *registry.Lease) {
	old := s.at[k]
	switch {
	case l == nil && old == nil:
	case l == nil:
		heap.Remove(&s.order, old.place)
		delete(s.at, k)
		delete(s.ofApp[k.App], k.ID)
		if len(s.ofApp[k.App]) == 0 {
			delete(s.ofApp, k.App)
		}
	case old != nil:
		old.Lease = *l
		heap.Fix(&s.order, old.place)
	default:
		if s.at == nil {
			s.at = make(map[registry.MachineKey]*lease)
			s.ofApp = make(map[registry.AppKey]map[string]*lease)
		}
		n := &lease{Lease: *l, key: k}
		s.at[k] = n
		if s.ofApp[k.App] == nil {
			s.ofApp[k.App] = make(map[string]*lease)
		}
		s.ofApp[k.App][k.ID] = n
		heap.Push(&s.order, n)
	}
}

// next returns when the next lease ends, and whether one does.
func (s *leases) next() (time.Time, bool) {
	if len(s.order) == 0 {
		return time.Time{}, false
	}
	return s.order[0].Expires, true
}

// over returns up to most machines whose leases have ended at now, unless
// staged says something else of them. It returns too few rather than search long.
func (s *leases) over(now time.Time, staged *stagedLeases, most int) (keys []registry.MachineKey) {
	// A heap's entries that are due are its top: none is below one that is not.
	var visit func(i int)
	visit = func(i int) {
		if i >= len(s.order) || s.order[i].Expires.After(now) || len(keys) == most {
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

// stagedLeases are what some writes change of the leases, as long as it is not
// known whether they come to be.
type stagedLeases struct {
	base  *leases
	at    map[registry.MachineKey]*registry.Lease // nil: none
	order []registry.MachineKey                   // in which they were first staged
}

func stage(base *leases) *stagedLeases {
	return &stagedLeases{base: base, at: make(map[registry.MachineKey]*registry.Lease)}
}

// maxLease is when the longest lease ends: before the time of day, in ns, no
// longer fits 64 bits.
const maxLease = 200 * 365 * 24 * time.Hour

func (s *stagedLeases) set(k registry.MachineKey, l *registry.Lease) {
	if _, ok := s.at[k]; !ok {
		if l == nil && s.base.at[k] == nil {
			return // as it is
		}
		s.order = append(s.order, k)
	}
	s.at[k] = l
}

// write stages what a write, which the registry has taken, does to leases. A
// machine that is deleted has none any more, unless the same write puts it.
func (s *stagedLeases) write(w registry.Write, now time.Time) {
	put := make(map[registry.MachineKey]bool)
	for _, e := range w.Events {
		if m, ok := e.Fact.(*registry.Machine); ok && !e.Delete {
			k := keyOf(m)
			put[k] = true
			switch {
			case w.Lease == nil:
			case *w.Lease > 0:
				s.set(k, &registry.Lease{TTL: *w.Lease, Expires: now.Add(min(*w.Lease, maxLease))})
			default:
				s.set(k, nil)
			}
		}
	}
	for _, e := range w.Events {
		if !e.Delete {
			continue
		}
		switch key := e.Fact.Key(); key.Kind {
		case registry.KindMachine:
			k := registry.MachineKey{App: registry.AppKey{Network: key.Network, Name: key.Name}, ID: key.ID}
			if !put[k] {
				s.set(k, nil)
			}
		case registry.KindApp:
			app := registry.AppKey{Network: key.Network, Name: key.Name}
			for id := range s.base.ofApp[app] {
				if k := (registry.MachineKey{App: app, ID: id}); !put[k] {
					s.set(k, nil)
				}
			}
			for _, k := range s.order {
				if k.App == app && !put[k] {
					s.at[k] = nil
				}
			}
		}
	}
}

// records returns what to write for what is staged.
func (s *stagedLeases) records() []record {
	list := make([]record, 0, len(s.order))
	for _, k := range s.order {
		list = append(list, leaseRecord(k, s.at[k]))
	}
	return list
}

// take makes base say what is staged.
func (s *stagedLeases) take() {
	for _, k := range s.order {
		s.base.set(k, s.at[k])
	}
}

func keyOf(m *registry.Machine) registry.MachineKey {
	return registry.MachineKey{App: registry.AppKey{Network: m.Network, Name: m.App}, ID: m.ID}
}

// deletion returns the event that deletes a machine.
func deletion(k registry.MachineKey) registry.Event {
	return registry.Delete(registry.Key{Kind: registry.KindMachine, Network: k.App.Network, Name: k.App.Name, ID: k.ID})
}
