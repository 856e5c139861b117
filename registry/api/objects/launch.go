package objects

import (
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
)

// A Launch is what Fly's clients send to create or update a machine.
type Launch struct {
	ID     string // "" if it is to be allocated
	Region string // "" if it is not given
	Config jsontext.Value

	name, state, address, version string
	skipLaunch                    bool
	form                          *Form // with the fields that the server does not read
}

// requestFields are fields of a Launch that are about the request and not fields of
// the machine.
var requestFields = []string{
	"current_version", "lease_ttl", "lsvd", "min_secrets_version", "skip_health_checks", "skip_launch",
	"skip_secrets", "skip_service_registration",
}

// ParseLaunch parses a body. What the server reads of config is checked later, when
// the machine is made. name is the machine's name in faults.
func ParseLaunch(name string, body []byte) (*Launch, error) {
	f, err := ParseForm(name, body)
	if err != nil {
		return nil, err
	}
	l := &Launch{
		form: f, ID: registry.Fold(f.String("id")), name: f.String("name"), state: f.String("state"),
		Region: registry.Fold(f.String("region")), address: f.String("private_ip"), version: f.String("current_version"),
		skipLaunch: f.Bool("skip_launch"), Config: f.take("config", "an object", jsontext.KindBeginObject),
	}
	for _, name := range requestFields {
		f.Take(name)
	}
	return l, f.Faults.Err()
}

// Create returns a new machine of a, with a free id and a free address if l gives
// none, and its object.
func (l *Launch) Create(s *registry.Snapshot, a *registry.App, now time.Time) (*registry.Machine, []byte, error) {
	made := *l // Create may be called again, on another registry
	if err := made.allocate(s, a); err != nil {
		return nil, nil, err
	}
	object := made.object(now).JSON()
	m, err := ParseMachine(registry.MachineKey{App: a.AppKey(), ID: made.ID}, object)
	return m, object, err
}

// allocate gives a machine of a what l does not give.
func (l *Launch) allocate(s *registry.Snapshot, a *registry.App) (err error) {
	if l.ID == "" {
		if l.ID, err = newMachineID(s, a); err != nil {
			return err
		}
	} else if Live(s, registry.MachineKey{App: a.AppKey(), ID: l.ID}) != nil {
		return Failf(http.StatusConflict, "the app %s has a machine %s already", registry.Quote(a.Name), registry.Quote(l.ID))
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
		l.name = l.ID
	}
	return nil
}

// object returns a new machine's object: what was allocated and given, then the
// fields that the server does not read, as they came.
func (l *Launch) object(now time.Time) *format.Object {
	o := format.NewObject()
	o.Set("id", format.JSONString(l.ID))
	o.Set("name", format.JSONString(l.name))
	o.Set("state", format.JSONString(l.state))
	if l.Region != "" {
		o.Set("region", format.JSONString(l.Region))
	}
	o.Set("private_ip", format.JSONString(l.address))
	at := format.JSONString(now.Format(time.RFC3339))
	for _, f := range []struct {
		name  string
		value []byte // unless the client gives another
	}{
		{"instance_id", format.JSONString(newInstanceID(now))},
		{"created_at", at},
		{"updated_at", at},
		{"events", fmt.Appendf(nil, `[{"type":"launch","status":"created","source":"user","timestamp":%d}]`, now.UnixMilli())},
	} {
		if given := l.form.Take(f.name); given != nil {
			f.value = given
		}
		o.Set(f.name, f.value)
	}
	if l.Config == nil {
		l.Config = jsontext.Value("{}")
	}
	o.Set("config", l.Config)
	for _, name := range l.form.Rest() {
		o.Set(name, l.form.Value(name))
	}
	return o
}

// Update returns old with the config of l, as a new version of it, and its object.
// The machine is started, unless l says otherwise.
func (l *Launch) Update(old *registry.Machine, now time.Time) (*registry.Machine, []byte, error) {
	o, err := objectOf(old)
	if err != nil {
		return nil, nil, err
	}
	if err := l.fits(old, o); err != nil {
		return nil, nil, err
	}
	o.Set("config", l.Config)
	o.Set("instance_id", format.JSONString(newInstanceID(now)))
	touch(o, now)
	if !l.skipLaunch {
		o.Set("state", format.JSONString(registry.StateStarted))
	}
	m, err := ParseMachine(old.MachineKey(), o.JSON())
	return m, o.JSON(), err
}

// fits faults fields that an update cannot change, and refuses an update that was
// made for another version of the machine.
func (l *Launch) fits(m *registry.Machine, o *format.Object) error {
	if v := o.Text("instance_id"); l.version != "" && l.version != v {
		return Failf(http.StatusPreconditionFailed, "current_version is %s, and the machine's is %s", registry.Quote(l.version), registry.Quote(v))
	}
	var faults registry.Faults
	for _, f := range []struct{ field, given, is string }{
		{"id", l.ID, m.ID}, {"region", l.Region, m.Region}, {"private_ip", l.address, m.Address.String()},
		{"name", l.name, o.Text("name")},
	} {
		if f.given != "" && f.given != f.is {
			faults = append(faults, registry.Fault{
				Object: m.String(), Field: f.field, Problem: "cannot be changed from " + registry.Quote(f.is) + " to " + registry.Quote(f.given) + " here",
			})
		}
	}
	return faults.Err()
}
