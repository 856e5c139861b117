package api

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api/objects"
	"github.com/internaldns/internaldns/registry/format"
)

// machineKey returns the key of the machine that the path names. Its app exists, or
// did when the request came; the machine need not exist.
func (c *call) machineKey() (registry.MachineKey, error) {
	app, err := c.app()
	return registry.MachineKey{App: app, ID: registry.Fold(c.r.PathValue("id"))}, err
}

// machineToChange returns the key of the machine that the path names, and what the
// request demands of it.
func (c *call) machineToChange() (k registry.MachineKey, p objects.Precondition, err error) {
	if k, err = c.machineKey(); err != nil {
		return k, p, err
	}
	p, err = c.precondition()
	return k, p, err
}

// getMachine is GET /v1/apps/{app}/machines/{id}.
func (c *call) getMachine() error {
	k, err := c.machineKey()
	if err != nil {
		return err
	}
	m := objects.Last(c.snap, k)
	if m == nil {
		return objects.NoMachine(k.ID)
	}
	object, err := format.MachineObject(m)
	if err != nil {
		return err
	}
	c.etag(m.Modified)
	c.setLease(k)
	c.send(http.StatusOK, object)
	return nil
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

// LeaseHeader is the response header that says how long a machine is registered
// unless it is put again, such as "ttl=30s; expires=2026-11-21T12:00:00Z". It is
// absent if the machine has no lease.
const LeaseHeader = "Internaldns-Lease"

func (c *call) setLease(k registry.MachineKey) {
	if l, leased := c.api.Keeper.Lease(k); leased {
		c.w.Header().Set(LeaseHeader, "ttl="+l.TTL.String()+"; expires="+l.Expires.UTC().Format(time.RFC3339Nano))
	}
}

// The bounds of a lease. With less than minTTL, a client that is late once because
// of a lost packet would lose its machine; above maxTTL, a lease has no use.
const (
	minTTL = time.Second
	maxTTL = 7 * 24 * time.Hour
)

// ttl returns the parameter ttl, such as 30s; without it 0, which is no lease.
func (c *call) ttl() (time.Duration, error) {
	v, given := c.query["ttl"]
	if !given {
		return 0, nil
	}
	ttl, err := time.ParseDuration(v[0])
	if err != nil || ttl < minTTL || ttl > maxTTL {
		return 0, failf(http.StatusBadRequest, "ttl must be a time from %v to %v, such as 30s, got %s", minTTL, maxTTL, registry.Quote(v[0]))
	}
	return ttl, nil
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
	m, err := objects.ParseMachine(k, body)
	if err != nil {
		return err
	}
	created := false
	err = c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		a := s.App(k.App.Network, k.App.Name)
		if a == nil {
			return w, objects.NoApp(k.App.Name)
		}
		old := objects.Live(s, k)
		if err := cond.CheckMachine(old); err != nil {
			return w, err
		}
		created = old == nil
		return registry.Write{Events: objects.Replace(s, a, m), Lease: &lease}, nil
	})
	if err != nil {
		return err
	}
	c.setLease(k)
	c.send(okOrCreated(created), body)
	return nil
}

// createMachine is POST /v1/apps/{app}/machines.
func (c *call) createMachine() error {
	app, err := c.app()
	if err != nil {
		return err
	}
	body, err := c.readBody()
	if err != nil {
		return err
	}
	l, err := objects.ParseLaunch("machine", body)
	if err != nil {
		return err
	}
	if l.Region == "" {
		l.Region = c.region()
	}
	lease, err := c.ttl()
	if err != nil {
		return err
	}
	cond, err := c.precondition()
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	var made *registry.Machine
	var object []byte
	err = c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		a := s.App(app.Network, app.Name)
		if a == nil {
			return w, objects.NoApp(app.Name)
		}
		if err := cond.CheckMachine(objects.Live(s, registry.MachineKey{App: app, ID: l.ID})); err != nil { // none without an id
			return w, err
		}
		if made, object, err = l.Create(s, a, now); err != nil {
			return w, err
		}
		return registry.Write{Events: objects.Replace(s, a, made), Lease: &lease}, nil
	})
	if err != nil {
		return err
	}
	c.setLease(registry.MachineKey{App: app, ID: made.ID})
	c.send(http.StatusOK, object)
	return nil
}

// region returns the region of a machine that is created without one: that of the
// client, if it is in the registry, else the server's, else "".
func (c *call) region() string {
	if from, err := netip.ParseAddrPort(c.r.RemoteAddr); err == nil {
		addr := from.Addr().WithZone("")
		if m := c.snap.MachineAt(addr); m != nil && c.who.sees(m.Network) {
			return m.Region
		}
		if p := c.snap.PeerAt(addr); p != nil && p.Region != "" && c.who.sees(p.Network()) {
			return p.Region
		}
	}
	return c.api.Region
}

// change writes the machine that change makes of the one of k, unless it is nil.
func (c *call) change(k registry.MachineKey, cond objects.Precondition, change func(old *registry.Machine) (*registry.Machine, error)) error {
	return c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		old, err := objects.Existing(s, k, cond)
		if err != nil {
			return w, err
		}
		m, err := change(old)
		if m != nil && err == nil {
			w.Events = []registry.Event{registry.Put(m)}
		}
		return w, err
	})
}

