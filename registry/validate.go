package registry

import (
	"fmt"
	"math"
	"net/netip"
)

// Validate returns everything that is wrong with f as a whole registry, as
// Faults, or nil. A field that is wrong by itself is not compared with others.
func (f *Facts) Validate() error {
	v := validator{
		apps:      make(map[AppKey]bool, len(f.Apps)),
		addresses: make(map[netip.Addr]fmt.Stringer, len(f.Machines)+len(f.Peers)+len(f.Flycast)),
	}
	v.networks(f.Networks)
	for _, a := range f.Apps {
		v.note(a.check())
		k := AppKey{a.Network, a.Name}
		if v.apps[k] {
			v.faults.addf(a.object(), "name", "another app of this name is in %v", a.Network)
		}
		v.apps[k] = true
	}
	v.machines(f.Machines)
	v.peers(f.Peers)
	v.flycast(f.Flycast)
	v.regions(f.Regions)
	v.rtts(f.RTTs)
	return v.faults.Err()
}

// A validator checks facts against each other.
type validator struct {
	faults Faults
	apps   map[AppKey]bool
	// addresses tells who has an address. Who that is is formatted only when a
	// fault needs it: a registry can hold a million.
	addresses map[netip.Addr]fmt.Stringer
}

// note adds the faults of one object and returns them.
func (v *validator) note(fs Faults) Faults {
	v.faults = append(v.faults, fs...)
	return fs
}

// take notes that object holds addr and faults it if another object does.
func (v *validator) take(addr netip.Addr, object fmt.Stringer, field string) {
	if holder, ok := v.addresses[addr]; ok {
		v.faults.addf(object.String(), field, "%v is already the address of %v", addr, holder)
		return
	}
	v.addresses[addr] = object
}

func (v *validator) networks(networks []NetworkName) {
	names := make(map[string]bool, len(networks))
	prefixes := make(map[Network]bool, len(networks))
	for _, n := range networks {
		fs := v.note(n.check())
		if names[n.Name] {
			v.faults.addf(n.object(), "name", "%s is already another network's", quote(n.Name))
		}
		names[n.Name] = !fs.in("name")
		if prefixes[n.Network] {
			v.faults.addf(n.object(), "prefix", "%s is already another network's", quote(n.Network.String()))
		}
		prefixes[n.Network] = !fs.in("prefix")
	}
}

func (v *validator) machines(machines []*Machine) {
	ids := make(map[string]*Machine, len(machines))
	for _, m := range machines {
		if !v.apps[AppKey{m.Network, m.App}] {
			v.faults.addf(m.String(), "app", "%v has no app %s", m.Network, quote(m.App))
		}
		if m.Gone() {
			continue
		}
		fs := v.note(m.check())
		if o, twice := ids[m.ID]; twice {
			v.faults.addf(m.String(), "id", "is already the id of %v", o)
		} else if !fs.in("id") {
			ids[m.ID] = m
		}
		if !fs.in("private_ip") {
			v.take(m.Address, m, "private_ip")
		}
	}
}

func (v *validator) peers(peers []Peer) {
	names := make(map[AppKey]bool, len(peers))
	for i := range peers {
		p := &peers[i]
		fs := v.note(p.check())
		if fs.in("address") {
			continue // its network is unknown
		}
		k := AppKey{p.Network(), p.Name}
		if names[k] {
			v.faults.addf(p.String(), "name", "another peer of this name is in %v", p.Network())
		}
		names[k] = !fs.in("name")
		v.take(p.Address, p, "address")
	}
}

func (v *validator) flycast(addresses []Flycast) {
	for i := range addresses {
		f := &addresses[i]
		fs := v.note(f.check())
		if !v.apps[AppKey{f.Owner, f.App}] {
			v.faults.addf(f.String(), "app", "%v has no app %s", f.Owner, quote(f.App))
		}
		if !fs.in("flycast") {
			v.take(f.Address, f, "flycast")
		}
	}
}

