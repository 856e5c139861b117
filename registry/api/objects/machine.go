package objects

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
)

// StateDestroyed is the state of machines that were deleted.
const StateDestroyed = "destroyed"

// Live returns the machine of k that is not gone, or nil.
func Live(s *registry.Snapshot, k registry.MachineKey) *registry.Machine {
	m := s.Machine(k.ID)
	if m == nil || m.AppKey() != k.App {
		return nil
	}
	return m
}

// Last returns the machine of k, or else the last gone one of that key, or nil.
func Last(s *registry.Snapshot, k registry.MachineKey) *registry.Machine {
	if m := Live(s, k); m != nil {
		return m
	}
	a := s.App(k.App.Network, k.App.Name)
	if a == nil {
		return nil
	}
	var last *registry.Machine
	for m := range s.GoneMachines(a) {
		if m.ID == k.ID && (last == nil || m.Modified > last.Modified) {
			last = m
		}
	}
	return last
}

// Existing returns the machine of k, which must not be gone and must meet p.
func Existing(s *registry.Snapshot, k registry.MachineKey, p Precondition) (*registry.Machine, error) {
	if s.App(k.App.Network, k.App.Name) == nil {
		return nil, NoApp(k.App.Name)
	}
	m := Live(s, k)
	if err := p.CheckMachine(m); err != nil {
		return nil, err
	}
	if m == nil {
		return nil, NoMachine(k.ID)
	}
	return m, nil
}

// CheckMachine is Check for a machine, or nil.
func (p Precondition) CheckMachine(m *registry.Machine) error {
	if m == nil {
		return p.Check(false, 0)
	}
	return p.Check(true, m.Modified)
}

// ParseMachine decodes the object of the machine k. The error has all that is
// wrong with it by itself.
func ParseMachine(k registry.MachineKey, object []byte) (*registry.Machine, error) {
	if object == nil {
		return nil, Failf(http.StatusBadRequest, "the body is empty: want the machine's object")
	}
	m, err := format.ParseMachine(object)
	var faults registry.Faults
	if err != nil && !errors.As(err, &faults) {
		return nil, malformed(err, "")
	}
	ofID := func(f registry.Fault) bool { return f.Field == "id" || f.Field == "" }
	if m.ID != k.ID && !slices.ContainsFunc(faults, ofID) {
		faults = append(faults, registry.Fault{Field: "id", Problem: registry.Quote(m.ID) + " is not the id of the path"})
	}
	m.Network, m.App, m.ID = k.App.Network, k.App.Name, k.ID
	for i := range faults {
		faults[i].Object = m.String()
	}
	return m, faults.Err()
}

// MaxGone is how many destroyed machines of an app are stored, for clients that
// ask what became of one. A machine takes some 650 octets.
const MaxGone = 100

// Replace returns the events that put m in the place of all machines of its id.
// If m is gone, they delete the app's oldest gone machines beyond MaxGone.
func Replace(s *registry.Snapshot, a *registry.App, m *registry.Machine) []registry.Event {
	events := []registry.Event{registry.Put(m)}
	if !m.Gone() {
		return events
	}
	gone := slices.Collect(s.GoneMachines(a))
	slices.SortStableFunc(gone, func(a, b *registry.Machine) int { return cmp.Compare(a.Modified, b.Modified) })
	gone = slices.DeleteFunc(gone, func(o *registry.Machine) bool { return o.ID == m.ID })
	for _, o := range gone[:max(0, len(gone)+1-MaxGone)] {
		k := registry.MachineKey{App: a.AppKey(), ID: o.ID}
		if Live(s, k) == nil { // an imported file can have both; deleting deletes both
			events = append(events, registry.Delete(o.Key()))
		}
	}
	return events
}

// InState returns m in another state, at the time now.
func InState(m *registry.Machine, state string, now time.Time) (*registry.Machine, error) {
	o, err := objectOf(m)
	if err != nil {
		return nil, err
	}
	o.Set("state", format.JSONString(state))
	touch(o, now)
	other := *m
	other.State, other.Raw, other.Modified = state, registry.NewRaw(o.JSON()), 0
	return &other, nil
}

// MaxObject is the largest object of a machine, in octets, that a client can send.
// One takes some 600, and one with files in its config some thousands.
const MaxObject = 1 << 20

// EditMetadata returns m with its metadata changed by edit, at the time now; nil if
// edit changes nothing.
func EditMetadata(m *registry.Machine, now time.Time, edit func(metadata *format.Object)) (*registry.Machine, error) {
	o, err := objectOf(m)
	if err != nil {
		return nil, err
	}
	before := len(o.JSON())
	config := o.Object("config")
	metadata := config.Object("metadata")
	edit(metadata)
	config.Set("metadata", metadata.JSON())
	o.Set("config", config.JSON())
	after := len(o.JSON())
	touch(o, now)
	other, err := ParseMachine(m.MachineKey(), o.JSON())
	switch {
	case err != nil:
		return nil, err
	case after > MaxObject && after > before: // many small bodies can make a large object
		return nil, registry.Faults{{Object: m.String(), Field: "config", Problem: fmt.Sprintf(
			"the machine's object would be larger than %d octets, the most that can be sent", MaxObject)}}
	case slices.Equal(other.Metadata, m.Metadata):
		return nil, nil
	}
	return other, nil
}

// objectOf returns the object of m, to be changed.
func objectOf(m *registry.Machine) (*format.Object, error) {
	octets, err := format.MachineObject(m)
	if err != nil {
		return nil, err
	}
	return format.ParseObject(octets)
}

// touch sets the time of an object's last change, if it has one.
func touch(o *format.Object, now time.Time) {
	if o.Value("updated_at") != nil {
		o.Set("updated_at", format.JSONString(now.Format(time.RFC3339)))
	}
}
