package etcd

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
)

// The values that are not machine objects. Fields that are not named here are no
// fault.
type (
	peerValue struct {
		Address netip.Addr `json:"address"`
		Region  string     `json:"region,omitzero"`
	}
	networkValue struct {
		Name string `json:"name"`
	}
	regionValue struct {
		Name      string   `json:"name"`
		Latitude  *float64 `json:"latitude"`
		Longitude *float64 `json:"longitude"`
	}
)

// emptyValue is the value of keys that say everything themselves.
const emptyValue = "{}"

// decode makes the object that key and value are: a *registry.App,
// *registry.Machine, … that is right by itself. It keeps nothing of value.
func decode(r *ref, value []byte, revision int64) (registry.Fact, error) {
	var facts registry.Facts // to be checked
	var object registry.Fact
	switch r.kind {
	case kindApp:
		var any struct{}
		if err := json.Unmarshal(value, &any); err != nil {
			return nil, unreadable(err)
		}
		facts.Apps = []registry.App{{Network: r.network, Name: r.name, Modified: uint64(revision)}}
		object = &facts.Apps[0]

	case kindMachine:
		m, err := decodeMachine(r, value)
		if err != nil {
			return nil, err
		}
		m.Modified = uint64(revision)
		facts.Apps = []registry.App{{Network: r.network, Name: r.name}}
		facts.Machines = []*registry.Machine{m}
		object = m

	case kindPeer:
		var v peerValue
		if err := json.Unmarshal(value, &v); err != nil {
			return nil, unreadable(err)
		}
		p := registry.Peer{Name: r.name, Address: v.Address, Region: registry.Fold(v.Region), Modified: uint64(revision)}
		if p.Address.IsValid() && p.Network() != r.network {
			return nil, fmt.Errorf("address: %v is outside the network %v", p.Address, r.network)
		}
		facts.Peers = []registry.Peer{p}
		object = &facts.Peers[0]

	case kindFlycast:
		var any struct{}
		if err := json.Unmarshal(value, &any); err != nil {
			return nil, unreadable(err)
		}
		facts.Apps = []registry.App{{Network: r.network, Name: r.name}}
		facts.Flycast = []registry.Flycast{{Address: r.addr, App: r.name, Owner: r.network}}
		object = &facts.Flycast[0]

	case kindNetwork:
		var v networkValue
		if err := json.Unmarshal(value, &v); err != nil {
			return nil, unreadable(err)
		}
		facts.Networks = []registry.NetworkName{{Network: r.network, Name: registry.Fold(v.Name)}}
		object = &facts.Networks[0]

	case kindRegion:
		var v regionValue
		if err := json.Unmarshal(value, &v); err != nil {
			return nil, unreadable(err)
		}
		if v.Latitude == nil || v.Longitude == nil {
			return nil, errors.New("latitude and longitude must be there")
		}
		facts.Regions = []registry.Region{{Code: r.name, Name: v.Name, Latitude: *v.Latitude, Longitude: *v.Longitude}}
		object = &facts.Regions[0]

	case kindRTT:
		ms, err := strconv.ParseUint(string(value), 10, 32)
		if err != nil || ms > math.MaxUint32 {
			return nil, fmt.Errorf("%.40q is no number of whole milliseconds", value)
		}
		facts.RTTs = []registry.RTT{{From: r.name, To: r.id, MS: uint32(ms)}}
		object = &facts.RTTs[0]
	}
	return object, facts.Validate()
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
	if m.ID != r.id {
		return nil, fmt.Errorf("id: the object says %.80q, the key %.80q", m.ID, r.id)
	}
	m.Network, m.App = r.network, r.name
	return m, nil
}

// encodeMachine returns the value for m, from which decode makes m again.
func encodeMachine(m *registry.Machine) ([]byte, error) {
	value, err := format.MachineObject(m)
	if err != nil {
		return nil, registry.Faults{{Object: m.String(), Problem: err.Error()}}
	}
	r := ref{kind: kindMachine, network: m.Network, name: m.App, id: m.ID, n: 1}
	d, err := decodeMachine(&r, value)
	switch {
	case err != nil:
		return nil, registry.Faults{{Object: m.String(), Problem: err.Error()}}
	case d.State != m.State || d.Region != m.Region || d.Address != m.Address || d.Skip != m.Skip || !slices.Equal(d.Metadata, m.Metadata):
		return nil, registry.Faults{{Object: m.String(), Problem: "its object says something else"}}
	}
	return value, nil
}

// encode returns the value for an object other than a machine.
func encode(object registry.Fact) string {
	var v any
	switch o := object.(type) {
	case *registry.Peer:
		v = peerValue{o.Address, o.Region}
	case *registry.NetworkName:
		v = networkValue{o.Name}
	case *registry.Region:
		v = regionValue{o.Name, &o.Latitude, &o.Longitude}
	case *registry.RTT:
		return strconv.FormatUint(uint64(o.MS), 10)
	default:
		return emptyValue
	}
	b, err := json.Marshal(v, jsontext.AllowInvalidUTF8(true)) // a region may be called anything
	if err != nil {
		panic(fmt.Sprintf("etcd: %v", err)) // checked facts
	}
	return string(b)
}

func unreadable(err error) error { return fmt.Errorf("the value cannot be read: %w", err) }
