package zone

import (
	"net/netip"

	"github.com/internaldns/internaldns/zone/persist"
	"github.com/internaldns/internaldns/zone/wire"
)

// A zone is one of the zones that the server is authoritative for.
type zone uint8

const (
	otherZone zone = iota
	internal       // internal.
	flycast        // flycast.
	local          // fly-local-6pn.
	reverse        // a.a.d.f.ip6.arpa.
)

// apexLabels is the number of labels in each zone's apex.
var apexLabels = [...]int{internal: 1, flycast: 1, local: 1, reverse: 6}

// Lookup looks up the name and type of q, and writes the answer to a. The response will
// have at most limit octets; Lookup may leave out data that does not fit.
//
// To add a name form:
//
//  1. zone/doc.go: add it to the table of names.
//  2. zone/doc_test.go: give a value to each of its placeholders that is new. A machine
//     of the sample, cmd/internaldns/sample/org.json, must have it. From now on
//     TestDocNames fails until the name is answered and explained, and its word
//     reserved (step 7).
//  3. zone/slow_test.go: add its names to the twin, below an app in slow.addApp, others
//     in slow.names; if text that users write can give no name, count that in
//     slow.unnamed. zone/world_test.go: add a metadata key that is new to worldKeys.
//     TestAnswersEqualTheTwins then asks random registries for the names.
//  4. zone/lookup.go: answer it in the function whose switch has the label to its right.
//  5. If it is made of a machine's metadata: make its labels in metaNames.of of
//     zone/metadata.go, and let it join the case "process", "_metadata" here and in
//     Prefetch.Add. If it needs another set of addresses: put a field in zone/app.go,
//     where TestSizes limits the size of an app, and call sets.change in compile.go.
//  6. zone/explain/names.go: say what it stands for, as its neighbours do.
//  7. registry/check.go: reserve its word in ReservedRegions, if it takes the place of a
//     region.
//  8. README.md: add it to the table of names; cmd/internaldns/readme_linux_test.go
//     gives values to its placeholders.
//
// If its names can change while metadata stays equal but for letter case, or if it
// depends on a fact that no answer depended on before, count that in shownOf of
// registry/event.go and in slowSerials of zone/slow_test.go.
// TestSerialChangesWithTheNames fails otherwise.
func (v *View) Lookup(q *wire.Query, limit int, a *Answer) {
	a.Finding, a.kind = OutOfZone, none
	if v.conflict {
		a.Finding = Refused
		return
	}
	zone := zoneOf(q)
	if zone == otherZone {
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
	a.apex, a.serial = apexLabels[zone], v.view.serial
	a.ttl = v.shared.ttl // every record has the same; see doc.go
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
		return otherZone
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
	return otherZone
}

// InZone reports whether name is in a zone that this server is authoritative for, at its
// apex or below. name must be in wire format and lower case.
func InZone(name []byte) bool {
	for len(name) > 1 {
		switch string(name) {
		case "\x08internal\x00", "\x07flycast\x00", "\x0dfly-local-6pn\x00", "\x01a\x01a\x01d\x01f\x03ip6\x04arpa\x00":
			return true
		}
		name = wire.Parent(name)
	}
	return false
}

// asksFor reports whether q asks for records of that type.
func asksFor(q *wire.Query, rtype uint16) bool { return q.Type == rtype || q.Type == wire.TypeANY }

// exists records that the name exists. It does not change what was found before.
func (a *Answer) exists() {
	if a.Finding == NXDomain {
		a.Finding = NoData
	}
}

// addresses records that the name has the AAAA RRset of set.
func (a *Answer) addresses(q *wire.Query, set addressSet) {
	a.exists()
	if asksFor(q, wire.TypeAAAA) && !set.Empty() {
		a.Finding, a.kind, a.set = Data, addresses, set
	}
}

// address records that the name has one AAAA record.
func (a *Answer) address(q *wire.Query, addr address) {
	a.one[0] = addr
	a.addresses(q, persist.Slice(a.one[:]))
}

// listText records that the name has a TXT record with that list.
func (a *Answer) listText(q *wire.Query, list *lazyList, sep byte, render func() []byte) {
	a.exists()
	if asksFor(q, wire.TypeTXT) {
		a.Finding, a.kind, a.sep = Data, textList, sep
		a.text = list.get(render)
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

// server returns the address of this server: the one that the client asked, if it is a
// 6PN address, else wellKnown.
func (v *View) server() address {
	if dst, ok := in6PN(v.dst); ok {
		return dst
	}
	return wellKnown
}

// in6PN returns a as an address, and reports whether it is in fdaa::/16.
func in6PN(a netip.Addr) (address, bool) {
	if !a.Is6() {
		return address{}, false
	}
	b := a.As16()
	return b, b[0] == 0xfd && b[1] == 0xaa
}

// wellKnown is fdaa::3, the address of the DNS server in every network.
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
			a.listText(q, &app.lists.vms, ',', func() []byte { return app.renderVMs(false) })
		} else if labels == 2 && string(q.Label(3)) == "all" {
			a.listText(q, &app.lists.allVMs, ',', func() []byte { return app.renderVMs(true) })
		}
	case "regions":
		if labels == 1 {
			a.listText(q, &app.lists.regions, ',', func() []byte { return app.renderRegions(false) })
		} else if labels == 2 && string(q.Label(3)) == "all" {
			a.listText(q, &app.lists.allRegions, ',', func() []byte { return app.renderRegions(true) })
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
			if r := app.regionOf(label); r != nil {
				a.addresses(q, r.started)
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
	if !asksFor(q, wire.TypeAAAA) && !asksFor(q, wire.TypeTXT) {
		return
	}
	// With one more than fits, AppendTo sees that the list is cut.
	most := limit/aaaaLen + 1
	if q.Type == wire.TypeTXT {
		most = limit/minNearbyLine + 1
	}
	a.list = a.near.find(app, v.shared.geo, v.Region(), min(count, most))
	switch {
	case asksFor(q, wire.TypeAAAA) && len(a.list) > 0:
		a.Finding, a.kind = Data, nearestList
	case asksFor(q, wire.TypeTXT):
		a.lines = appendLines(a.lines[:0], a.list, maxText)
		a.Finding, a.kind, a.sep, a.text = Data, textList, ';', a.lines
	}
}

// minNearbyLine is fewer octets than any item of a nearest list in a TXT record has, such
// as ip=fdaa:0:1::,region=a
const minNearbyLine = 16

func (v *View) lookupFlycast(q *wire.Query, a *Answer) {
	if q.Labels() == apexLabels[flycast]+1 {
		if f := v.view.flycast.Get(hashOf(q.Label(1)), q.Label(1)); f != nil {
			a.addresses(q, f.addrs)
		}
	}
}

// lookupLocal answers with the client's own address. On Fly.io, the hosts file of a
// machine holds this name.
func (v *View) lookupLocal(q *wire.Query, a *Answer) {
	if src, ok := in6PN(v.src); ok && q.Labels() == apexLabels[local] {
		a.address(q, src)
	}
}
