package registry

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
)

// A draw makes random events and facts from few names and addresses, so that many of
// them conflict.
type draw struct{ *rand.Rand }

// testNetworks is the highest network number that is drawn.
const testNetworks = 3

func newDraw(seed uint64) draw { return draw{rand.New(rand.NewPCG(seed, 0))} }

func ptr[T any](v T) *T { return &v }

func pick[T any](d draw, from ...T) T { return from[d.IntN(len(from))] }

// one reports true one time in n.
func (d draw) one(n int) bool { return d.IntN(n) == 0 }

func (d draw) network() Network {
	if d.one(60) {
		return 0
	}
	return Network(1 + d.IntN(testNetworks))
}

func (d draw) name() string {
	if d.one(60) {
		return pick(d, "", "Web", "-a", "a.b", "a\x00b")
	}
	return pick(d, "web", "db", "api")
}

func (d draw) id() string { return pick(d, "m1", "m2", "m3", "m4", "m5", "m-6", "m", "m11") }

func (d draw) address(n Network) netip.Addr {
	switch d.IntN(120) {
	case 0:
		return netip.Addr{}
	case 1:
		return n.Server()
	case 2:
		return netip.MustParseAddr("2001:0:1::5") // would be fdaa:0:1::5 without its first two octets
	case 3:
		n = d.network()
	}
	return n.address([]byte{0, 0, 0, 0, 0, 0, 0, byte(d.IntN(3)), 0, byte(4 + d.IntN(3))})
}

func (d draw) regionCode() string {
	if d.one(60) {
		return pick(d, "", "AMS", "all", "a-b")
	}
	return pick(d, "ams", "fra", "xyz")
}

func (d draw) machine() *Machine {
	m := &Machine{
		Network: d.network(), App: d.name(), ID: d.id(), Region: d.regionCode(),
		State: pick(d, "started", "started", "started", "stopped", "suspended", "odd", "destroyed", "replaced"),
		Skip:  d.one(8),
	}
	m.Address = d.address(m.Network)
	if d.one(60) {
		m.ID = pick(d, "", "M1", "m.1")
	}
	if m.Gone() && d.one(3) {
		m.ID = pick(d, "", "m1", "m1\x00", "m1\x00\x00\x00\x00\x01", "m1\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00")
		m.Region, m.Address = pick(d, "", "ams", "Ams\x00"), netip.Addr{}
	}
	for _, key := range []string{"A", "a\x00b", "fly_process_group", "process_group", "role"} {
		if d.one(3) {
			m.Metadata = append(m.Metadata, Pair{key, pick(d, "", "app", "App", "b", "b\x00c")})
		}
	}
	if d.one(2) {
		m.Raw = NewRaw(fmt.Appendf(nil, `{"id":%q,"n":%d}`, m.ID, d.IntN(2)))
	}
	return m
}

func (d draw) peer() Peer {
	n := Network(1 + d.IntN(testNetworks))
	p := Peer{Name: d.name(), Address: d.address(n)}
	if d.one(2) {
		p.Region = d.regionCode()
	}
	return p
}

func (d draw) flycast() Flycast {
	return Flycast{Address: d.address(Network(1 + d.IntN(testNetworks))), App: d.name(), Owner: d.network()}
}

func (d draw) region() Region {
	return Region{Code: d.regionCode(), Name: pick(d, "A", "B"), Latitude: pick(d, 1.0, 2, 3, 90.5), Longitude: 5}
}

func (d draw) rtt() RTT { return RTT{From: d.regionCode(), To: d.regionCode(), MS: uint32(d.IntN(2))} }

// event draws an event, mostly about objects that has holds.
func (d draw) event(has *twin) Event {
	switch d.IntN(30) {
	case 0, 1:
		return Put(&NetworkName{d.network(), d.name()})
	case 2:
		return Delete(Key{Kind: KindNetwork, Network: d.network()})
	case 3, 4, 5, 6, 7, 8:
		return Put(&App{Network: d.network(), Name: d.name()})
	case 9:
		return Delete(Key{Kind: KindApp, Network: d.network(), Name: d.name()})
	case 10, 11:
		m := d.machine()
		return Delete(Key{Kind: KindMachine, Network: m.Network, Name: m.App, ID: m.ID})
	case 12, 13:
		return Put(ptr(d.peer()))
	case 14:
		return Delete(Key{Kind: KindPeer, Network: d.network(), Name: d.name()})
	case 15, 16:
		return Put(ptr(d.flycast()))
	case 17:
		return Delete(Key{Kind: KindFlycast, Address: d.address(d.network())})
	case 18:
		return Put(ptr(d.region()))
	case 19:
		return Delete(Key{Kind: KindRegion, Name: d.regionCode()})
	case 20:
		return Put(ptr(d.rtt()))
	case 21:
		r := d.rtt()
		return Delete(Key{Kind: KindRTT, Name: r.From, ID: r.To})
	case 22:
		if len(has.machines) > 0 { // as it is, or in another state
			m := *pick(d, has.machines...)
			m.State = pick(d, m.State, "started", "destroyed", "stopped")
			return Put(&m)
		}
	}
	m := d.machine()
	if len(has.apps) > 0 && !d.one(10) {
		a := pick(d, has.apps...)
		if n := m.Network; n != a.Network && m.Address.IsValid() {
			m.Address = d.address(a.Network)
		}
		m.Network, m.App = a.Network, a.Name
	}
	return Put(m)
}

// batch draws up to n events.
func (d draw) batch(has *twin, n int) []Event {
	events := make([]Event, 1+d.IntN(n))
	for i := range events {
		events[i] = d.event(has)
	}
	return events
}

// facts draws a valid registry.
func (d draw) facts() *Facts {
	t := newTwin()
	for range 10 + d.IntN(60) {
		if next, faults := t.apply([]Event{d.event(t)}); faults == nil {
			t = next
		}
	}
	return t.facts()
}
