package disk

import (
	"fmt"
	"slices"
	"strings"

	"github.com/internaldns/internaldns/registry"
)

// describe writes all of a snapshot, with indexes.
func describe(s *registry.Snapshot) string {
	return fmt.Sprintf("commit %d\n", s.Index) + describeFacts(s.Facts())
}

// describeFacts writes all of f, in order.
func describeFacts(f *registry.Facts) string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, n := range f.Networks {
		add("network %v %s", n.Network, n.Name)
	}
	for _, a := range f.Apps {
		add("app %v %s of %d", a.Network, a.Name, a.Modified)
	}
	for _, m := range f.Machines {
		object, err := m.Raw.JSON()
		add("machine %v %s %q %s %q %v skip=%v %q %s %v of %d", m.Network, m.App, m.ID, m.State, m.Region, m.Address, m.Skip, m.Metadata, object, err, m.Modified)
	}
	for _, p := range f.Peers {
		add("peer %v %s %s of %d", p.Address, p.Name, p.Region, p.Modified)
	}
	for _, c := range f.Flycast {
		add("flycast %v %v %s", c.Address, c.Owner, c.App)
	}
	for _, r := range f.Regions {
		add("region %+v", r)
	}
	for _, r := range f.RTTs {
		add("rtt %+v", r)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}
