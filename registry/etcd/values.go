package etcd

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
)

// The value of a machine is its object, octet for octet, and that of a round trip is a
// number of milliseconds. Other values are a JSON object of the fields that are not in the
// key. It may have others.

// valueFields returns the fields of an object that are in its value.
func valueFields(object registry.Fact) (fields []registry.Field) {
	if object.Key().Kind == registry.KindFlycast {
		return nil
	}
	for _, f := range object.Fields() {
		if !f.Key {
			fields = append(fields, f)
		}
	}
	return fields
}

// decode makes the object that key and value are, and that is right by itself. It keeps
// nothing of value.
func decode(r *ref, value []byte, revision int64) (registry.Fact, error) {
	object := r.Fact()
	var facts registry.Facts // to be checked
	var err error
	switch o := object.(type) {
	case *registry.App:
		o.Modified, err = uint64(revision), decodeFields(value, o)
	case *registry.Peer:
		o.Modified, err = uint64(revision), decodeFields(value, o)
		if err == nil && o.Address.IsValid() && o.Network() != r.Network {
			err = fmt.Errorf("address: %v is outside the network %v", o.Address, r.Network)
		}
	case *registry.Machine:
		if o, err = decodeMachine(r, value); err != nil {
			return nil, err
		}
		o.Modified, object = uint64(revision), o
	case *registry.Flycast:
		o.App, o.Owner = r.app.Name, r.app.Network
		err = decodeFields(value, o)
	case *registry.RTT:
		var ms uint64
		if ms, err = strconv.ParseUint(string(value), 10, 32); err != nil {
			err = fmt.Errorf("%.40q is no number of whole milliseconds", value)
		}
		o.MS = uint32(ms)
	default:
		err = decodeFields(value, o)
	}
	if err != nil {
		return nil, err
	}
	if object.Key().Kind != registry.KindApp && r.app != (registry.AppKey{}) {
		facts.Add(&registry.App{Network: r.app.Network, Name: r.app.Name})
	}
	facts.Add(object)
	return object, facts.Validate()
}

// decodeFields sets the fields of object that value has. Fields that are null count as
// missing.
func decodeFields(value []byte, object registry.Fact) error {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(value, &members); err != nil {
		return fmt.Errorf("the value cannot be read: %w", err)
	}
	var faults registry.Faults
	for _, f := range valueFields(object) {
		v := members[f.Name]
		if v == nil {
			v = jsontext.Value("null") // which makes it zero
		}
		if v.Kind() == 'n' && !f.Optional {
			faults = append(faults, registry.Fault{Field: f.Name, Problem: "is missing"})
		}
		if err := json.Unmarshal(v, f.Value); err != nil {
			faults = append(faults, registry.Fault{Field: f.Name, Problem: fmt.Sprintf("cannot be read: %v", err)})
		}
		if s, ok := f.Value.(*string); ok && f.Lower {
			*s = registry.Fold(*s)
		}
	}
	return faults.Err()
}

func decodeMachine(r *ref, value []byte) (*registry.Machine, error) {
	m, err := format.ParseMachine(value)
	var faults registry.Faults
	switch {
	case errors.As(err, &faults):
		return nil, faults
	case err != nil:
		return nil, errors.New("the value is no JSON")
	}
	if m.ID != r.ID {
		return nil, fmt.Errorf("id: the object says %.80q, the key %.80q", m.ID, r.ID)
	}
	m.Network, m.App = r.app.Network, r.app.Name
	return m, nil
}

// encode returns the value for an object other than a machine.
func encode(object registry.Fact) []byte {
	if rtt, ok := object.(*registry.RTT); ok {
		return strconv.AppendUint(nil, uint64(rtt.MS), 10)
	}
	value := []byte{'{'}
	for _, f := range valueFields(object) {
		member, err := json.Marshal(f.Value, jsontext.AllowInvalidUTF8(true)) // a region may be called anything
		if err != nil {
			panic(fmt.Sprintf("etcd: %v", err)) // checked facts
		}
		if f.Optional && string(member) == `""` {
			continue
		}
		if len(value) > 1 {
			value = append(value, ',')
		}
		value = fmt.Appendf(value, "%q:%s", f.Name, member)
	}
	return append(value, '}')
}
