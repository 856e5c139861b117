//go:build linux

package scale

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/internaldns/internaldns/bench/dataset"
	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/wire"
)

// A pick is a machine to update, as it was last put, and the query that shows
// what became of it: AAAA <id>.vm.<app>.internal.
type pick struct {
	machine registry.Machine
	query   []byte
}

// picks returns at most n machines that are not gone, drawn from all but those
// of apps to avoid. The same seed draws the same.
func (w *world) picks(n int, seed uint64, avoid map[string]bool) ([]pick, error) {
	r := rand.New(rand.NewPCG(seed, 0))
	var drawn []*registry.Machine
	seen := 0
	for m := range w.store.Snapshot().MachinesIn(w.network) {
		if avoid[m.App] || !m.Deployed() {
			continue
		}
		seen++
		if len(drawn) < n {
			drawn = append(drawn, m)
		} else if at := r.IntN(seen); at < n {
			drawn[at] = m
		}
	}
	if len(drawn) == 0 {
		return nil, fmt.Errorf("no machine of %d can be updated without changing what is asked for", w.machines())
	}
	r.Shuffle(len(drawn), func(i, j int) { drawn[i], drawn[j] = drawn[j], drawn[i] })
	picks := make([]pick, len(drawn))
	for i, m := range drawn {
		var err error
		if picks[i], err = newPick(m); err != nil {
			return nil, err
		}
	}
	return picks, nil
}

func newPick(m *registry.Machine) (pick, error) {
	q, err := dataset.NewQuery(m.ID+".vm."+m.App+".internal", dataset.TypeAAAA, 0)
	return pick{*m, q.Message}, err
}

// A Kind is a way to update one machine.
type Kind string

const (
	// FlipState stops a machine that is started, and starts any other.
	FlipState Kind = "state"
	// MoveAddress gives a machine an address that nobody has.
	MoveAddress Kind = "address"
)

// update changes the machine and returns the event that tells so. The event is
// good until the next update.
func (p *pick) update(kind Kind) registry.Event {
	m := &p.machine
	switch kind {
	case FlipState:
		if m.State == registry.StateStarted {
			m.State = "stopped"
		} else {
			m.State = registry.StateStarted
		}
	case MoveAddress:
		a := m.Address.As16()
		a[14]++ // 0 in all addresses of datasets, and those differ before it
		m.Address = netip.AddrFrom16(a)
	}
	return registry.Put(m)
}

// shown returns an error if the response to the pick's query does not say what
// the machine was last updated to.
func (p *pick) shown(response []byte) error {
	m := &p.machine
	if len(response) < wire.HeaderLen {
		return fmt.Errorf("%v: a response of %d octets", m, len(response))
	}
	rcode, answers := response[3]&0xf, binary.BigEndian.Uint16(response[6:])
	address := m.Address.As16()
	switch {
	case rcode != dataset.NoError:
		return fmt.Errorf("%v is %s, and its name has RCODE %d", m, m.State, rcode)
	case m.Started() && (answers != 1 || !bytes.Contains(response, address[:])):
		return fmt.Errorf("%v is started, and its name has %d addresses and not %v", m, answers, m.Address)
	case !m.Started() && answers != 0:
		return fmt.Errorf("%v is %s, and its name has an address", m, m.State)
	}
	return nil
}

// allShown returns an error if any pick's update is not seen.
func allShown(p *zone.Publisher, picks []pick) error {
	k := newAsker()
	for i := range picks {
		if err := picks[i].shown(k.ask(p, picks[i].query)); err != nil {
			return err
		}
	}
	return nil
}

// An asker does with queries what a worker of package resolver does between its
// system calls.
type asker struct {
	q        wire.Query
	a        zone.Answer
	out      []byte
	src, dst netip.Addr
}

func newAsker() *asker {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	return &asker{out: make([]byte, 0, wire.MaxMessageLen), src: loopback, dst: loopback}
}

// ask returns the response to a query by the publisher's current Table. It is
// good until the next call.
func (k *asker) ask(p *zone.Publisher, query []byte) []byte {
	if k.q.Parse(query) != wire.Answer {
		return nil
	}
	view := p.Table().For(k.src, k.dst)
	view.Lookup(&k.q, resolverLimit, &k.a)
	k.out, _ = k.a.AppendTo(k.out[:0], &k.q, zone.Frame{Limit: resolverLimit, Truncate: true})
	return k.out
}

// resolverLimit is the size of UDP responses to queries without EDNS, in octets.
const resolverLimit = wire.MinUDPSize
