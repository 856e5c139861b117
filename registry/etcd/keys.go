package etcd

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
)

// The control keys, which are beside the epochs.
const (
	keyRegistry = "registry" // a random name that never changes
	keyFormat   = "import"   // the format; servers of format 1 write only while this key does not exist
	keyEpoch    = "epoch"    // the epoch that counts
	keyHead     = "written"  // put and compared by every write
	keyLock     = "lock"     // exists, with a lease, while a new epoch is written
)

// The values of keyFormat.
const (
	currentFormat = "2"
	upgrading     = "upgrading to 2"
)

// A ref is what a key below an epoch names. Network and Name of a Flycast address are
// those of its app.
type ref struct {
	registry.Key
	n int // which of the machines of one app and id; from 1
}

// app returns the app of a machine or Flycast address, or the app itself.
func (r *ref) app() registry.AppKey { return registry.AppKey{Network: r.Network, Name: r.Name} }

// A segment is what a part of a key names.
type segment int

const (
	segmentNetwork segment = iota
	segmentName
	segmentID
	segmentAddress
)

// layouts holds the segments of a key after the first, which is the plural of the kind.
// A machine's may have its number after them, from 2.
var layouts = [...][]segment{
	registry.KindNetwork: {segmentNetwork},
	registry.KindApp:     {segmentNetwork, segmentName},
	registry.KindMachine: {segmentNetwork, segmentName, segmentID},
	registry.KindPeer:    {segmentNetwork, segmentName},
	registry.KindFlycast: {segmentNetwork, segmentName, segmentAddress},
	registry.KindRegion:  {segmentName},
	registry.KindRTT:     {segmentName, segmentID},
}

// key returns the key that names the same.
func (r *ref) key() string {
	key := r.Kind.Plural()
	for _, s := range layouts[r.Kind] {
		switch s {
		case segmentNetwork:
			key += "/" + networkSegment(r.Network)
		case segmentName:
			key += "/" + r.Name
		case segmentID:
			key += "/" + url.PathEscape(r.ID) // ids of gone machines can be anything
		case segmentAddress:
			key += "/" + r.Address.String()
		}
	}
	if r.n > 1 {
		key += "/" + strconv.Itoa(r.n)
	}
	return key
}

// networkSegment returns a network as it is in a key: the beginning of its addresses,
// such as fdaa:0:18.
func networkSegment(n registry.Network) string {
	return fmt.Sprintf("fdaa:%x:%x", uint32(n)>>16, uint32(n)&0xffff)
}

// keyOf returns the key of an object; that of a machine is the first of its app and id.
func keyOf(object registry.Fact) string {
	r := ref{Key: object.Key()}
	if f, ok := object.(*registry.Flycast); ok {
		r.Network, r.Name = f.Owner, f.App
	}
	return r.key()
}

// machineKey returns the key of machine n of those of one app and id.
func machineKey(m registry.MachineKey, n int) string {
	r := ref{registry.Key{Kind: registry.KindMachine, Network: m.App.Network, Name: m.App.Name, ID: m.ID}, n}
	return r.key()
}

// parseKey takes apart a key below an epoch. Only the form in which a key is written
// here is accepted: two keys never name one object.
func parseKey(key string) (ref, error) {
	first, rest, _ := strings.Cut(key, "/")
	for kind, layout := range layouts {
		r := ref{Key: registry.Key{Kind: registry.Kind(kind)}}
		if r.Kind.Plural() != first {
			continue
		}
		err := r.parse(strings.Split(rest, "/"), layout)
		if err == nil && (r.key() != key || registry.Fold(key) != key && r.Kind != registry.KindMachine) {
			err = errors.New("is not written as it must be")
		}
		if err != nil {
			return ref{}, fmt.Errorf("the key %w", err)
		}
		return r, nil
	}
	return ref{}, fmt.Errorf("the key %q is no kind of key", first)
}

func (r *ref) parse(parts []string, layout []segment) (err error) {
	if r.Kind == registry.KindMachine {
		r.n = 1
		if n := len(layout); len(parts) == n+1 {
			if r.n, err = strconv.Atoi(parts[n]); err != nil || r.n < 2 {
				return fmt.Errorf("%q is no number from 2", parts[n])
			}
			parts = parts[:n]
		}
	}
	if len(parts) != len(layout) {
		return fmt.Errorf("has %d segments after %s", len(parts), r.Kind.Plural())
	}
	for i, s := range layout {
		switch s {
		case segmentNetwork:
			hi, lo, _ := strings.Cut(strings.TrimPrefix(parts[i], "fdaa:"), ":")
			h, errH := strconv.ParseUint(hi, 16, 16)
			l, errL := strconv.ParseUint(lo, 16, 16)
			if errH != nil || errL != nil || h|l == 0 {
				return fmt.Errorf("%q is no network such as fdaa:0:18", parts[i])
			}
			r.Network = registry.Network(h<<16 | l)
		case segmentName:
			r.Name = parts[i]
		case segmentID:
			if r.ID, err = url.PathUnescape(parts[i]); err != nil {
				return err
			}
		case segmentAddress:
			if r.Address, err = netip.ParseAddr(parts[i]); err != nil {
				return fmt.Errorf("%q is no address", parts[i])
			}
		}
	}
	return nil
}

// valueFields returns the fields of an object that its value has: a JSON object of all
// that its key does not name. A machine's value is its own object, and that of a round
// trip a number.
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
		o.App, o.Owner = r.Name, r.Network
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
	if r.Kind == registry.KindMachine || r.Kind == registry.KindFlycast {
		facts.Add(&registry.App{Network: r.Network, Name: r.Name})
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
	m.Network, m.App = r.Network, r.Name
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
