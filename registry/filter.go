package registry

import (
	"iter"
	"slices"
)

// A Filter selects machines of an app. A machine must pass every field; a field
// that is empty lets all pass.
type Filter struct {
	Regions  []string // the machine is in one of these regions; lower case
	Groups   []string // its process group is one of these, in any letter case
	Metadata []Pair   // it has all of these pairs, exactly as they are written
}

// Selects reports whether m passes f.
func (f *Filter) Selects(m *Machine) bool {
	return (len(f.Regions) == 0 || slices.Contains(f.Regions, m.Region)) && f.selectsMetadata(m.Metadata)
}

// selectsMetadata reports whether a machine with that metadata passes f, its region
// aside.
func (f *Filter) selectsMetadata(metadata []Pair) bool {
	for _, p := range f.Metadata {
		if !slices.Contains(metadata, p) {
			return false
		}
	}
	if len(f.Groups) == 0 {
		return true
	}
	_, group := groupOf(metadata)
	return group != "" && slices.ContainsFunc(f.Groups, func(g string) bool { return Fold(g) == Fold(group) })
}

// MachinesWhere yields the machines of a that are not gone and pass f, by id. Its
// cost grows with the machines that it yields and with the metadata rows of the
// field that the fewest rows pass.
func (s *Snapshot) MachinesWhere(a *App, f Filter) iter.Seq[*Machine] {
	return byIDs(func(add func(*Machine) bool) {
		regions := slices.Compact(slices.Sorted(slices.Values(f.Regions)))
		for row := range f.rows(&s.machines, a.number) {
			if len(regions) == 0 {
				s.machines.withRow(row)(add)
			}
			for _, region := range regions {
				s.machines.inRegion(row, region)(add)
			}
		}
	})
}

// rows yields the keys of the metadata rows of an app that pass f, its regions
// aside; with them that of no metadata.
func (f *Filter) rows(x *machineIndex, app uint32) iter.Seq[rowKey] {
	return func(yield func(rowKey) bool) {
		if f.selectsMetadata(nil) && !yield(rowKey{app: app}) {
			return
		}
		for r := range smallest(f.rowSets(x, app)) {
			if f.selectsMetadata(r.pairs) && !yield(r.rowKey) {
				return
			}
		}
	}
}

// rowSets returns sets of metadata rows of an app, each of which has all rows that
// pass f.
func (f *Filter) rowSets(x *machineIndex, app uint32) (sets []iter.Seq[*metadataRow]) {
	for _, p := range f.Metadata {
		sets = append(sets, x.rowsWith(app, p.Key, p.Value))
	}
	if len(f.Groups) > 0 {
		sets = append(sets, func(yield func(*metadataRow) bool) {
			groups := make([]string, len(f.Groups))
			for i, g := range f.Groups {
				groups[i] = Fold(g)
			}
			slices.Sort(groups)
			for _, group := range slices.Compact(groups) {
				for _, key := range groupKeys {
					for r := range x.rowsWith(app, key, group) {
						// A row that has the group under both keys comes twice.
						if k, g := groupOf(r.pairs); k == key && Fold(g) == group && !yield(r) {
							return
						}
					}
				}
			}
		})
	}
	if len(sets) == 0 {
		sets = append(sets, x.rowsOf(app))
	}
	return sets
}

// smallest returns the set with the fewest elements. It counts all sets in step, so
// that its cost grows with the smallest one.
func smallest[T any](sets []iter.Seq[T]) iter.Seq[T] {
	if len(sets) == 1 {
		return sets[0]
	}
	var nexts []func() (T, bool)
	for _, set := range sets {
		next, stop := iter.Pull(set)
		defer stop()
		nexts = append(nexts, next)
	}
	for {
		for i, next := range nexts {
			if _, more := next(); !more {
				return sets[i]
			}
		}
	}
}
