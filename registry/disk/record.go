package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"net/netip"

	"github.com/internaldns/internaldns/registry"
)

// The buckets of the database. doc.go says what is in them.
const (
	bMeta     = "meta"
	bNetworks = "networks"
	bApps     = "apps"
	bMachines = "machines"
	bPeers    = "peers"
	bFlycast  = "flycast"
	bRegions  = "regions"
	bRTTs     = "rtts"
	bLeases   = "leases"
)

// dataBuckets are those that hold records: all but meta.
var dataBuckets = [...]string{bNetworks, bApps, bMachines, bPeers, bFlycast, bRegions, bRTTs, bLeases}

// A record is what stands under a key, or, without a value, that nothing does.
type record struct {
	bucket string
	key    []byte
	value  []byte // sealed; nil: deleted
}

// castagnoli is the polynomial that processors compute.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumLen is the length of the checksum that a value begins with.
const sumLen = 4

// seal returns the value under key that holds body: a checksum of bucket, key
// and body, and the body.
func seal(bucket string, key, body []byte) []byte {
	value := binary.BigEndian.AppendUint32(make([]byte, 0, sumLen+len(body)), checksum(bucket, key, body))
	return append(value, body...)
}

// unseal returns the body of value.
func unseal(bucket string, key, value []byte) ([]byte, error) {
	if len(value) < sumLen {
		return nil, errors.New("the value is cut off")
	}
	if sumOf(value) != checksum(bucket, key, value[sumLen:]) {
		return nil, errors.New("the checksum is wrong")
	}
	return value[sumLen:], nil
}

// sumOf returns the checksum that a value of at least sumLen octets begins with.
func sumOf(value []byte) uint32 { return binary.BigEndian.Uint32(value) }

func checksum(bucket string, key, body []byte) uint32 {
	var head [8]byte
	binary.BigEndian.PutUint32(head[:4], uint32(len(bucket)))
	binary.BigEndian.PutUint32(head[4:], uint32(len(key)))
	sum := crc32.Update(0, castagnoli, head[:])
	sum = crc32.Update(sum, castagnoli, []byte(bucket))
	sum = crc32.Update(sum, castagnoli, key)
	return crc32.Update(sum, castagnoli, body)
}

// The append functions write the parts that bodies are made of; a body reads
// them back.

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendAddress writes an address of any kind, and also none.
func appendAddress(b []byte, a netip.Addr) []byte {
	octets, _ := a.MarshalBinary() // cannot fail
	return append(binary.AppendUvarint(b, uint64(len(octets))), octets...)
}

// A body reads what the append functions wrote. After the first thing that is
// wrong it reads zeros.
type body struct {
	rest []byte
	err  error
}

var errShort = errors.New("the record is shorter than it says")

func (b *body) fail(err error) {
	if b.err == nil {
		b.rest, b.err = nil, err
	}
}

// octets returns the next n, which are part of the body.
func (b *body) octets(n uint64) []byte {
	if n > uint64(len(b.rest)) {
		b.fail(errShort)
		return nil
	}
	out := b.rest[:n]
	b.rest = b.rest[n:]
	return out
}

func (b *body) octet() byte {
	if o := b.octets(1); o != nil {
		return o[0]
	}
	return 0
}

func (b *body) uvarint() uint64 {
	v, n := binary.Uvarint(b.rest)
	if n <= 0 {
		b.fail(errShort)
		return 0
	}
	b.rest = b.rest[n:]
	return v
}

func (b *body) uint64() uint64 {
	if o := b.octets(8); o != nil {
		return binary.BigEndian.Uint64(o)
	}
	return 0
}

// text returns the octets of a text, which are part of the body.
func (b *body) text() []byte { return b.octets(b.uvarint()) }

func (b *body) address() (a netip.Addr) {
	if err := a.UnmarshalBinary(b.text()); err != nil {
		b.fail(fmt.Errorf("no address: %w", err))
	}
	return a
}

// end says what was wrong, if only that something follows.
func (b *body) end() error {
	if b.err == nil && len(b.rest) > 0 {
		return fmt.Errorf("%d octets follow the record", len(b.rest))
	}
	return b.err
}

// Keys.

func networkKey(n registry.Network, name string) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(name)), uint32(n)), name...)
}

func splitNetworkKey(key []byte) (registry.Network, []byte, error) {
	if len(key) < 4 {
		return 0, nil, errKey
	}
	return registry.Network(binary.BigEndian.Uint32(key)), key[4:], nil
}

func addressKey(a netip.Addr) []byte { o := a.As16(); return o[:] }

func rttKey(r *registry.RTT) []byte { return append(append([]byte(r.From), 0), r.To...) }

var errKey = errors.New("the key is not one of these records'")

// records returns what a commit changes in the database: deletions first, for
// what replaces something may stand under its key.
func records(c *registry.Changes) (list []record) {
	for _, ch := range c.Machines {
		if b, a := ch.Before, ch.After; b != nil && (a == nil || !sameKey(b, a)) {
			list = append(list, record{bMachines, machineKey(b), nil})
		}
	}
	for _, ch := range c.Machines {
		if ch.After != nil {
			list = append(list, machineRecord(ch.After))
		}
	}
	for _, ch := range c.Others {
		if ch.Before != nil {
			rec := recordOf(ch.Before)
			rec.value = nil
			list = append(list, rec)
		}
	}
	for _, ch := range c.Others {
		if ch.After != nil {
			rec := recordOf(ch.After)
			rec.value = seal(rec.bucket, rec.key, rec.value)
			list = append(list, rec)
		}
	}
	return list
}

