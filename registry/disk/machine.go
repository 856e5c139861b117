package disk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/internaldns/internaldns/registry"
)

// What a machine's key says after the app's.
const (
	keyLive byte = iota // the id follows
	keyGone             // a sum of the whole machine follows
)

// goneSumLen is how much of a SHA-256 stands in the key of a gone machine: enough
// that nobody finds two machines with one.
const goneSumLen = 16

// Flags of a machine record.
const (
	flagSkip = 1 << iota
	flagGone // the id is in the record
)

// How an object is stored.
const (
	rawNone byte = iota
	rawS2        // as registry.Raw
)

// appKey begins the keys of an app's machines and leases. Names of apps have no
// NUL in them.
func appKey(k registry.AppKey) []byte { return append(networkKey(k.Network, k.Name), 0) }

// machineRecord returns the record of m.
func machineRecord(m *registry.Machine) record {
	key := machineKey(m)
	b := appendMachine(binary.AppendUvarint(nil, m.Modified), m)
	return record{bMachines, key, seal(bMachines, key, b)}
}

// machineKey returns the key of m. There can be several gone machines of one id,
// as long as anything about them differs.
func machineKey(m *registry.Machine) []byte {
	key := appKey(registry.AppKey{Network: m.Network, Name: m.App})
	if !m.Gone() {
		return append(append(key, keyLive), m.ID...)
	}
	// The sum is of the object as it came, so that it does not depend on how it
	// is compressed.
	object, err := m.Raw.JSON()
	if err != nil {
		object = m.Raw // broken, and kept like that
	}
	h := sha256.New()
	content := appendMachine(nil, m)
	h.Write(content[:len(content)-len(m.Raw)])
	h.Write(object)
	return h.Sum(append(key, keyGone))[:len(key)+1+goneSumLen]
}

// appendMachine appends all that is in a machine's record but for Modified. The
// object comes last.
func appendMachine(b []byte, m *registry.Machine) []byte {
	var flags byte
	if m.Skip {
		flags |= flagSkip
	}
	if m.Gone() {
		flags |= flagGone
	}
	b = append(b, flags)
	if m.Gone() {
		b = appendText(b, m.ID)
	}
	b = appendText(b, m.State)
	b = appendText(b, m.Region)
	b = appendAddress(b, m.Address)
	var pairs []byte
	for _, p := range m.Metadata {
		pairs = appendText(appendText(pairs, p.Key), p.Value)
	}
	b = append(binary.AppendUvarint(b, uint64(len(pairs))), pairs...)
	if len(m.Raw) == 0 {
		return append(b, rawNone)
	}
	return append(append(b, rawS2), m.Raw...)
}

// A decoder decodes records one after another. It remembers strings that come
// again and again.
type decoder struct {
	seen  map[string]string
	pairs []byte // of the machine before
	last  []registry.Pair
}

// maxSeen bounds what a decoder remembers.
const maxSeen = 1 << 16

// text returns o as a string that others share. It keeps nothing of o.
func (d *decoder) text(o []byte) string {
	if s, ok := d.seen[string(o)]; ok {
		return s
	}
	if d.seen == nil || len(d.seen) >= maxSeen {
		d.seen = make(map[string]string)
	}
	s := string(o)
	d.seen[s] = s
	return s
}

// splitAppKey returns the app that key begins with, and the rest.
func (d *decoder) splitAppKey(key []byte) (registry.AppKey, []byte, error) {
	n, rest, err := splitNetworkKey(key)
	name, rest, ok := bytes.Cut(rest, []byte{0})
	if err != nil || !ok || len(rest) == 0 {
		return registry.AppKey{}, nil, errKey
	}
	return registry.AppKey{Network: n, Name: d.text(name)}, rest, nil
}

// machine decodes the record of a machine from its key and its body.
func (d *decoder) machine(key, octets []byte) (*registry.Machine, error) {
	app, rest, err := d.splitAppKey(key)
	if err != nil {
		return nil, err
	}
	b := body{rest: octets}
	m := &registry.Machine{Network: app.Network, App: app.Name, Modified: b.uvarint()}
	flags := b.octet()
	m.Skip = flags&flagSkip != 0
	if flags&flagGone != 0 {
		m.ID = string(b.text())
	} else {
		m.ID = string(rest[1:])
	}
	m.State, m.Region = d.text(b.text()), d.text(b.text())
	m.Address = b.address()
	if m.Metadata, err = d.metadata(b.text()); err != nil {
		b.fail(err)
	}
	switch encoding := b.octet(); encoding {
	case rawNone:
	case rawS2:
		m.Raw = bytes.Clone(b.rest)
		b.rest = nil
	default:
		b.fail(fmt.Errorf("objects in encoding %d are not known", encoding))
	}
	if err := b.end(); err != nil {
		return nil, err
	}
	if gone := m.Gone(); gone != (flags&flagGone != 0) || gone != (rest[0] == keyGone) {
		return nil, errors.New("the key is not that of a machine in this state")
	}
	return m, nil
}

// metadata decodes pairs, which may be shared with the machine before.
func (d *decoder) metadata(octets []byte) ([]registry.Pair, error) {
	if len(octets) == 0 {
		return nil, nil
	}
	if bytes.Equal(octets, d.pairs) {
		return d.last, nil
	}
	var pairs []registry.Pair
	b := body{rest: octets}
	for len(b.rest) > 0 {
		pairs = append(pairs, registry.Pair{Key: d.text(b.text()), Value: d.text(b.text())})
	}
	if b.err != nil {
		return nil, b.err
	}
	d.pairs, d.last = append(d.pairs[:0], octets...), pairs
	return pairs, nil
}

// leaseRecord returns the record of a lease, or with nil that of none.
func leaseRecord(k registry.MachineKey, l *registry.Lease) record {
	// Ids of gone machines may be anything, also longer than a key.
	key := appKey(k.App)
	if len(k.ID) <= maxKeyID {
		key = append(append(key, keyLive), k.ID...)
	} else {
		sum := sha256.Sum256([]byte(k.ID))
		key = append(append(key, keyGone), sum[:]...)
	}
	if l == nil {
		return record{bLeases, key, nil}
	}
	b := appendText(nil, k.ID)
	b = binary.AppendUvarint(b, uint64(l.TTL))
	b = binary.BigEndian.AppendUint64(b, uint64(l.Expires.UnixNano()))
	return record{bLeases, key, seal(bLeases, key, b)}
}

// maxKeyID is the longest id that stands in a lease's key itself, in octets: all
// of machines that are not gone are shorter.
const maxKeyID = 255

// lease decodes the record of a lease.
func (d *decoder) lease(key, octets []byte) (k registry.MachineKey, l registry.Lease, err error) {
	if k.App, _, err = d.splitAppKey(key); err != nil {
		return k, l, err
	}
	b := body{rest: octets}
	k.ID = string(b.text())
	l.TTL = time.Duration(b.uvarint())
	l.Expires = time.Unix(0, int64(b.uint64()))
	if err := b.end(); err != nil {
		return k, l, err
	}
	if l.TTL <= 0 {
		return k, l, errors.New("the lease has no length")
	}
	return k, l, nil
}
