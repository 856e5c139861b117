package etcd

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/internaldns/internaldns/registry"
)

// The keys beside the epochs, below the prefix.
const (
	keyRegistry = "registry" // a random name that the registry keeps as long as it lives
	keyEpoch    = "epoch"    // the epoch that counts
	keyImport   = "import"   // present while a new epoch is written, with a lease
	keyWritten  = "written"  // put by every write: its revision is that of the last one
)

// The kinds of keys below an epoch: the first segment.
const (
	kindApp     = "apps"
	kindMachine = "machines"
	kindPeer    = "peers"
	kindFlycast = "flycast"
	kindNetwork = "networks"
	kindRegion  = "regions"
	kindRTT     = "rtts"

	// Claims: the value is the key of the object that has the id, address or
	// name.
	kindID      = "ids"
	kindAddress = "addresses"
	kindName    = "names"
)

// A ref is what a key below an epoch names.
type ref struct {
	kind    string
	network registry.Network
	name    string // of the app, peer, region, from
	id      string // of a machine; to
	n       int    // which of several machines of an id; from 1
	addr    netip.Addr
}

// app returns the app that a machine or Flycast address belongs to, or that the
// ref is.
func (r *ref) app() registry.AppKey { return registry.AppKey{Network: r.network, Name: r.name} }

func isClaim(kind string) bool { return kind == kindID || kind == kindAddress || kind == kindName }

// networkSegment is a network in a key: the beginning of its addresses, such as
// fdaa:0:18.
func networkSegment(n registry.Network) string {
	return fmt.Sprintf("fdaa:%x:%x", uint32(n)>>16, uint32(n)&0xffff)
}

func parseNetworkSegment(s string) (registry.Network, error) {
	if n, err := registry.ParseNetwork(s + "::/48"); err == nil && networkSegment(n) == s {
		return n, nil
	}
	// A network that ends in zeros is written otherwise as a prefix.
	if hi, ok := strings.CutPrefix(s, "fdaa:"); ok {
		if hi, lo, ok := strings.Cut(hi, ":"); ok {
			h, errH := strconv.ParseUint(hi, 16, 16)
			l, errL := strconv.ParseUint(lo, 16, 16)
			if n := registry.Network(h<<16 | l); errH == nil && errL == nil && n != 0 && networkSegment(n) == s {
				return n, nil
			}
		}
	}
	return 0, fmt.Errorf("%q is no network such as fdaa:0:18", s)
}

func appKey(a registry.AppKey) string {
	return kindApp + "/" + networkSegment(a.Network) + "/" + a.Name
}

// machinesPrefix is how the keys of an app's machines begin.
func machinesPrefix(a registry.AppKey) string {
	return kindMachine + "/" + networkSegment(a.Network) + "/" + a.Name + "/"
}

// machineKey is the key of machine n of those with one id, counted from 1. Ids of
// gone machines can be anything.
func machineKey(a registry.AppKey, id string, n int) string {
	key := machinesPrefix(a) + url.PathEscape(id)
	if n > 1 {
		key += "/" + strconv.Itoa(n)
	}
	return key
}

func peerKey(n registry.Network, name string) string {
	return kindPeer + "/" + networkSegment(n) + "/" + name
}

// flycastPrefix is how the keys of an app's Flycast addresses begin.
func flycastPrefix(a registry.AppKey) string {
	return kindFlycast + "/" + networkSegment(a.Network) + "/" + a.Name + "/"
}

func flycastKey(f *registry.Flycast) string {
	return flycastPrefix(registry.AppKey{Network: f.Owner, Name: f.App}) + f.Address.String()
}

// keyOf is the key of an object that is no machine.
func keyOf(f registry.Fact) string {
	switch f := f.(type) {
	case *registry.NetworkName:
		return networkKey(f.Network)
	case *registry.App:
		return appKey(registry.AppKey{Network: f.Network, Name: f.Name})
	case *registry.Peer:
		return peerKey(f.Network(), f.Name)
	case *registry.Flycast:
		return flycastKey(f)
	case *registry.Region:
		return regionKey(f.Code)
	default:
		k := f.Key()
		return rttKey(k.Name, k.ID)
	}
}

