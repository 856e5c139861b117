package explain

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// A reason returns why a machine is not in the answer; "" if it belongs to it.
type reason func(*registry.Machine) string

// explainName finds the form of the name, what it stands for, and what is left out of the
// answer. It has one case for each name form of package zone. It does not decide whether a
// name exists: zone.View.Lookup has done so, and the result is in x.Finding.
func (x *explainer) explainName(q *wire.Query) {
	labels := make([]string, q.Labels()) // from the right
	for i := range labels {
		labels[i] = string(q.Label(i))
	}
	if !zone.InZone(q.Name()) {
		x.NameReason = "it is in none of our zones"
		return
	}
	if x.Network == 0 {
		x.NameReason = "our names are refused to clients without a network"
		return
	}
	apex := labels[0] + "."
	if labels[0] == "arpa" {
		apex, labels = "a.a.d.f.ip6.arpa.", labels[5:]
	}
	rest := labels[1:]
	switch {
	case len(rest) == 0 && apex == "fly-local-6pn.":
		x.is("fly-local-6pn", "AAAA", "the client's own address, and the apex of a zone")
	case len(rest) == 0:
		x.is(apex, "SOA and NS", "the apex of a zone")
	case apex == "internal.":
		x.internal(q, rest)
	case apex == "flycast.":
		x.flycast(rest)
	case apex == "fly-local-6pn.":
		x.NameReason = "nothing is below fly-local-6pn"
	default:
		x.reverse(rest)
	}
}

// is records the form of a name that exists, and what it stands for. types are the types
// of records that such names can have.
func (x *explainer) is(form, types, what string, args ...any) {
	x.Form, x.NameReason = form, fmt.Sprintf(what, args...)
	if x.Finding == zone.NoData && x.Type != wire.TypeANY && !slices.Contains(strings.Fields(types), typeName(x.Type)) {
		x.NameReason += "; such names have " + types + " records only"
	}
}

// isNot records the form of a name that does not exist, and the reason.
func (x *explainer) isNot(form, why string, args ...any) {
	x.Form, x.NameReason = form, fmt.Sprintf(why, args...)
}

// above records a name that exists only if other names are below it.
func (x *explainer) above(what string) {
	if x.Finding == zone.NXDomain {
		x.NameReason = "there is no " + what + ", so nothing above one"
		return
	}
	x.NameReason = "a name above those of every " + what + "; it has no data itself"
}

func (x *explainer) leaveOut(object, format string, args ...any) {
	x.LeftOut = append(x.LeftOut, LeftOut{object, fmt.Sprintf(format, args...)})
}

// leaveOutMachines lists those of machines that are not in the answer, with the reason. The
// answer holds started machines, or all that are deployed.
func (x *explainer) leaveOutMachines(machines []*registry.Machine, all bool, why reason) {
	for _, m := range machines {
		object := fmt.Sprintf("machine %s in %s", m.ID, m.Region)
		switch {
		case m.Gone():
			x.leaveOut(object, "it is gone: its state is %s", m.State)
		case m.Skip:
			x.leaveOut(object, "its config says dns.skip_registration")
		case why != nil && why(m) != "":
			x.leaveOut(object, "%s", why(m))
		case !all && !m.Started():
			x.leaveOut(object, "its state is %s, not started", m.State)
		}
	}
}

// everyMachine returns the machines of all apps in the network, gone ones included.
func (x *explainer) everyMachine() (machines []*registry.Machine) {
	for a := range x.snap.AppsIn(x.Network) {
		machines = slices.AppendSeq(machines, x.snap.Machines(a))
	}
	return machines
}

// internal explains a name below internal. labels are those left of it, the rightmost
// first.
func (x *explainer) internal(q *wire.Query, labels []string) {
	switch name := dotted(labels); {
	case name == "_apps":
		x.is("_apps.internal", "TXT", "the names of all apps in the network")
	case name == "_api":
		x.is("_api.internal", "AAAA", "this server: the address asked, if that is in fdaa::/16, else fdaa::3")
	case name == "_instances":
		x.is("_instances.internal", "TXT", "the started machines of the network")
		x.leaveOutMachines(x.everyMachine(), false, nil)
	case name == "all._instances":
		x.is("all._instances.internal", "TXT", "the deployed machines of the network")
		x.leaveOutMachines(x.everyMachine(), true, nil)
	case name == "_peer":
		x.is("_peer.internal", "TXT", "the names of the network's WireGuard peers")
		for p := range x.snap.PeersIn(x.Network) {
			x.leaveOutPeer(p)
		}
	case labels[0] == "_peer" && len(labels) == 2:
		const form = "<peer>._peer.internal"
		switch p := x.snap.Peer(x.Network, labels[1]); {
		case p == nil:
			x.isNot(form, "no peer of the network is called %q", labels[1])
		case zone.HiddenPeer(p.Name):
			x.isNot(form, "interactive peers have no names")
			x.leaveOutPeer(p)
		default:
			x.is(form, "AAAA", "the WireGuard peer %s", p.Name)
		}
	case strings.HasPrefix(labels[0], "_"):
		x.NameReason = fmt.Sprintf("nothing of this form is below %s.internal", labels[0])
	default:
		if a := x.snap.App(x.Network, labels[0]); a != nil {
			x.app(q, a, labels[1:])
			return
		}
		x.isNot("", "no app of the network is called %q", labels[0])
	}
}

