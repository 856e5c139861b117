package etcd

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/internaldns/internaldns/registry"
)

// The keys beside the epochs, below the prefix.
const (
	keyRegistry = "registry" // a random name that never changes
	keyFormat   = "import"   // the format; servers of format 1 write only while this key does not exist
	keyEpoch    = "epoch"    // the epoch that counts
	keyHead     = "written"  // put and compared by every write
	keyLock     = "lock"     // exists, with a lease, while a new epoch is written
)

// currentFormat is the value of keyFormat.
const currentFormat = "2"

// A ref is what a key below an epoch names.
type ref struct {
	registry.Key
	app registry.AppKey // the app of a machine or Flycast address, or the app itself
	n   int             // which of the machines of one app and id; from 1
}

// key returns the key that names the same. The first segment is the plural of the kind.
func (r *ref) key() string {
	key := r.Kind.Plural() + "/"
	switch r.Kind {
	case registry.KindNetwork:
		key += networkSegment(r.Network)
	case registry.KindApp:
		key += networkSegment(r.app.Network) + "/" + r.app.Name
	case registry.KindMachine:
		key += networkSegment(r.app.Network) + "/" + r.app.Name + "/" + url.PathEscape(r.ID) // ids of gone machines can be anything
		if r.n > 1 {
			key += "/" + strconv.Itoa(r.n)
		}
	case registry.KindPeer:
		key += networkSegment(r.Network) + "/" + r.Name
	case registry.KindFlycast:
		key += networkSegment(r.app.Network) + "/" + r.app.Name + "/" + r.Address.String()
	case registry.KindRegion:
		key += r.Name
	case registry.KindRTT:
		key += r.Name + "/" + r.ID
	}
	return key
}

// keyOf returns the key of an object; that of a machine is the first of its app and id.
func keyOf(object registry.Fact) string {
	r := ref{Key: object.Key()}
	switch o := object.(type) {
	case *registry.App:
		r.app = registry.AppKey{Network: o.Network, Name: o.Name}
	case *registry.Machine:
		r.app = appOf(o)
	case *registry.Flycast:
		r.app = registry.AppKey{Network: o.Owner, Name: o.App}
	}
	return r.key()
}

// machineKey returns the key of machine n of those of one app and id.
func machineKey(m registry.MachineKey, n int) string {
	r := ref{Key: registry.Key{Kind: registry.KindMachine, ID: m.ID}, app: m.App, n: n}
	return r.key()
}

// appOf returns the app of a machine.
func appOf(m *registry.Machine) registry.AppKey {
	return registry.AppKey{Network: m.Network, Name: m.App}
}

// networkSegment is a network in a key: the beginning of its addresses, such as
// fdaa:0:18.
func networkSegment(n registry.Network) string {
	return fmt.Sprintf("fdaa:%x:%x", uint32(n)>>16, uint32(n)&0xffff)
}

func parseNetworkSegment(s string) (registry.Network, error) {
	hi, lo, _ := strings.Cut(strings.TrimPrefix(s, "fdaa:"), ":")
	h, errH := strconv.ParseUint(hi, 16, 16)
	l, errL := strconv.ParseUint(lo, 16, 16)
	if errH != nil || errL != nil || h|l == 0 {
		return 0, fmt.Errorf("%q is no network such as fdaa:0:18", s)
	}
	return registry.Network(h<<16 | l), nil
}

// segments is how many segments a key has after its kind.
var segments = map[registry.Kind][2]int{
	registry.KindNetwork: {1, 1},
	registry.KindApp:     {2, 2},
	registry.KindMachine: {3, 4},
	registry.KindPeer:    {2, 2},
	registry.KindFlycast: {3, 3},
	registry.KindRegion:  {1, 1},
	registry.KindRTT:     {2, 2},
}

// parseKey takes apart a key below an epoch. Only the form in which a key is written
// here is accepted: two keys never name one object.
func parseKey(key string) (ref, error) {
	r, err := splitKey(key)
	if err == nil && (r.key() != key || registry.Fold(key) != key && r.Kind != registry.KindMachine) {
		err = errors.New("is not written as it must be")
	}
	if err != nil {
		return ref{}, fmt.Errorf("the key %w", err)
	}
	return r, nil
}

func splitKey(key string) (r ref, err error) {
	first, rest, _ := strings.Cut(key, "/")
	parts := strings.Split(rest, "/")
	known := false
	for kind, n := range segments {
		if kind.Plural() != first {
			continue
		}
		if len(parts) < n[0] || len(parts) > n[1] {
			return r, fmt.Errorf("has %d segments after %s", len(parts), first)
		}
		r.Kind, known = kind, true
	}
	if !known {
		return r, fmt.Errorf("%q is no kind of key", first)
	}
	switch r.Kind {
	case registry.KindRegion:
		r.Name = parts[0]
		return r, nil
	case registry.KindRTT:
		r.Name, r.ID = parts[0], parts[1]
		return r, nil
	}
	network, err := parseNetworkSegment(parts[0])
	if err != nil {
		return r, err
	}
	if r.Kind == registry.KindNetwork {
		r.Network = network
		return r, nil
	}
	name := parts[1]
	if r.Kind != registry.KindPeer {
		r.app = registry.AppKey{Network: network, Name: name}
	}
	switch r.Kind {
	case registry.KindFlycast:
		if r.Address, err = netip.ParseAddr(parts[2]); err != nil {
			return r, fmt.Errorf("%q is no address", parts[2])
		}
		return r, nil
	case registry.KindMachine:
		if r.ID, err = url.PathUnescape(parts[2]); err != nil {
			return r, err
		}
		if r.n = 1; len(parts) == 4 {
			if r.n, err = strconv.Atoi(parts[3]); err != nil || r.n < 2 {
				return r, fmt.Errorf("%q is no number from 2", parts[3])
			}
		}
	}
	r.Network, r.Name = network, name
	return r, nil
}
