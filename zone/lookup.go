package zone

import (
	"bytes"
	"cmp"
	"sync/atomic"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone/persist"
	"github.com/internaldns/internaldns/zone/wire"
)

// A zone is one of those we are authoritative for.
type zone uint8

const (
	foreign  zone = iota
	internal      // internal.
	flycast       // flycast.
	local         // fly-local-6pn.
	reverse       // a.a.d.f.ip6.arpa.
)

// apexLabels is the number of labels in each zone's apex.
var apexLabels = [...]int{internal: 1, flycast: 1, local: 1, reverse: 6}

// Lookup answers q into a. limit is the most octets that the response will have;
// more data than fits is not looked for.
//
// To add a name form:
//
//  1. doc.go: add it to the table. TestDocNames fails until it is answered.
//  2. slow_test.go: answer it in the twin, straight from the facts.
//  3. lookup.go: serve it in the function of the labels next to it.
//  4. If it needs a set of its own: a field in app.go (TestSizes says what an
//     app may take), and one call in appEdit.change in compile.go.
//  5. explain/names.go: say what the name stands for.
//  6. registry/names.go: if it has a new word in a region's place, reserve it.
//  7. registry/answers.go: if it depends on a fact that no answer depended on,
//     add that to shown. The SERIAL of the network then changes with it.
func (v *View) Lookup(q *wire.Query, limit int, a *Answer) {
	a.Finding, a.kind = NotOurs, none
	if v.conflict {
		a.Finding = Refused
		return
	}
	zone := zoneOf(q)
	if zone == foreign {
		return
	}
	switch {
	case !v.shared.ready:
		a.Finding = NotReady
		return
	case v.view == nil:
		a.Finding = Refused
		return
	}
	a.Finding = NXDomain
	a.apex, a.serial, a.ttl = apexLabels[zone], v.view.serial, v.shared.ttl
	atApex := q.Labels() == a.apex
	if atApex {
		a.Finding = NoData
		switch q.Type {
		case wire.TypeNS:
			a.Finding, a.kind = Data, nameserver
		case wire.TypeSOA:
			a.Finding, a.kind = Data, authority
		}
	}
	switch zone {
	case internal:
		v.lookupInternal(q, limit, a)
	case flycast:
		v.lookupFlycast(q, a)
	case local:
		v.lookupLocal(q, a)
	case reverse:
		v.lookupReverse(q, a)
	}
	if atApex && q.Type == wire.TypeANY && a.Finding == NoData {
		a.Finding, a.kind = Data, authority
	}
}

// zoneOf returns the zone that q's name is in.
func zoneOf(q *wire.Query) zone {
	n := q.Labels()
	if n == 0 {
		return foreign
	}
	switch string(q.Label(0)) {
	case "internal":
		return internal
	case "flycast":
		return flycast
	case "fly-local-6pn":
		return local
	case "arpa":
		if n >= apexLabels[reverse] && string(q.Label(1)) == "ip6" && string(q.Label(2)) == "f" &&
			string(q.Label(3)) == "d" && string(q.Label(4)) == "a" && string(q.Label(5)) == "a" {
			return reverse
		}
	}
	return foreign
}

// Ours reports whether name, in wire format and lower case, is at or below the
// apex of one of our zones: only this server answers for those.
func Ours(name []byte) bool {
	for len(name) > 1 {
		switch string(name) {
		case "\x08internal\x00", "\x07flycast\x00", "\x0dfly-local-6pn\x00", "\x01a\x01a\x01d\x01f\x03ip6\x04arpa\x00":
			return true
		}
		name = name[1+int(name[0]):]
	}
	return false
}

// wants reports whether q asks for records of that type.
func wants(q *wire.Query, rtype uint16) bool { return q.Type == rtype || q.Type == wire.TypeANY }

// exists says that the name exists, with what was said of its data before.
func (a *Answer) exists() {
	if a.Finding == NXDomain {
		a.Finding = NoData
	}
}

// addresses says that the name's AAAA RRset is set.
func (a *Answer) addresses(q *wire.Query, set addressSet) {
	a.exists()
	if wants(q, wire.TypeAAAA) && !set.Empty() {
		a.Finding, a.kind, a.set = Data, addresses, set
	}
}

// address says that the name's AAAA RRset is one address.
func (a *Answer) address(q *wire.Query, addr address) {
	a.one[0] = addr
	a.addresses(q, persist.Slice(a.one[:]))
}