func (x *explainer) leaveOutPeer(p *registry.Peer) {
	if zone.HiddenPeer(p.Name) {
		x.leaveOut("peer "+p.Name, "interactive peers are in no answer")
	}
}

// app explains a name of an app. labels are those left of the app's, the rightmost first.
func (x *explainer) app(q *wire.Query, a *registry.App, labels []string) {
	machines := slices.Collect(x.snap.Machines(a))
	name := dotted(labels)
	switch {
	case name == "" || name == "global":
		form := "<app>.internal"
		if name != "" {
			form = "global.<app>.internal"
		}
		x.is(form, "AAAA", "the started machines of app %s", a.Name)
		x.leaveOutMachines(machines, false, nil)
	case name == "vms" || name == "regions":
		x.is(name+".<app>.internal", "TXT", "the %s of the started machines of app %s", listed(name), a.Name)
		x.leaveOutMachines(machines, false, nil)
	case name == "all.vms" || name == "all.regions":
		x.is(name+".<app>.internal", "TXT", "the %s of the deployed machines of app %s", listed(labels[0]), a.Name)
		x.leaveOutMachines(machines, true, nil)
	case name == "vm":
		x.above("deployed machine")
	case labels[0] == "vm" && len(labels) == 2:
		x.vm(a, machines, labels[1])
	case name == "of" || name == "nearest.of":
		x.above("list of nearest machines")
	case strings.HasSuffix(name, ".nearest.of") && x.Finding != zone.NXDomain:
		x.nearest(q, a, machines, labels[2])
	case labels[0] == "process" && len(labels) == 1:
		x.above("process group")
	case labels[0] == "process":
		x.fromText(a, machines, "<group>.process.<app>.internal", "process group", labels[1:], 0, func(m *registry.Machine) []string {
			return []string{m.Group()}
		})
	case name == "_metadata" || name == "kv._metadata":
		x.above("metadata entry")
	case strings.HasSuffix(name, ".kv._metadata"):
		x.fromText(a, machines, "<value>.<key>.kv._metadata.<app>.internal", "metadata entry", labels[2:], 1, func(m *registry.Machine) (texts []string) {
			for _, p := range m.Metadata {
				texts = append(texts, p.Value+"."+p.Key)
			}
			return texts
		})
	case len(labels) == 1:
		const form = "<region>.<app>.internal"
		if x.Finding == zone.NXDomain {
			x.isNot(form, "no deployed machine of app %s is in a region called %q", a.Name, name)
		} else {
			x.is(form, "AAAA", "the started machines of app %s in %s", a.Name, name)
		}
		x.leaveOutMachines(machines, false, func(m *registry.Machine) string {
			if m.Region == name {
				return ""
			}
			return "it is in another region"
		})
	default:
		x.NameReason = fmt.Sprintf("nothing of this form is below the app's name %s.internal", a.Name)
	}
}

// listed describes the items of the list of that name.
func listed(name string) string {
	if name == "vms" {
		return "ids and regions"
	}
	return "regions"
}

func (x *explainer) vm(a *registry.App, machines []*registry.Machine, id string) {
	const form = "<id>.vm.<app>.internal"
	machines = slices.DeleteFunc(machines, func(m *registry.Machine) bool { return m.ID != id })
	switch {
	case len(machines) == 0:
		x.isNot(form, "app %s has no machine %q", a.Name, id)
	case x.Finding == zone.NXDomain:
		x.isNot(form, "app %s has no machine %s that is deployed", a.Name, id)
	default:
		x.is(form, "AAAA", "machine %s of app %s, if it is started", id, a.Name)
	}
	x.leaveOutMachines(machines, false, nil)
}

