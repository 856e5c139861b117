package registry

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/internaldns/internaldns/registry/index"
)

// A checker finds everything that is wrong with facts: first with each by itself,
// then with each beside the others and beside what the registry holds. A field
// that is wrong by itself is not compared.
type checker struct {
	registry lookup
	faults   Faults

	// What the facts checked so far have taken.
	ids       index.Small[string, *Machine]
	addresses index.Small[netip.Addr, Fact]
	names     index.Small[string, *NetworkName]
}

// A lookup finds what the checked facts are compared with: the apps as they will be,
// and the objects that will stay and are not checked.
type lookup interface {
	hasApp(AppKey) bool

	// The other object that has the same id, the address or the same name; nil if
	// there is none.
	holderOfID(*Machine) *Machine
	holderOfAddress(f Fact, addr netip.Addr) Fact
	holderOfName(*NetworkName) *NetworkName
}

// add checks f, and returns what is wrong with it by itself.
func (c *checker) add(f Fact) Faults {
	own := f.check()
	c.faults = append(c.faults, own...)
	f.compare(c, own)
	return own
}

// needApp faults f if its app does not exist.
func (c *checker) needApp(f Fact, app AppKey) {
	if !c.registry.hasApp(app) {
		c.faults.addf(f, "app", "%v has no app %s", app.Network, Quote(app.Name))
	}
}

// takeAddress records that f has addr, or faults f if another object has it.
func (c *checker) takeAddress(f Fact, field string, addr netip.Addr) {
	holder, ok := c.addresses.Get(addr)
	if !ok {
		holder = c.registry.holderOfAddress(f, addr)
	}
	if holder != nil {
		c.faults.addf(f, field, "%v is already the address of %v", addr, holder)
		return
	}
	c.addresses.Add(addr, f)
}

// takeID records that m has its id, or faults m if another machine has it.
func (c *checker) takeID(m *Machine) {
	holder, ok := c.ids.Get(m.ID)
	if !ok {
		holder = c.registry.holderOfID(m)
	}
	if holder != nil {
		c.faults.addf(m, "id", "is already the id of %v in %v", holder, holder.Network)
		return
	}
	c.ids.Add(m.ID, m)
}

// takeName records that n has its name, or faults n if another network has it.
func (c *checker) takeName(n *NetworkName) {
	holder, ok := c.names.Get(n.Name)
	if !ok {
		holder = c.registry.holderOfName(n)
	}
	if holder != nil {
		c.faults.addf(n, "name", "is already the name of %v", holder.Network)
		return
	}
	c.names.Add(n.Name, n)
}

// Validate returns everything that is wrong with f as a whole registry, as
// Faults, or nil.
func (f *Facts) Validate() error {
	v := validator{
		apps: make(map[AppKey]bool, len(f.Apps)),
		keys: make(map[Key]bool),
	}
	v.registry = &v
	v.ids.Size, v.addresses.Size = len(f.Machines), len(f.Machines)+len(f.Peers)+len(f.Flycast)
	for i := range f.Apps {
		v.apps[f.Apps[i].AppKey()] = true
	}
	for fact := range f.All() {
		own := v.add(fact)
		// Machines and Flycast addresses are compared by their ids and addresses.
		if k := fact.Key(); k.Kind != KindMachine && k.Kind != KindFlycast && !own.in(kinds[k.Kind].fields...) {
			v.once(fact, k)
		}
	}
	return v.faults.Err()
}

// A validator checks facts that are a whole registry.
type validator struct {
	checker
	apps map[AppKey]bool
	keys map[Key]bool // of the facts checked so far
}

func (v *validator) hasApp(app AppKey) bool                 { return v.apps[app] }
func (v *validator) holderOfID(*Machine) *Machine           { return nil }
func (v *validator) holderOfAddress(Fact, netip.Addr) Fact  { return nil }
func (v *validator) holderOfName(*NetworkName) *NetworkName { return nil }

// once faults f if the key k has been seen before.
func (v *validator) once(f Fact, k Key) {
	switch {
	case !v.keys[k]:
		v.keys[k] = true
	case k.Name != "" && k.Network != 0:
		v.faults.addf(f, kinds[k.Kind].fields[0], "is listed twice in %v", k.Network)
	default:
		v.faults.addf(f, kinds[k.Kind].fields[0], "is listed twice")
	}
}

// What each kind of fact is checked for: by itself, and with others.

