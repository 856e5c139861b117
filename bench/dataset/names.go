package dataset

import (
	"net/netip"
	"slices"
	"strings"
)

// Kind is what a query asks for.
type Kind uint8

// The kinds of names, as Mix weighs them.
const (
	AppAAAA      Kind = iota // <app>.internal AAAA
	GlobalAAAA               // global.<app>.internal AAAA
	RegionAAAA               // <region>.<app>.internal AAAA
	GroupAAAA                // <group>.process.<app>.internal AAAA
	MachineAAAA              // <id>.vm.<app>.internal AAAA
	MetadataAAAA             // <value>.<key>.kv._metadata.<app>.internal AAAA
	MachinesTXT              // vms.<app>.internal TXT
	RegionsTXT               // regions.<app>.internal TXT
	AppA                     // <app>.internal A: NODATA
	Nonexistent              // a name that does not exist: NXDOMAIN
	numKinds

	allTXT Kind = 0xff // all.vms and all.regions: in the master file, and not in queries
)

var kindNames = [numKinds]string{"app", "global", "region", "group", "machine", "metadata", "vms", "regions", "app-a", "nxdomain"}

func (k Kind) String() string {
	if k < numKinds {
		return kindNames[k]
	}
	return "other"
}

// name is one owner and its records: either addresses or a text.
type name struct {
	kind  Kind
	owner string // without the dot at the end
	addrs []netip.Addr
	text  []string // the character-strings of the one TXT record, nil if there is none
}

// names appends the names of the app. A name with neither addresses nor text exists
// because of machines that are deployed and not started: NODATA.
func (a *App) names(dst []name) []name {
	base := a.Name + ".internal"
	start := len(dst)
	if a.seen == nil {
		a.seen = make(map[string]int)
	}
	clear(a.seen)

	exists := func(kind Kind, owner string) int {
		i, ok := a.seen[owner]
		if !ok {
			i = len(dst)
			a.seen[owner] = i
			dst = append(dst, name{kind: kind, owner: owner})
		}
		return i
	}
	exists(AppAAAA, base)
	exists(GlobalAAAA, "global."+base)
	for k := range a.Machines {
		m := &a.Machines[k]
		if !m.Deployed() {
			continue
		}
		owners := []int{
			exists(AppAAAA, base),
			exists(GlobalAAAA, "global."+base),
			exists(RegionAAAA, m.Region+"."+base),
			exists(GroupAAAA, m.Group()+".process."+base),
			exists(MachineAAAA, m.ID+".vm."+base),
		}
		for _, p := range m.Metadata {
			owners = append(owners, exists(MetadataAAAA, p.Value+"."+p.Key+".kv._metadata."+base))
		}
		if m.Started() {
			for _, i := range owners {
				dst[i].addrs = append(dst[i].addrs, m.Addr)
			}
		}
	}
	for i := start; i < len(dst); i++ {
		slices.SortFunc(dst[i].addrs, netip.Addr.Compare)
	}
	vms, allVMs := a.lists(func(m *Machine) string { return m.ID + " " + m.Region })
	regions, allRegions := a.lists(func(m *Machine) string { return m.Region })
	return append(dst,
		name{kind: MachinesTXT, owner: "vms." + base, text: vms},
		name{kind: allTXT, owner: "all.vms." + base, text: allVMs},
		name{kind: RegionsTXT, owner: "regions." + base, text: regions},
		name{kind: allTXT, owner: "all.regions." + base, text: allRegions},
	)
}

// lists returns the texts with an item for each started and for each deployed
// machine, sorted and without repetitions.
func (a *App) lists(item func(*Machine) string) (started, deployed []string) {
	for k := range a.Machines {
		m := &a.Machines[k]
		if m.Deployed() {
			deployed = append(deployed, item(m))
		}
		if m.Started() {
			started = append(started, item(m))
		}
	}
	slices.Sort(started)
	slices.Sort(deployed)
	return charStrings(slices.Compact(started)), charStrings(slices.Compact(deployed))
}

// charStrings joins the items with commas into character-strings of at most 255
// octets, each cut after the last comma that fits. No items are one empty string.
func charStrings(items []string) []string {
	var all []string
	var b strings.Builder
	for i, item := range items {
		n := len(item)
		if i < len(items)-1 {
			n++
		}
		if b.Len()+n > 255 {
			all = append(all, b.String())
			b.Reset()
		}
		b.WriteString(item)
		if i < len(items)-1 {
			b.WriteByte(',')
		}
	}
	return append(all, b.String())
}