func (x *explainer) nearest(q *wire.Query, a *registry.App, machines []*registry.Machine, top string) {
	listed := make(map[netip.Addr]bool)
	q.Type = wire.TypeAAAA // whatever type was asked for
	_, records, _ := x.answer(q)
	for _, rr := range records {
		addr, _ := netip.AddrFromSlice(rr.(*dns.AAAA).AAAA)
		listed[addr] = true
	}
	count := strings.TrimPrefix(top, "top")
	order := "nearest to " + x.Region
	if x.Region == "" {
		order = "in the order of their addresses, as the client's region is unknown"
	}
	first, before := count+" started machines", count+" others come"
	if count == "1" {
		first, before = "started machine", "1 other comes"
	}
	x.is("top<N>.nearest.of.<app>.internal", "AAAA and TXT", "the first %s of app %s, %s", first, a.Name, order)
	x.leaveOutMachines(machines, false, func(m *registry.Machine) string {
		if !m.Started() || listed[m.Address] {
			return ""
		}
		if ms, known := x.snap.Geography().Ping(x.Region, m.Region); known {
			return fmt.Sprintf("%s before it: it is %d ms away", before, ms)
		}
		return before + " before it: nothing tells how far away it is"
	})
}

// fromText explains a name made of a text that machines have, cut into labels at its dots.
// texts returns the texts of a machine. A name of at most bare labels has no data, nor has
// a name that is only above others.
func (x *explainer) fromText(a *registry.App, machines []*registry.Machine, form, what string, labels []string, bare int, texts func(*registry.Machine) []string) {
	has := func(m *registry.Machine) bool {
		return slices.ContainsFunc(texts(m), func(text string) bool {
			want := strings.Split(registry.Fold(text), ".")
			slices.Reverse(want)
			return slices.Equal(want, labels)
		})
	}
	found := slices.ContainsFunc(machines, func(m *registry.Machine) bool { return m.Deployed() && has(m) })
	switch {
	case x.Finding == zone.NXDomain:
		x.isNot(form, "no deployed machine of app %s has this %s", a.Name, what)
		machines = slices.DeleteFunc(machines, func(m *registry.Machine) bool { return !has(m) })
		x.leaveOutMachines(machines, true, nil)
	case len(labels) <= bare || !found:
		x.above(what + " that ends so")
	default:
		x.is(form, "AAAA", "the started machines of app %s with this %s", a.Name, what)
		x.leaveOutMachines(machines, false, func(m *registry.Machine) string {
			if has(m) {
				return ""
			}
			return "it does not have this " + what
		})
	}
}

// flycast explains the names below flycast.
func (x *explainer) flycast(labels []string) {
	if x.Finding == zone.NXDomain {
		x.isNot("<app>.flycast", "no app called %q has a Flycast address in the network", dotted(labels))
		return
	}
	x.is("<app>.flycast", "AAAA", "the Flycast addresses in the network of apps called %s", labels[0])
}

// reverse explains the names below a.a.d.f.ip6.arpa.
func (x *explainer) reverse(digits []string) {
	const form = "<address>.ip6.arpa"
	addr, ok := parseDigits(digits)
	switch n, _ := registry.NetworkOf(addr); {
	case !ok:
		x.NameReason = "it is not made of the hexadecimal digits of an address"
		return
	case len(digits) < 28 && x.Finding == zone.NXDomain:
		x.NameReason = "no address of the network that has a name begins so"
		return
	case len(digits) < 28:
		x.NameReason = "a name above those of addresses; it has no data itself"
		return
	case x.Finding != zone.NXDomain:
		x.is(form, "PTR", "the name of what has the address %v", addr)
		return
	case n != x.Network:
		x.isNot(form, "%v is not in the network", addr)
		return
	default:
		x.isNot(form, "nothing that has a name is at %v", addr)
	}
	machines := x.everyMachine()
	x.leaveOutMachines(slices.DeleteFunc(machines, func(m *registry.Machine) bool { return m.Address != addr }), true, nil)
	if p := x.snap.PeerAt(addr); p != nil {
		x.leaveOutPeer(p)
	}
}

// parseDigits returns the address in fdaa::/16 that continues with those digits, and ends
// with zeros.
func parseDigits(digits []string) (netip.Addr, bool) {
	if len(digits) > 28 || slices.ContainsFunc(digits, func(d string) bool { return len(d) != 1 }) {
		return netip.Addr{}, false
	}
	b, err := hex.DecodeString("fdaa" + strings.Join(digits, "") + strings.Repeat("0", 28-len(digits)))
	addr, _ := netip.AddrFromSlice(b)
	return addr, err == nil
}

// dotted returns labels, the rightmost first, in presentation format: a dot inside a label
// has a backslash before it.
func dotted(labels []string) string {
	names := make([]string, len(labels))
	for i, l := range labels {
		names[len(labels)-1-i] = strings.ReplaceAll(l, ".", `\.`)
	}
	return strings.Join(names, ".")
}