// sameKey reports whether it is certain that two machines have one key.
func sameKey(a, b *registry.Machine) bool {
	return !a.Gone() && !b.Gone() && a.ID == b.ID && a.App == b.App && a.Network == b.Network
}

// recordOf returns the record of an object other than a machine. Its value is not
// sealed yet.
func recordOf(f registry.Fact) record {
	switch f := f.(type) {
	case *registry.NetworkName:
		return nameRecord(f)
	case *registry.App:
		return appRecord(f)
	case *registry.Peer:
		return peerRecord(f)
	case *registry.Flycast:
		return flycastRecord(f)
	case *registry.Region:
		return regionRecord(f)
	default:
		return rttRecord(f.(*registry.RTT))
	}
}

// The record functions return records whose values are not sealed yet.

func nameRecord(n *registry.NetworkName) record {
	return record{bNetworks, networkKey(n.Network, ""), appendText(nil, n.Name)}
}

func appRecord(a *registry.App) record {
	return record{bApps, networkKey(a.Network, a.Name), binary.AppendUvarint(nil, a.Modified)}
}

func peerRecord(p *registry.Peer) record {
	b := binary.AppendUvarint(nil, p.Modified)
	b = appendText(appendAddress(b, p.Address), p.Region)
	return record{bPeers, networkKey(p.Network(), p.Name), b}
}

func flycastRecord(f *registry.Flycast) record {
	return record{bFlycast, addressKey(f.Address), appendText(networkKey(f.Owner, ""), f.App)}
}

func regionRecord(r *registry.Region) record {
	b := appendText(nil, r.Name)
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(r.Latitude))
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(r.Longitude))
	return record{bRegions, []byte(r.Code), b}
}

func rttRecord(r *registry.RTT) record {
	return record{bRTTs, rttKey(r), binary.AppendUvarint(nil, uint64(r.MS))}
}

// A part is what some records hold.
type part struct {
	facts   registry.Facts
	leases  map[registry.MachineKey]registry.Lease
	records uint64
	sum     uint64 // of the records' checksums, in 64 bits
}

// add decodes the body of a record of that bucket into p.
func (p *part) add(d *decoder, bucket string, key, octets []byte) error {
	b := body{rest: octets}
	f := &p.facts
	switch bucket {
	case bMachines:
		m, err := d.machine(key, octets)
		if err != nil {
			return err
		}
		f.Machines = append(f.Machines, m)
		return nil
	case bLeases:
		k, l, err := d.lease(key, octets)
		if err != nil {
			return err
		}
		if p.leases == nil {
			p.leases = make(map[registry.MachineKey]registry.Lease)
		}
		p.leases[k] = l
		return nil
	case bNetworks:
		n, _, err := splitNetworkKey(key)
		if err != nil {
			return err
		}
		f.Networks = append(f.Networks, registry.NetworkName{Network: n, Name: string(b.text())})
	case bApps:
		n, name, err := splitNetworkKey(key)
		if err != nil {
			return err
		}
		f.Apps = append(f.Apps, registry.App{Network: n, Name: string(name), Modified: b.uvarint()})
	case bPeers:
		_, name, err := splitNetworkKey(key)
		if err != nil {
			return err
		}
		f.Peers = append(f.Peers, registry.Peer{
			Name: string(name), Modified: b.uvarint(), Address: b.address(), Region: d.text(b.text()),
		})
	case bFlycast:
		if len(key) != 16 {
			return errKey
		}
		var owner registry.Network
		if o := b.octets(4); o != nil {
			owner = registry.Network(binary.BigEndian.Uint32(o))
		}
		f.Flycast = append(f.Flycast, registry.Flycast{Address: netip.AddrFrom16([16]byte(key)), Owner: owner, App: d.text(b.text())})
	case bRegions:
		f.Regions = append(f.Regions, registry.Region{
			Code: string(key), Name: string(b.text()),
			Latitude: math.Float64frombits(b.uint64()), Longitude: math.Float64frombits(b.uint64()),
		})
	case bRTTs:
		from, to, ok := bytes.Cut(key, []byte{0})
		if !ok {
			return errKey
		}
		f.RTTs = append(f.RTTs, registry.RTT{From: d.text(from), To: d.text(to), MS: uint32(b.uvarint())})
	}
	return b.end()
}

// join adds what q holds.
func (p *part) join(q *part) {
	for fact := range q.facts.All() {
		p.facts.Add(fact)
	}
	for k, l := range q.leases {
		if p.leases == nil {
			p.leases = make(map[registry.MachineKey]registry.Lease)
		}
		p.leases[k] = l
	}
	p.records += q.records
	p.sum += q.sum
}

// object names a record for messages.
func object(bucket string, key []byte) string {
	switch n, name, err := splitNetworkKey(key); bucket {
	case bMachines, bLeases:
		d := new(decoder)
		if app, rest, err := d.splitAppKey(key); err == nil {
			what := "machine"
			if bucket == bLeases {
				what = "lease of machine"
			}
			if rest[0] == keyLive {
				return fmt.Sprintf("%s %q of app %q in %v", what, rest[1:], app.Name, app.Network)
			}
			return fmt.Sprintf("%s (gone, %x) of app %q in %v", what, rest[1:], app.Name, app.Network)
		}
	case bNetworks, bApps, bPeers:
		if err == nil {
			return fmt.Sprintf("%s %q in %v", bucket[:len(bucket)-1], name, n)
		}
	}
	return fmt.Sprintf("record %q of bucket %s", key, bucket)
}