// object is the registry's key of the object that r is of.
func (r *ref) object() registry.Key {
	switch r.kind {
	case kindApp:
		return registry.Key{Kind: registry.KindApp, Network: r.network, Name: r.name}
	case kindMachine:
		return registry.Key{Kind: registry.KindMachine, Network: r.network, Name: r.name, ID: r.id}
	case kindPeer:
		return registry.Key{Kind: registry.KindPeer, Network: r.network, Name: r.name}
	case kindFlycast:
		return registry.Key{Kind: registry.KindFlycast, Address: r.addr}
	case kindNetwork:
		return registry.Key{Kind: registry.KindNetwork, Network: r.network}
	case kindRegion:
		return registry.Key{Kind: registry.KindRegion, Name: r.name}
	default:
		return registry.Key{Kind: registry.KindRTT, Name: r.name, ID: r.id}
	}
}

func networkKey(n registry.Network) string { return kindNetwork + "/" + networkSegment(n) }
func regionKey(code string) string         { return kindRegion + "/" + code }
func rttKey(from, to string) string        { return kindRTT + "/" + from + "/" + to }

func idClaim(id string) string            { return kindID + "/" + id }
func addressClaim(addr netip.Addr) string { return kindAddress + "/" + addr.String() }
func nameClaim(name string) string        { return kindName + "/" + name }

// parseKey takes apart a key below an epoch. Only the form in which a key is
// written here is a key: two keys never name one object.
func parseKey(key string) (ref, error) {
	kind, rest, _ := strings.Cut(key, "/")
	r := ref{kind: kind}
	parts := strings.Split(rest, "/")
	var err error
	want := func(from, to int) bool {
		if len(parts) < from || len(parts) > to {
			err = fmt.Errorf("has %d segments after %s", len(parts), kind)
		}
		return err == nil
	}
	canonical := func() string { return "" }
	switch kind {
	case kindApp:
		if want(2, 2) {
			r.network, err = parseNetworkSegment(parts[0])
			r.name = parts[1]
			canonical = func() string { return appKey(r.app()) }
		}
	case kindMachine:
		if want(3, 4) {
			r.n = 1
			if r.network, err = parseNetworkSegment(parts[0]); err != nil {
				break
			}
			r.name = parts[1]
			if r.id, err = url.PathUnescape(parts[2]); err != nil {
				break
			}
			if len(parts) == 4 {
				if r.n, err = strconv.Atoi(parts[3]); err != nil || r.n < 2 {
					err = fmt.Errorf("%q is no number from 2", parts[3])
				}
			}
			canonical = func() string { return machineKey(r.app(), r.id, r.n) }
		}
	case kindPeer:
		if want(2, 2) {
			r.network, err = parseNetworkSegment(parts[0])
			r.name = parts[1]
			canonical = func() string { return peerKey(r.network, r.name) }
		}
	case kindFlycast:
		if want(3, 3) {
			if r.network, err = parseNetworkSegment(parts[0]); err != nil {
				break
			}
			r.name = parts[1]
			if r.addr, err = netip.ParseAddr(parts[2]); err != nil {
				err = fmt.Errorf("%q is no address", parts[2])
			}
			canonical = func() string {
				return flycastKey(&registry.Flycast{Address: r.addr, App: r.name, Owner: r.network})
			}
		}
	case kindNetwork:
		if want(1, 1) {
			r.network, err = parseNetworkSegment(parts[0])
			canonical = func() string { return networkKey(r.network) }
		}
	case kindRegion:
		if want(1, 1) {
			r.name = parts[0]
		}
	case kindRTT:
		if want(2, 2) {
			r.name, r.id = parts[0], parts[1]
		}
	case kindID, kindAddress, kindName:
	default:
		err = fmt.Errorf("%q is no kind of key", kind)
	}
	if err != nil {
		return r, fmt.Errorf("the key %w", err)
	}
	if c := canonical(); c != "" && c != key || registry.Fold(key) != key && kind != kindMachine {
		return r, fmt.Errorf("the key is not written as it must be")
	}
	return r, nil
}
