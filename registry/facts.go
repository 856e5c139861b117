package registry

import (
	"fmt"
	"iter"
	"net/netip"
)

// Facts is a whole registry, in no order.
type Facts struct {
	Networks []NetworkName
	Apps     []App
	Machines []*Machine
	Peers    []Peer
	Flycast  []Flycast
	Regions  []Region // beyond the built-in ones, or in their place
	RTTs     []RTT
}

// All yields all facts, by kind. They point into f.
func (f *Facts) All() iter.Seq[Fact] {
	return func(yield func(Fact) bool) {
		for k := range numKinds {
			if !kinds[k].each(f, yield) {
				return
			}
		}
	}
}

// Of yields the facts of one kind. They point into f.
func (f *Facts) Of(k Kind) iter.Seq[Fact] {
	return func(yield func(Fact) bool) { kinds[k].each(f, yield) }
}

// Add adds facts: copies of them, but for machines.
func (f *Facts) Add(facts ...Fact) {
	for _, fact := range facts {
		kinds[fact.Key().Kind].add(f, fact)
	}
}

// Len returns how many facts f has.
func (f *Facts) Len() int {
	return len(f.Networks) + len(f.Apps) + len(f.Machines) + len(f.Peers) + len(f.Flycast) + len(f.Regions) + len(f.RTTs)
}

// An App is (network, name): two networks may have apps of one name.
type App struct {
	Network Network
	Name    string // lower case
	// Modified is the index of the commit that added the app.
	Modified uint64

	number uint32 // the store's short name for it, never used twice
}

// An AppKey names an app.
type AppKey struct {
	Network Network
	Name    string
}

// Key returns the key of the app.
func (k AppKey) Key() Key { return Key{Kind: KindApp, Network: k.Network, Name: k.Name} }

func (a *App) Key() Key { return a.AppKey().Key() }

// AppKey returns the key of the app.
func (a *App) AppKey() AppKey { return AppKey{a.Network, a.Name} }

func (a *App) String() string { return fmt.Sprintf("app %s", Quote(a.Name)) }

func (a *App) Fields() []Field {
	return []Field{{Name: "name", Value: &a.Name, Key: true, Lower: true}, {Name: "network", Value: &a.Network, Key: true}}
}

func (a *App) equal(o Fact) bool {
	b := o.(*App)
	return a.Network == b.Network && a.Name == b.Name && (a.Modified == 0 || a.Modified == b.Modified)
}

func (a *App) modified() *uint64 { return &a.Modified }

// A Peer is a WireGuard peer of the network that its address names.
type Peer struct {
	Name    string // lower case
	Address netip.Addr
	Region  string // lower case; "" if unknown
	// Modified is the index of the commit that made the peer as it is, as with
	// machines.
	Modified uint64
}

// Network returns the network of the peer.
func (p *Peer) Network() Network { n, _ := NetworkOf(p.Address); return n }

func (p *Peer) Key() Key { return Key{Kind: KindPeer, Network: p.Network(), Name: p.Name} }

func (p *Peer) String() string { return fmt.Sprintf("peer %s", Quote(p.Name)) }

func (p *Peer) Fields() []Field {
	return []Field{
		{Name: "name", Value: &p.Name, Key: true, Lower: true}, {Name: "address", Value: &p.Address},
		{Name: "region", Value: &p.Region, Optional: true, Lower: true},
	}
}

func (p *Peer) equal(o Fact) bool {
	q := *o.(*Peer)
	if p.Modified == 0 {
		q.Modified = 0
	}
	return *p == q
}

func (p *Peer) modified() *uint64 { return &p.Modified }

// A Flycast is an address of an app. Its bits name the network that it is in, which may
// be another than the app's.
type Flycast struct {
	Address netip.Addr
	App     string  // the app's name
	Owner   Network // the app's network

	app uint32 // the app's number, once the store has the address
}

// Network returns the network that the address is in.
func (f *Flycast) Network() Network { n, _ := NetworkOf(f.Address); return n }

func (f *Flycast) Key() Key { return Key{Kind: KindFlycast, Address: f.Address.WithZone("")} }

// String names the app that has the address.
func (f *Flycast) String() string { return fmt.Sprintf("app %s", Quote(f.App)) }

func (f *Flycast) Fields() []Field {
	return []Field{
		{Name: "address", Value: &f.Address, Key: true}, {Name: "network", Value: &f.Owner}, {Name: "app", Value: &f.App, Lower: true},
	}
}

func (f *Flycast) equal(o Fact) bool {
	g := o.(*Flycast)
	return f.Address == g.Address && f.App == g.App && f.Owner == g.Owner
}

// A Region is a place. Coordinates are in degrees.
type Region struct {
	Code      string  `json:"code"` // lower case
	Name      string  `json:"name"`
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
}

func (r *Region) Key() Key { return Key{Kind: KindRegion, Name: r.Code} }

func (r *Region) String() string { return fmt.Sprintf("region %s", Quote(r.Code)) }

func (r *Region) Fields() []Field {
	return []Field{
		{Name: "code", Value: &r.Code, Key: true, Lower: true}, {Name: "name", Value: &r.Name, Optional: true},
		{Name: "latitude", Value: &r.Latitude}, {Name: "longitude", Value: &r.Longitude},
	}
}

func (r *Region) equal(o Fact) bool { return *r == *o.(*Region) }

// An RTT is a measured round trip between two regions.
type RTT struct {
	From, To string // region codes, lower case
	MS       uint32 // milliseconds
}

func (r *RTT) Key() Key { return Key{Kind: KindRTT, Name: r.From, ID: r.To} }

func (r *RTT) String() string { return fmt.Sprintf("rtt_ms %s to %s", Quote(r.From), Quote(r.To)) }

func (r *RTT) Fields() []Field {
	return []Field{
		{Name: "from", Value: &r.From, Key: true, Lower: true}, {Name: "to", Value: &r.To, Key: true, Lower: true}, {Name: "ms", Value: &r.MS},
	}
}

func (r *RTT) equal(o Fact) bool { return *r == *o.(*RTT) }
