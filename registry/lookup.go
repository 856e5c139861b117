package registry

import "iter"

// GoneMachines yields the gone machines of a, in no order. It costs what it
// yields, not what a has.
func (s *Snapshot) GoneMachines(a *App) iter.Seq[*Machine] {
	return where(s.fleet.at(byApp, appPlace(metadataID{app: a.number}, "")), (*Machine).Gone)
}

// NetworkName returns the name of n, or "" if it has none.
func (s *Snapshot) NetworkName(n Network) string {
	if row := s.network(n); row != nil {
		return row.Name
	}
	return ""
}

// Known reports whether the registry has facts or a name of n, or ever had facts
// on which an answer depends.
func (s *Snapshot) Known(n Network) bool { return s.network(n) != nil || s.NetworkIndex(n) != 0 }
