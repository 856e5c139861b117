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

// The octet after the app in the key of a machine or a lease.
const (
	keyLive byte = iota // the id follows
	keyGone             // a sum follows: of the whole machine, or of a lease's long id
)

// goneSumLen is how many octets of a SHA-256 are in the key of a gone machine:
// enough that no two machines are found that have the same.
const goneSumLen = 16

// Flags of a machine's record.
const (
	flagSkip = 1 << iota
	flagGone // the id is in the record
)

// How an object is stored.
const (
	rawNone byte = iota
	rawS2        // as registry.Raw
)

// appKey returns the beginning of the keys of an app's machines and leases. A name
// of an app has no NUL in it.
func appKey(k registry.AppKey) []byte { return append(networkKey(k.Network, k.Name), 0) }

// machineKey returns the key of m. Several gone machines may have one id, as long
// as they differ in anything.
func machineKey(m *registry.Machine) []byte {
	key := appKey(m.AppKey())
	if !m.Gone() {
		return append(append(key, keyLive), m.ID...)
	}
	// The sum is of the object before compression, which may change.
	object, err := m.Raw.JSON()
	if err != nil {
		object = m.Raw // broken, and kept as it is
	}
	h := sha256.New()
	body := appendMachine(nil, m)
	h.Write(body[:len(body)-len(m.Raw)])
	h.Write(object)
	return h.Sum(append(key, keyGone))[:len(key)+1+goneSumLen]
}

// appendMachine appends the body of a machine's record without Modified. The object
// comes last.
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

// machine decodes the record of a machine.
func (d *decoder) machine() *registry.Machine {
	m := &registry.Machine{Network: d.key.network(), App: d.shared(d.key.untilNUL()), Modified: d.body.uvarint()}
	which, id, flags := d.key.octet(), d.key.all(), d.body.octet()
	m.Skip = flags&flagSkip != 0
	if flags&flagGone != 0 {
		id = d.body.text()
	}
	m.ID = string(id)
	m.State, m.Region = d.shared(d.body.text()), d.shared(d.body.text())
	m.Address = d.body.address()
	m.Metadata = d.metadata(d.body.text())
	switch encoding := d.body.octet(); encoding {
	case rawNone:
	case rawS2:
		m.Raw = bytes.Clone(d.body.all())
	default:
		d.body.fail(fmt.Errorf("objects in encoding %d are not known", encoding))
	}
	if gone := m.Gone(); gone != (flags&flagGone != 0) || gone != (which == keyGone) {
		d.body.fail(errors.New("the key is not that of a machine in this state"))
	}
	return m
}

// metadata decodes pairs. Machines in a row that have the same share them.
func (d *decoder) metadata(octets []byte) []registry.Pair {
	if len(octets) == 0 {
		return nil
	}
	if bytes.Equal(octets, d.octets) {
		return d.pairs
	}
	var pairs []registry.Pair
	r := reader{rest: octets}
	for len(r.rest) > 0 {
		pairs = append(pairs, registry.Pair{Key: d.shared(r.text()), Value: d.shared(r.text())})
	}
	if r.err != nil {
		d.body.fail(r.err)
		return nil
	}
	d.octets, d.pairs = append(d.octets[:0], octets...), pairs
	return pairs
}

// maxKeyID is the longest id that is in a lease's key itself, in octets. Only gone
// machines have longer ones.
const maxKeyID = 255

// leaseRecord returns the record of a lease, or, if l is nil, its deletion.
func leaseRecord(k registry.MachineKey, l *registry.Lease) record {
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

// lease decodes the record of a lease.
func (d *decoder) lease() (k registry.MachineKey, l registry.Lease) {
	k.App = registry.AppKey{Network: d.key.network(), Name: d.shared(d.key.untilNUL())}
	d.key.octet()
	d.key.all() // the id is in the body
	k.ID = string(d.body.text())
	l.TTL = time.Duration(d.body.uvarint())
	l.Expires = time.Unix(0, int64(d.body.uint64()))
	if l.TTL <= 0 {
		d.body.fail(errors.New("the lease has no length"))
	}
	return k, l
}