// updateMachine is POST /v1/apps/{app}/machines/{id}: another config, and with it
// another version. The machine is started, unless skip_launch is set.
func (c *call) updateMachine() error {
	k, cond, err := c.machineToChange()
	if err != nil {
		return err
	}
	body, err := c.readBody()
	if err != nil {
		return err
	}
	name := "machine " + registry.Quote(k.ID)
	l, err := objects.ParseLaunch(name, body)
	if err != nil {
		return err
	}
	if l.Config == nil {
		return registry.Faults{{Object: name, Field: "config", Problem: "is missing"}}
	}
	now := time.Now().UTC()
	var object []byte
	err = c.change(k, cond, func(old *registry.Machine) (m *registry.Machine, err error) {
		m, object, err = l.Update(old, now)
		return m, err
	})
	if err != nil {
		return err
	}
	c.setLease(k)
	c.send(http.StatusOK, object)
	return nil
}

// startMachine, stopMachine and suspendMachine are POST …/start, …/stop and
// …/suspend. They record a state: the server runs no machines. Their bodies say how
// to stop a process, which the server does not read.

func (c *call) startMachine() error {
	before, err := c.setState(registry.StateStarted)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, struct {
		Previous string `json:"previous_state"`
		Migrated bool   `json:"migrated"`
		NewHost  string `json:"new_host"`
	}{Previous: before})
}

func (c *call) stopMachine() error { return c.changeState("stopped") }

func (c *call) suspendMachine() error { return c.changeState("suspended") }

func (c *call) changeState(state string) error {
	if _, err := c.setState(state); err != nil {
		return err
	}
	return c.answer(http.StatusOK, okBody)
}

// setState gives the machine of the path a state, in its object, too, and returns
// the one before. A machine that has the state already is not changed.
func (c *call) setState(state string) (before string, err error) {
	k, cond, err := c.machineToChange()
	if err != nil {
		return "", err
	}
	if _, err := c.readForm(""); err != nil {
		return "", err
	}
	now := time.Now().UTC()
	return before, c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		old, err := objects.Existing(s, k, cond)
		if old == nil {
			if m := objects.Last(s, k); m != nil && !cond.Exists {
				err = failf(http.StatusPreconditionFailed, "the machine is %s, and cannot be %s", m.State, state)
			}
			return w, err
		}
		before = old.State
		if before == state {
			return w, nil
		}
		m, err := objects.InState(old, state, now)
		w.Events = []registry.Event{registry.Put(m)}
		return w, err
	})
}

// deleteMachine is DELETE /v1/apps/{app}/machines/{id}. The machine is in no answer
// any more. It is stored as destroyed, among the last ones of its app.
func (c *call) deleteMachine() error {
	k, cond, err := c.machineToChange()
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	err = c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		old, err := objects.Existing(s, k, cond)
		if old == nil {
			if objects.Last(s, k) != nil && !cond.Exists {
				return w, nil // deleted before: a client that repeats its request learns that it was done
			}
			return w, err
		}
		m, err := objects.InState(old, objects.StateDestroyed, now)
		if err != nil {
			return w, err
		}
		w.Events, w.Lease = objects.Replace(s, s.App(k.App.Network, k.App.Name), m), new(time.Duration)
		return w, nil
	})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, okBody)
}

// liveMachine returns the machine of the path, which must not be gone.
func (c *call) liveMachine() (*registry.Machine, error) {
	k, err := c.machineKey()
	if err != nil {
		return nil, err
	}
	return objects.Existing(c.snap, k, objects.Precondition{})
}

// listMetadata is GET …/metadata.
func (c *call) listMetadata() error {
	m, err := c.liveMachine()
	if err != nil {
		return err
	}
	all := make(map[string]string, len(m.Metadata))
	for _, p := range m.Metadata {
		all[p.Key] = p.Value
	}
	c.etag(m.Modified)
	return c.answer(http.StatusOK, all)
}

// getMetadata is GET …/metadata/{key}.
func (c *call) getMetadata() error {
	m, err := c.liveMachine()
	if err != nil {
		return err
	}
	key := c.r.PathValue("key")
	for _, p := range m.Metadata {
		if p.Key == key {
			c.etag(m.Modified)
			return c.answer(http.StatusOK, struct {
				Value string `json:"value"`
			}{p.Value})
		}
	}
	return failf(http.StatusNotFound, "machine %s has no metadata %s", registry.Quote(m.ID), registry.Quote(key))
}

// setMetadata is POST …/metadata/{key}.
func (c *call) setMetadata() error {
	f, err := c.readForm("metadata " + registry.Quote(c.r.PathValue("key")))
	if err != nil {
		return err
	}
	value := f.String("value")
	if f.Value("value") == nil {
		f.Faultf("value", "is missing")
	}
	if err := f.Faults.Err(); err != nil {
		return err
	}
	return c.editMetadata(func(metadata *format.Object, key string) { metadata.Set(key, format.JSONString(value)) })
}

// deleteMetadata is DELETE …/metadata/{key}.
func (c *call) deleteMetadata() error { return c.editMetadata((*format.Object).Drop) }

// editMetadata changes one key of the machine's metadata and responds 204.
func (c *call) editMetadata(edit func(metadata *format.Object, key string)) error {
	k, cond, err := c.machineToChange()
	if err != nil {
		return err
	}
	key, now := c.r.PathValue("key"), time.Now().UTC()
	if !utf8.ValidString(key) { // JSON cannot hold it
		return failf(http.StatusBadRequest, "the key %s is no UTF-8", registry.Quote(key))
	}
	return c.done(http.StatusNoContent, c.change(k, cond, func(old *registry.Machine) (*registry.Machine, error) {
		return objects.EditMetadata(old, now, func(metadata *format.Object) { edit(metadata, key) })
	}))
}