func (n *NetworkName) check() (fs Faults) {
	fs.add(n, "name", checkName(n.Name))
	if n.Network == 0 {
		fs.addf(n, "prefix", "is missing")
	}
	return fs
}

func (n *NetworkName) compare(c *checker, own Faults) {
	if !own.in("name") {
		c.takeName(n)
	}
}

func (a *App) check() (fs Faults) {
	fs.add(a, "name", checkName(a.Name))
	if a.Network == 0 {
		fs.addf(a, "network", "is missing, and no machine names it")
	}
	return fs
}

func (a *App) compare(*checker, Faults) {}

func (m *Machine) check() (fs Faults) {
	if m.Gone() {
		return nil
	}
	fs.add(m, "id", checkID(m.ID))
	fs.add(m, "region", checkRegion(m.Region))
	fs.add(m, "private_ip", checkAddress(m.Address))
	if n, ok := NetworkOf(m.Address); ok && n != m.Network {
		fs.addf(m, "private_ip", "%v is outside the app's network %v", m.Address, m.Network)
	}
	return fs
}

func (m *Machine) compare(c *checker, own Faults) {
	c.needApp(m, m.AppKey())
	if m.Gone() {
		return
	}
	if !own.in("id") {
		c.takeID(m)
	}
	if !own.in("private_ip") {
		c.takeAddress(m, "private_ip", m.Address)
	}
}

func (p *Peer) check() (fs Faults) {
	fs.add(p, "name", checkName(p.Name))
	fs.add(p, "address", checkAddress(p.Address))
	if p.Region != "" {
		fs.add(p, "region", checkRegion(p.Region))
	}
	return fs
}

func (p *Peer) compare(c *checker, own Faults) {
	if !own.in("address") {
		c.takeAddress(p, "address", p.Address)
	}
}

func (f *Flycast) check() (fs Faults) {
	fs.add(f, "flycast", checkAddress(f.Address))
	return fs
}

func (f *Flycast) compare(c *checker, own Faults) {
	c.needApp(f, AppKey{f.Owner, f.App})
	if !own.in("flycast") {
		c.takeAddress(f, "flycast", f.Address)
	}
}

func (r *Region) check() (fs Faults) {
	fs.add(r, "code", checkRegion(r.Code))
	if !(math.Abs(r.Latitude) <= 90) {
		fs.addf(r, "latitude", "must be from -90 to 90 degrees, got %v", r.Latitude)
	}
	if !(math.Abs(r.Longitude) <= 180) {
		fs.addf(r, "longitude", "must be from -180 to 180 degrees, got %v", r.Longitude)
	}
	return fs
}

func (r *Region) compare(*checker, Faults) {}

func (r *RTT) check() (fs Faults) {
	fs.add(r, "", checkRegion(r.From))
	fs.add(r, "", checkRegion(r.To))
	return fs
}

func (r *RTT) compare(*checker, Faults) {}

// checkAddress returns what is wrong with an address that a fact uses.
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

// Fold returns s with the letters A to Z in lower case and all other octets as they are
// (RFC 4343, Section 3).
func Fold(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// maxLabel is the longest label of a domain name, in octets (RFC 1035, Section
// 2.3.4). Names of apps, peers, machines and regions become labels.
const maxLabel = 63

// ReservedRegions are the words that have another meaning in a name where a region's
// code could be, so no region can have them as its code.
var ReservedRegions = []string{"vms", "regions", "global", "vm", "process", "of", "nearest", "kv", "all"}

// checkName returns what is wrong with the name of an app, a peer or a network.
func checkName(s string) error {
	if !isLabel(s) || s[0] == '-' || s[len(s)-1] == '-' {
		return fmt.Errorf("%s is no name: want 1 to 63 letters, digits and inner hyphens", Quote(s))
	}
	return nil
}

// checkID returns what is wrong with a machine's id.
func checkID(s string) error {
	if !isLabel(s) {
		return fmt.Errorf("%s is no machine id: want 1 to 63 letters, digits and hyphens", Quote(s))
	}
	return nil
}

// checkRegion returns what is wrong with a region's code.
func checkRegion(s string) error {
	if !isLabel(s) || strings.Contains(s, "-") {
		return fmt.Errorf("%s is no region code: want 1 to 63 letters and digits", Quote(s))
	}
	if slices.Contains(ReservedRegions, s) {
		return fmt.Errorf("%q cannot be a region: the word has another meaning in names", s)
	}
	return nil
}

func isLabel(s string) bool {
	if len(s) == 0 || len(s) > maxLabel {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
