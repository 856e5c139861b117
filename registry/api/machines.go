package api

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
)

// machineKey returns the key of the machine that the path names. Its app is
// there, or was when the request came; the machine need not be.
func (c *call) machineKey() (registry.MachineKey, error) {
	app, err := c.app()
	return registry.MachineKey{App: app, ID: registry.Fold(c.r.PathValue("id"))}, err
}

// live returns the machine of k that is not gone, or nil.
func live(s *registry.Snapshot, k registry.MachineKey) *registry.Machine {
	m := s.Machine(k.ID)
	if m == nil || m.Network != k.App.Network || m.App != k.App.Name {
		return nil
	}
	return m
}

// lastOf returns the machine of k, or else the one of them that went last, or
// nil.
func lastOf(s *registry.Snapshot, k registry.MachineKey) *registry.Machine {
	if m := live(s, k); m != nil {
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

// getMachine is GET /v1/apps/{app}/machines/{id}.
func (c *call) getMachine() error {
	k, err := c.machineKey()
	if err != nil {
		return err
	}
	m := lastOf(c.snap, k)
	if m == nil {
		return noMachine(k.ID)
	}
	object, err := format.MachineObject(m)
	if err != nil {
		return err
	}
	c.etag(m.Modified)
	c.lease(k)
	c.send(http.StatusOK, object)
	return nil
}

// LeaseHeader is the response header that says how long a machine stays without
// being put again, such as "ttl=30s; expires=2026-11-21T12:00:00Z". Machines
// that are there for good come without it.
const LeaseHeader = "Internaldns-Lease"

func (c *call) lease(k registry.MachineKey) {
	if l, leased := c.api.Keeper.Lease(k); leased {
		c.w.Header().Set(LeaseHeader, "ttl="+l.TTL.String()+"; expires="+l.Expires.UTC().Format(time.RFC3339Nano))
	}
}

// A filter selects the machines that a list shows.
type filter struct {
	registry.Filter
	states []string // only those in one of these states, if any
	gone   bool     // those that are gone as well
}

// filter returns the filter that the query gives. A client that names states gets
// all machines in them, gone or not.
func (c *call) filter() (f filter, err error) {
	if f.gone, err = c.flag("include_deleted"); err != nil {
		return f, err
	}
	f.Regions, f.Groups, f.states = c.listParam("region"), c.listParam("process_group"), c.listParam("state")
	f.gone = f.gone || len(f.states) > 0
	for name, values := range c.query {
		if key, ok := strings.CutPrefix(name, "metadata."); ok {
			for _, v := range values {
				f.Metadata = append(f.Metadata, registry.Pair{Key: key, Value: v})
			}
		}
	}
	return f, nil
}

// listParam returns the values of a parameter that may be given several times,
// or with several values between commas, in lower case.
func (c *call) listParam(name string) (values []string) {
	for _, v := range c.query[name] {
		for s := range strings.SplitSeq(v, ",") {
			if s != "" {
				values = append(values, registry.Fold(s))
			}
		}
	}
	return values
}

// machines returns the machines of a that f selects, by id.
func (f *filter) machines(s *registry.Snapshot, a *registry.App) (list []*registry.Machine) {
	add := func(m *registry.Machine) {
		if len(f.states) == 0 || slices.Contains(f.states, m.State) {
			list = append(list, m)
		}
	}
	for m := range s.MachinesWhere(a, f.Filter) {
		add(m)
	}
	if f.gone {
		for m := range s.GoneMachines(a) {
			if f.Selects(m) {
				add(m)
			}
		}
		slices.SortStableFunc(list, func(a, b *registry.Machine) int { return strings.Compare(a.ID, b.ID) })
	}
	return list
}

// listMachines is GET /v1/apps/{app}/machines.
func (c *call) listMachines() error {
	k, err := c.app()
	if err != nil {
		return err
	}
	f, err := c.filter()
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/json")
	separator := "["
	for _, m := range f.machines(c.snap, c.snap.App(k.Network, k.Name)) {
		object, err := format.MachineObject(m)
		if err != nil {
			return err
		}
		c.slowly()
		c.w.Write([]byte(separator))
		if _, err := c.w.Write(object); err != nil {
			return err
		}
		separator = ","
	}
	if separator == "[" {
		c.w.Write([]byte(separator))
	}
	_, err = c.w.Write([]byte("]\n"))
	return err
}

// putMachine is PUT /v1/apps/{app}/machines/{id}: the whole object, with or
// without a lease.
func (c *call) putMachine() error {
	k, err := c.machineKey()
	if err != nil {
		return err
	}
	lease, err := c.ttl()
	if err != nil {
		return err
	}
	cond, err := c.precondition()
	if err != nil {
		return err
	}
	body, err := c.readBody()
	if err != nil {
		return err
	}
	m, err := parseMachine(k, body)
	if err != nil {
		return err
	}
	created := false
	err = c.write(func(s *registry.Snapshot) (registry.Write, error) {
		a := s.App(k.App.Network, k.App.Name)
		if a == nil {
			return registry.Write{}, noApp(k.App.Name)
		}
		old := live(s, k)
		if err := cond.checkMachine(old); err != nil {
			return registry.Write{}, err
		}
		created = old == nil
		return registry.Write{Events: replace(s, a, m), Lease: &lease}, nil
	})
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	c.lease(k)
	c.send(status, body)
	return nil
}

// Leases are bounded from below, so that a client which is late once by a lost
// packet does not lose its machine, and from above, where a machine is as good
// as there for good.
const (
	minTTL = time.Second
	maxTTL = 7 * 24 * time.Hour
)

// ttl returns the parameter ttl, such as 30s; 0, which is for good, without it.
func (c *call) ttl() (time.Duration, error) {
	v, given := c.query["ttl"]
	if !given {
		return 0, nil
	}
	ttl, err := time.ParseDuration(v[0])
	if err != nil || ttl < minTTL || ttl > maxTTL {
		return 0, failf(http.StatusBadRequest, "ttl must be a time from %v to %v, such as 30s, got %s", minTTL, maxTTL, quote(v[0]))
	}
	return ttl, nil
}

func (p precondition) checkMachine(m *registry.Machine) error {
	if m == nil {
		return p.check(false, 0)
	}
	return p.check(true, m.Modified)
}

// parseMachine decodes the object of the machine k. Everything that is wrong
// with it by itself is in the error.
func parseMachine(k registry.MachineKey, object []byte) (*registry.Machine, error) {
	if object == nil {
		return nil, failf(http.StatusBadRequest, "the body is empty: want the machine's object")
	}
	m, err := format.ParseMachine(object)
	var faults registry.Faults
	if err != nil && !errors.As(err, &faults) {
		return nil, malformed(err, "")
	}
	if m.ID != k.ID && !hasFault(faults, "id") && !hasFault(faults, "") {
		faults = append(faults, registry.Fault{Field: "id", Problem: quote(m.ID) + " is not the id of the path"})
	}
	m.Network, m.App, m.ID = k.App.Network, k.App.Name, k.ID
	for i := range faults {
		faults[i].Object = m.String()
	}
	return m, faults.Err()
}

// replace returns the events that put m in the place of all machines of its id.
// If it is gone, the app's oldest gone machines make room for it.
func replace(s *registry.Snapshot, a *registry.App, m *registry.Machine) []registry.Event {
	events := []registry.Event{registry.Put(m)}
	if !m.Gone() {
		return events
	}
	gone := slices.Collect(s.GoneMachines(a))
	slices.SortStableFunc(gone, func(a, b *registry.Machine) int { return cmp.Compare(a.Modified, b.Modified) })
	gone = slices.DeleteFunc(gone, func(o *registry.Machine) bool { return o.ID == m.ID })
	for _, o := range gone[:max(0, len(gone)+1-maxGone)] {
		k := registry.MachineKey{App: registry.AppKey{Network: a.Network, Name: a.Name}, ID: o.ID}
		if live(s, k) == nil { // a file can have both; deleting deletes both
			events = append(events, registry.Delete(registry.Key{Kind: registry.KindMachine, Network: a.Network, Name: a.Name, ID: o.ID}))
		}
	}
	return events
}

// maxGone is how many destroyed machines of an app are kept for those who ask
// what became of one. A machine takes some 650 octets.
const maxGone = 100

// hasFault reports whether one of the faults is in that field.
func hasFault(faults registry.Faults, field string) bool {
	return slices.ContainsFunc(faults, func(f registry.Fault) bool { return f.Field == field })
}
