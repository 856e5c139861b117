package dataset

import (
	"net/netip"
	"slices"
	"strings"
)

// Kind says what a query asks for.
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
	Nonexistent              // a name that nothing gives rise to: NXDOMAIN
	numKinds

	allTXT Kind = 0xff // all.vms and all.regions: in the master file, not asked
)

var kindNames = [numKinds]string{"app", "global", "region", "group", "machine", "metadata", "vms", "regions", "app-a", "nxdomain"}

func (k Kind) String() string {
	if k < numKinds {
		return kindNames[k]
	}
	return "other"
}

// name is one owner and what it says: either addresses or a text.
type name struct {
	kind  Kind
	owner string // without the dot at the end
	addrs []netip.Addr
	text  []string // the character-strings of the one TXT record, nil if there is none
}

// names appends the names that the app gives rise to. A name with neither
// addresses nor text exists because of machines that are not started: NODATA.
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
	vms, allVMs := a.machineLists()
	places, allPlaces := a.regionLists()
	return append(dst,
		name{kind: MachinesTXT, owner: "vms." + base, text: charStrings(vms)},
		name{kind: allTXT, owner: "all.vms." + base, text: charStrings(allVMs)},
		name{kind: RegionsTXT, owner: "regions." + base, text: charStrings(places)},
		name{kind: allTXT, owner: "all.regions." + base, text: charStrings(allPlaces)},
	)
}

// machineLists returns the items of vms and all.vms, by machine id.
func (a *App) machineLists() (started, deployed []string) {
	for k := range a.Machines {
		m := &a.Machines[k]
		if m.Deployed() {
			deployed = append(deployed, m.ID+" "+m.Region)
		}
		if m.Started() {
			started = append(started, m.ID+" "+m.Region)
		}
	}
	slices.Sort(started) // identifiers are all of one length
	slices.Sort(deployed)
	return started, deployed
}

// regionLists returns the items of regions and all.regions.
func (a *App) regionLists() (started, deployed []string) {
	for k := range a.Machines {
		m := &a.Machines[k]
		if m.Deployed() {
			deployed = append(deployed, m.Region)
		}
		if m.Started() {
			started = append(started, m.Region)
		}
	}
	slices.Sort(started)
	slices.Sort(deployed)
	return slices.Compact(started), slices.Compact(deployed)
}

// charStrings joins the items with commas into character-strings, each cut as
// late as 255 octets allow and just after a comma. Nothing is one empty string.
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
