package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
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