func (v *validator) regions(regions []Region) {
	codes := make(map[string]bool, len(regions))
	for _, r := range regions {
		fs := v.note(r.check())
		if codes[r.Code] {
			v.faults.addf(r.object(), "code", "is listed twice")
		}
		codes[r.Code] = !fs.in("code")
	}
}

func (v *validator) rtts(rtts []RTT) {
	pairs := make(map[RTT]bool, len(rtts))
	for _, r := range rtts {
		fs := v.note(r.check())
		k := RTT{From: r.From, To: r.To}
		if pairs[k] {
			v.faults.addf(r.object(), "", "is listed twice")
		}
		pairs[k] = fs == nil
	}
}

// The check methods say what is wrong with one object by itself, each field at
// most once.

func (a *App) object() string { return fmt.Sprintf("app %s", quote(a.Name)) }

func (a *App) check() (fs Faults) {
	fs.add(a.object, "name", checkName(a.Name))
	if a.Network == 0 {
		fs.addf(a.object(), "network", "is missing, and no machine names it")
	}
	return fs
}

// String names the machine for messages.
func (m *Machine) String() string {
	return fmt.Sprintf("machine %s of app %s", quote(m.ID), quote(m.App))
}

func (m *Machine) check() (fs Faults) {
	if m.Gone() {
		return nil
	}
	fs.add(m.String, "id", checkID(m.ID))
	fs.add(m.String, "region", checkRegion(m.Region))
	fs.add(m.String, "private_ip", checkAddress(m.Address))
	if n, ok := NetworkOf(m.Address); ok && n != m.Network {
		fs.addf(m.String(), "private_ip", "%v is outside the app's network %v", m.Address, m.Network)
	}
	return fs
}

// String names the peer for messages.
func (p *Peer) String() string { return fmt.Sprintf("peer %s", quote(p.Name)) }

func (p *Peer) check() (fs Faults) {
	fs.add(p.String, "name", checkName(p.Name))
	fs.add(p.String, "address", checkAddress(p.Address))
	if p.Region != "" {
		fs.add(p.String, "region", checkRegion(p.Region))
	}
	return fs
}

// String names the app that has the address, for messages.
func (f *Flycast) String() string { return fmt.Sprintf("app %s", quote(f.App)) }

func (f *Flycast) check() (fs Faults) {
	fs.add(f.String, "flycast", checkAddress(f.Address))
	return fs
}

func (n *NetworkName) object() string { return fmt.Sprintf("network %s", quote(n.Name)) }

func (n *NetworkName) check() (fs Faults) {
	fs.add(n.object, "name", checkName(n.Name))
	if n.Network == 0 {
		fs.addf(n.object(), "prefix", "is missing")
	}
	return fs
}

func (r *Region) object() string { return fmt.Sprintf("region %s", quote(r.Code)) }

func (r *Region) check() (fs Faults) {
	fs.add(r.object, "code", checkRegion(r.Code))
	if !(math.Abs(r.Latitude) <= 90) {
		fs.addf(r.object(), "latitude", "must be from -90 to 90 degrees, got %v", r.Latitude)
	}
	if !(math.Abs(r.Longitude) <= 180) {
		fs.addf(r.object(), "longitude", "must be from -180 to 180 degrees, got %v", r.Longitude)
	}
	return fs
}

func (r *RTT) object() string {
	return fmt.Sprintf("rtt_ms %s to %s", quote(r.From), quote(r.To))
}

func (r *RTT) check() (fs Faults) {
	fs.add(r.object, "", checkRegion(r.From))
	fs.add(r.object, "", checkRegion(r.To))
	return fs
}

// checkAddress says what is wrong with an address that a fact uses.
func checkAddress(a netip.Addr) error {
	if !a.IsValid() {
		return fmt.Errorf("is missing")
	}
	n, ok := NetworkOf(a)
	switch {
	case !ok || a.Zone() != "":
		return fmt.Errorf("%v is in no network: want an address in fdaa::/16, outside fdaa::/48", a)
	case a == n.Server():
		return fmt.Errorf("%v is the network's own DNS server", a)
	}
	return nil
}
