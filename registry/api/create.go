package api

import (
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
)

// A launch is what Fly's clients send to create or update a machine.
type launch struct {
	id, name, state, region, address, version string
	skipLaunch                                bool
	config                                    jsontext.Value // nil if not given
	form                                      *form          // with the fields that we do not know
}

// requestFields are fields of a launch that say what to do with it, and are not
// the machine's.
var requestFields = []string{
	"current_version", "lease_ttl", "lsvd", "min_secrets_version", "skip_health_checks", "skip_launch",
	"skip_secrets", "skip_service_registration",
}

// readLaunch reads a body. In config, a key that is given twice is refused, and
// what we read of it is checked when the machine is made.
func (c *call) readLaunch(object string) (l launch, err error) {
	f, err := c.readForm(object)
	if err != nil {
		return l, err
	}
	l = launch{
		form: f, id: registry.Fold(f.text("id")), name: f.text("name"), state: f.text("state"),
		region: registry.Fold(f.text("region")), address: f.text("private_ip"), version: f.text("current_version"),
		skipLaunch: f.boolean("skip_launch"),
	}
	if l.config = f.take("config"); l.config != nil && l.config.Kind() != jsontext.KindBeginObject {
		f.faultf("config", "want an object, got %s", format.KindName(l.config.Kind()))
	}
	for _, name := range requestFields {
		f.take(name)
	}
	return l, f.err()
}

// createMachine is POST /v1/apps/{app}/machines.
func (c *call) createMachine() error {
	app, err := c.app()
	if err != nil {
		return err
	}
	l, err := c.readLaunch("machine")
	if err != nil {
		return err
	}
	if l.region == "" {
		l.region = c.region()
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
	var object *format.Object
	err = c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		a := s.App(app.Network, app.Name)
		if a == nil {
			return w, noApp(app.Name)
		}
		if err := cond.checkMachine(live(s, registry.MachineKey{App: app, ID: l.id})); err != nil { // without an id, there is none
			return w, err
		}
		l := l
		if err := l.allocate(s, a); err != nil {
			return w, err
		}
		object = l.object(now)
		m, err := parseMachine(registry.MachineKey{App: app, ID: l.id}, object.JSON())
		if err != nil {
			return w, err
		}
		w.Events, w.Lease = replace(s, a, m), &lease
		return w, nil
	})
	if err != nil {
		return err
	}
	c.lease(registry.MachineKey{App: app, ID: object.Text("id")})
	c.send(http.StatusOK, object.JSON())
	return nil
}

// region returns the region of a machine that is created without one: that of
// whoever asks, if they are in the registry, else the server's, else "".
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

// allocate gives a machine of a what it was not given.
func (l *launch) allocate(s *registry.Snapshot, a *registry.App) (err error) {
	if l.id == "" {
		if l.id, err = newMachineID(s, a); err != nil {
			return err
		}
	} else if live(s, registry.MachineKey{App: registry.AppKey{Network: a.Network, Name: a.Name}, ID: l.id}) != nil {
		return failf(http.StatusConflict, "the app %s has a machine %s already", quote(a.Name), quote(l.id))
	}
	if l.address == "" {
		addr, err := newMachineAddress(s, a.Network)
		if err != nil {
			return err
		}
		l.address = addr.String()
	}
	if l.state == "" {
		l.state = registry.StateStarted
		if l.skipLaunch {
			l.state = "created"
		}
	}
	if l.name == "" {
		l.name = l.id
	}
	return nil
}

// object returns a machine's object: what was allocated and given, then the
// fields that the server does not read, as they came.
func (l *launch) object(now time.Time) *format.Object {
	o := format.NewObject()
	o.Set("id", format.Quote(l.id))
	o.Set("name", format.Quote(l.name))
	o.Set("state", format.Quote(l.state))
	if l.region != "" {
		o.Set("region", format.Quote(l.region))
	}
	o.Set("private_ip", format.Quote(l.address))
	at := format.Quote(now.Format(time.RFC3339))
	for _, f := range []struct {
		name  string
		value []byte // unless the client gives another
	}{
		{"instance_id", format.Quote(newInstanceID(now))},
		{"created_at", at},
		{"updated_at", at},
		{"events", fmt.Appendf(nil, `[{"type":"launch","status":"created","source":"user","timestamp":%d}]`, now.UnixMilli())},
	} {
		if given := l.form.take(f.name); given != nil {
			f.value = given
		}
		o.Set(f.name, f.value)
	}
	if l.config == nil {
		l.config = jsontext.Value("{}")
	}
	o.Set("config", l.config)
	for _, name := range l.form.rest() {
		o.Set(name, l.form.Value(name))
	}
	return o
}

// updateMachine is POST /v1/apps/{app}/machines/{id}: another config, and with it
// another version. The machine is started, unless skip_launch is set.
func (c *call) updateMachine() error {
	k, err := c.machineKey()
	if err != nil {
		return err
	}
	cond, err := c.precondition()
	if err != nil {
		return err
	}
	l, err := c.readLaunch("machine " + quote(k.ID))
	if err != nil {
		return err
	}
	if l.config == nil {
		return registry.Faults{{Object: l.form.name, Field: "config", Problem: "is missing"}}
	}
	now := time.Now().UTC()
	var object *format.Object
	err = c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		old, err := existing(s, k, cond)
		if err != nil {
			return w, err
		}
		object, err = objectOf(old)
		if err != nil {
			return w, err
		}
		if err := l.fits(old, object); err != nil {
			return w, err
		}
		object.Set("config", l.config)
		object.Set("instance_id", format.Quote(newInstanceID(now)))
		touch(object, now)
		if !l.skipLaunch {
			object.Set("state", format.Quote(registry.StateStarted))
		}
		m, err := parseMachine(k, object.JSON())
		if err != nil {
			return w, err
		}
		w.Events = []registry.Event{registry.Put(m)}
		return w, nil
	})
	if err != nil {
		return err
	}
	c.lease(k)
	c.send(http.StatusOK, object.JSON())
	return nil
}

// fits faults what an update cannot change, and one that was made for another
// version of the machine.
func (l *launch) fits(m *registry.Machine, object *format.Object) error {
	if v := object.Text("instance_id"); l.version != "" && l.version != v {
		return failf(http.StatusPreconditionFailed, "current_version is %s, and the machine's is %s", quote(l.version), quote(v))
	}
	var faults registry.Faults
	for _, f := range []struct{ field, given, is string }{
		{"id", l.id, m.ID}, {"region", l.region, m.Region}, {"private_ip", l.address, m.Address.String()},
		{"name", l.name, object.Text("name")},
	} {
		if f.given != "" && f.given != f.is {
			faults = append(faults, registry.Fault{
				Object: m.String(), Field: f.field, Problem: "cannot be changed from " + quote(f.is) + " to " + quote(f.given) + " here",
			})
		}
	}
	return faults.Err()
}

// existing returns the machine of k, which must be there and as cond asks.
func existing(s *registry.Snapshot, k registry.MachineKey, cond precondition) (*registry.Machine, error) {
	if s.App(k.App.Network, k.App.Name) == nil {
		return nil, noApp(k.App.Name)
	}
	m := live(s, k)
	if err := cond.checkMachine(m); err != nil {
		return nil, err
	}
	if m == nil {
		return nil, noMachine(k.ID)
	}
	return m, nil
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
func touch(object *format.Object, now time.Time) {
	if object.Value("updated_at") != nil {
		object.Set("updated_at", format.Quote(now.Format(time.RFC3339)))
	}
}