// listText says that the name has a TXT record with the list in p, which render
// makes if nobody asked for it before.
func (a *Answer) listText(q *wire.Query, p *atomic.Pointer[[]byte], sep byte, render func() []byte) {
	a.exists()
	if wants(q, wire.TypeTXT) {
		a.Finding, a.kind, a.sep = Data, textList, sep
		a.text = text(p, render)
	}
}

func (v *View) lookupInternal(q *wire.Query, limit int, a *Answer) {
	if q.Labels() == apexLabels[internal] {
		return
	}
	label := q.Label(1)
	if label[0] != '_' {
		if app := v.view.apps.Get(hashOf(label), label); app != nil {
			v.lookupApp(q, limit, a, app)
		}
		return
	}
	switch labels := q.Labels(); string(label) {
	case "_apps":
		if labels == 2 {
			a.listText(q, v.view.appList, ',', func() []byte { return appNames(v.facts) })
		}
	case "_peer":
		if labels == 2 {
			a.listText(q, v.view.peerList, ',', func() []byte { return peerNames(v.facts) })
		} else if labels == 3 {
			if p := v.view.peers.Get(hashOf(q.Label(2)), q.Label(2)); p != nil {
				a.address(q, p.addr)
			}
		}
	case "_instances":
		if labels == 2 {
			a.listText(q, v.view.instances, ';', func() []byte { return instanceList(v.facts, false) })
		} else if labels == 3 && string(q.Label(2)) == "all" {
			a.listText(q, v.view.allInstances, ';', func() []byte { return instanceList(v.facts, true) })
		}
	case "_api":
		if labels == 2 {
			a.address(q, v.server())
		}
	}
}

// server returns the address under which the client knows this server.
func (v *View) server() address {
	if v.dst.Is6() {
		if dst := v.dst.As16(); dst[0] == 0xfd && dst[1] == 0xaa {
			return dst
		}
	}
	return wellKnown
}

// wellKnown is fdaa::3, where every machine finds its DNS server.
var wellKnown = address{0: 0xfd, 1: 0xaa, 15: 3}

// lookupApp looks up a name at or below an app.
func (v *View) lookupApp(q *wire.Query, limit int, a *Answer, app *app) {
	labels := q.Labels() - 2 // left of the app's
	if labels == 0 {
		a.addresses(q, app.started)
		return
	}
	switch label := q.Label(2); string(label) {
	case "global":
		if labels == 1 {
			a.addresses(q, app.started)
		}
	case "vms":
		if labels == 1 {
			a.listText(q, &app.texts.vms, ',', func() []byte { return app.renderVMs(false) })
		} else if labels == 2 && string(q.Label(3)) == "all" {
			a.listText(q, &app.texts.allVMs, ',', func() []byte { return app.renderVMs(true) })
		}
	case "regions":
		if labels == 1 {
			a.listText(q, &app.texts.regions, ',', func() []byte { return app.renderRegions(false) })
		} else if labels == 2 && string(q.Label(3)) == "all" {
			a.listText(q, &app.texts.allRegions, ',', func() []byte { return app.renderRegions(true) })
		}
	case "vm":
		v.lookupVM(q, labels, a, app)
	case "of":
		v.lookupNearest(q, labels, limit, a, app)
	case "process", "_metadata":
		if n := app.names.Get(hashOf(q.Above(2)), q.Above(2)); n != nil {
			a.addresses(q, n.started)
		}
	default:
		if labels == 1 {
			for i := range app.regions {
				if r := &app.regions[i]; r.code == string(label) {
					a.addresses(q, r.started)
					return
				}
			}
		}
	}
}

func (v *View) lookupVM(q *wire.Query, labels int, a *Answer, app *app) {
	switch {
	case labels == 1:
		if !app.deployed.Empty() {
			a.exists()
		}
	case labels == 2:
		if vm, ok := app.deployed.Find(idOrder(q.Label(3))); ok {
			a.exists()
			if vm.machine.Started() {
				a.address(q, vm.machine.Address.As16())
			}
		}
	}
}

func (v *View) lookupNearest(q *wire.Query, labels, limit int, a *Answer, app *app) {
	if labels > 3 || labels >= 2 && string(q.Label(3)) != "nearest" {
		return
	}
	if labels < 3 {
		a.exists()
		return
	}
	count := topCount(q.Label(4))
	if count == 0 {
		return
	}
	a.exists()
	if !wants(q, wire.TypeAAAA) && !wants(q, wire.TypeTXT) {
		return
	}
	// One more than fits tells that there is more.
	most := limit/aaaaLen + 1
	if q.Type == wire.TypeTXT {
		most = limit/minNearbyLine + 1
	}
	a.list = a.near.find(app, v.shared.geo, v.Region(), min(count, most))
	switch {
	case wants(q, wire.TypeAAAA) && len(a.list) > 0:
		a.Finding, a.kind = Data, nearestList
	case wants(q, wire.TypeTXT):
		a.lines = appendLines(a.lines[:0], a.list, maxText)
		a.Finding, a.kind, a.sep, a.text = Data, textList, ';', a.lines
	}
}

