package zone

import (
	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone/persist"
	"github.com/internaldns/internaldns/zone/wire"
)

// A Prefetch reads the memory that lookups are going to read, for many queries at
// once. In a large Table a lookup waits for memory some six times, about 100 ns
// each, one after the other: what it reads says where to read next. The waits of
// different queries need not follow each other. So a Prefetch takes every step for
// all queries before it takes the next, and nothing it does in a step depends on
// what another query reads in the same.
//
// It is a hint. It decides nothing, and a name it does not understand, such as
// one with capital letters, is answered as well and takes longer.
//
// A Prefetch is large and meant to be reused. The zero Prefetch has no queries.
type Prefetch struct {
	n      int
	apps   [PrefetchMax]persist.Search[*app]
	names  [PrefetchMax]persist.Search[*named]
	parts  [PrefetchMax]part
	labels [PrefetchMax][]byte // of a machine or a region, its own

	// What was found: at most one of the two for each query.
	sets     [PrefetchMax][]address
	machines [PrefetchMax]*registry.Machine

	read uint64 // depends on all that was read, so that compilers leave nothing out
}

// PrefetchMax is the most queries that a Prefetch takes: what a server reads at once.
const PrefetchMax = 32

// prefetchApps is the number of apps from which on a Table is large. Smaller ones
// stay in the processor's caches, and reading ahead would cost more than it saves.
const prefetchApps = 5000

// Large reports whether lookups in t are worth reading ahead for.
func (t *Table) Large() bool { return t.snap.Stats().Apps >= prefetchApps }

// A part is what a name says of its app.
type part uint8

const (
	wholeApp part = iota
	namedPart
	machinePart
	regionPart
)

// Add takes a query that v will be asked, as octets, which must stay as they are
// until Read. It ignores what is no query for a name of an app, and what is more
// than PrefetchMax queries.
func (a *Prefetch) Add(v *View, msg []byte) {
	if v.view == nil || a.n == PrefetchMax {
		return
	}
	above, tail := wire.Tail(msg)
	if string(tail[0]) != "internal" || tail[1] == nil {
		return
	}
	i := a.n
	a.n++
	a.apps[i] = persist.Search[*app]{Bits: hashOf(tail[1])}
	a.apps[i].In(v.view.apps)
	switch string(tail[2]) {
	case "", "global":
		a.parts[i] = wholeApp
	case "process", "_metadata":
		a.parts[i], a.names[i].Bits = namedPart, hashOf(above)
	case "vm":
		a.parts[i], a.labels[i] = machinePart, above[1:1+above[0]]
	default:
		a.parts[i], a.labels[i] = regionPart, tail[2]
	}
}

// Read reads ahead for all queries added since the last Read, and forgets them.
func (a *Prefetch) Read() {
	a.find()
	for _, set := range a.sets[:a.n] {
		const line = 4 // addresses in a line of the cache
		for i := 0; i < min(len(set), prefetchAddresses); i += line {
			a.read += uint64(set[i][0])
		}
	}
	for _, m := range a.machines[:a.n] {
		if m != nil {
			a.read += uint64(m.ID[0]) + uint64(len(m.Region))
			if m.Skip { // two lines on
				a.read++
			}
		}
	}
	clear(a.apps[:a.n]) // else they would keep an old Table from being freed
	clear(a.names[:a.n])
	clear(a.labels[:a.n])
	clear(a.sets[:a.n])
	clear(a.machines[:a.n])
	a.n = 0
}

// prefetchAddresses is the number of addresses that fit the responses of most
// clients, who take 1232 octets.
const prefetchAddresses = 44

// find finds the addresses and machines that the answers are going to be about.
func (a *Prefetch) find() {
	apps, names := a.apps[:a.n], a.names[:a.n]
	a.read += persist.Find(apps)
	for i := range apps {
		if app := apps[i].Found; app != nil {
			switch a.parts[i] {
			case wholeApp:
				a.sets[i], _ = app.started.Short()
			case namedPart:
				names[i].In(app.names)
			case machinePart:
				if s, _ := app.deployed.Short(); len(s) > 0 {
					a.read += s[0].head + s[len(s)/2].head + s[len(s)-1].head
				}
			case regionPart:
				if len(app.regions) > 0 {
					a.read += uint64(app.regions[0].number)
				}
			}
		}
	}
	a.read += persist.Find(names)
	for i := range apps {
		if app := apps[i].Found; app != nil {
			switch a.parts[i] {
			case namedPart:
				if n := names[i].Found; n != nil {
					a.sets[i], _ = n.started.Short()
					a.read += uint64(n.labels[0])
				}
			case machinePart:
				a.machines[i] = app.machine(a.labels[i])
			case regionPart:
				for j := range app.regions {
					if r := &app.regions[j]; r.code == string(a.labels[i]) {
						a.sets[i], _ = r.started.Short()
						break
					}
				}
			}
		}
	}
}

// machine returns a machine whose id begins as id does, if a has one and is no
// big app.
func (a *app) machine(id []byte) *registry.Machine {
	head := idHead(id)
	deployed, _ := a.deployed.Short()
	for _, vm := range deployed {
		if vm.head == head {
			return vm.machine
		}
	}
	return nil
}