// minNearbyLine is less than any item of a nearest TXT takes:
// ip=fdaa:0:1::,region=a
const minNearbyLine = 16

func (v *View) lookupFlycast(q *wire.Query, a *Answer) {
	if q.Labels() == apexLabels[flycast]+1 {
		if f := v.view.flycast.Get(hashOf(q.Label(1)), q.Label(1)); f != nil {
			a.addresses(q, f.addrs)
		}
	}
}

// lookupLocal gives the client its own address. On real machines the hosts file
// does so.
func (v *View) lookupLocal(q *wire.Query, a *Answer) {
	if q.Labels() == apexLabels[local] && v.src.Is6() {
		if src := v.src.As16(); src[0] == 0xfd && src[1] == 0xaa {
			a.address(q, src)
		}
	}
}

// lookupReverse looks up an address, written as labels of one hexadecimal digit
// each, or what such a name is below (RFC 3596, Section 2.5).
func (v *View) lookupReverse(q *wire.Query, a *Answer) {
	digits := q.Labels() - 2
	if digits == apexLabels[reverse]-2 || digits > 32 {
		return
	}
	addr := address{}
	for i := range digits {
		label := q.Label(2 + i)
		d := hexDigit(label[0])
		if len(label) != 1 || d < 0 {
			return
		}
		addr[i/2] |= byte(d) << (4 - i%2*4)
	}
	if digits < 32 {
		if v.anyAt(addr, digits) {
			a.exists()
		}
		return
	}
	if addr == wellKnown || addr == v.network.Server().As16() {
		a.pointTo(q, "", serverName)
		return
	}
	if n := networkOf(addr); n != v.network {
		return
	}
	if o, ok := v.view.hosts.Get(hostBits(addr), nil).find(addressOrder(addr)); ok {
		v.pointToOwner(q, a, o)
	}
}

// anyAt reports whether the view has a reverse name below the first digits of
// prefix.
func (v *View) anyAt(prefix address, digits int) bool {
	// begins is 0 for addresses that begin so, and else orders them.
	begins := func(a address) int {
		whole := digits / 2
		if c := bytes.Compare(a[:whole], prefix[:whole]); c != 0 || digits%2 == 0 {
			return c
		}
		return cmp.Compare(a[whole]>>4, prefix[whole]>>4)
	}
	if begins(wellKnown) == 0 || begins(v.network.Server().As16()) == 0 {
		return true
	}
	const networkDigits, hostDigits = 12, 16
	switch {
	case digits <= networkDigits || networkOf(prefix) != v.network:
		return false
	case digits <= networkDigits+hostDigits:
		return v.view.hosts.HasPrefix(hostBits(prefix), 4*(digits-networkDigits))
	}
	_, ok := v.view.hosts.Get(hostBits(prefix), nil).find(begins)
	return ok
}

// pointToOwner says that the name's PTR record points to the name of o.
func (v *View) pointToOwner(q *wire.Query, a *Answer, o addressOwner) {
	switch {
	case o.peer != nil:
		a.pointTo(q, o.peer.Name, "\x05_peer\x08internal\x00")
	case o.flycast != nil:
		a.pointTo(q, *o.flycast, "\x07flycast\x00")
	default:
		m := v.machineAt(o.addr)
		a.pointTo(q, m.ID, "\x02vm", m.App, "\x08internal\x00")
	}
}

// pointTo says that the name's PTR record points to the name of those parts: a
// part is a label, or several in wire form, in turn. An empty label is left out.
func (a *Answer) pointTo(q *wire.Query, parts ...string) {
	a.exists()
	if !wants(q, wire.TypePTR) {
		return
	}
	name := a.name[:0]
	for i, part := range parts {
		if i%2 == 0 && part != "" {
			name = append(name, byte(len(part)))
		}
		name = append(name, part...)
	}
	a.Finding, a.kind, a.nlen = Data, pointer, len(name)
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// networkOf returns the network that the bits of a name.
func networkOf(a address) registry.Network {
	return registry.Network(uint32(a[2])<<24 | uint32(a[3])<<16 | uint32(a[4])<<8 | uint32(a[5]))
}
