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

// Buckets. Those of the other kinds of facts are in codecs.
const (
	bMeta     = "meta"
	bMachines = "machines"
	bLeases   = "leases"
)

// dataBuckets are the buckets that hold records: all but meta. Those of the codecs
// come first, by kind.
var dataBuckets = func() (names []string) {
	for _, c := range codecs {
		names = append(names, c.bucket)
	}
	return append(names, bLeases)
}()

// A record is a key and its value, or a key to be deleted.
type record struct {
	bucket string
	key    []byte
	value  []byte // sealed; nil: the key is deleted
}

// A codec stores the facts of one kind, each in a record, in a bucket of their own.
type codec struct {
	bucket string
	key    func(f registry.Fact) []byte
	body   func(f registry.Fact) []byte
	// decode reads a fact from d.key and d.body, which note what is wrong.
	decode func(d *decoder) registry.Fact
}

// codecs has one codec for each kind. To store another kind, add its codec here,
// and say in doc.go what is in its records.
var codecs = [...]codec{
	registry.KindNetwork: {
		bucket: "networks",
		key:    func(f registry.Fact) []byte { return networkKey(f.(*registry.NetworkName).Network, "") },
		body:   func(f registry.Fact) []byte { return appendText(nil, f.(*registry.NetworkName).Name) },
		decode: func(d *decoder) registry.Fact {
			return &registry.NetworkName{Network: d.key.network(), Name: string(d.body.text())}
		},
	},
	registry.KindApp: {
		bucket: "apps",
		key:    func(f registry.Fact) []byte { a := f.(*registry.App); return networkKey(a.Network, a.Name) },
		body:   func(f registry.Fact) []byte { return binary.AppendUvarint(nil, f.(*registry.App).Modified) },
		decode: func(d *decoder) registry.Fact {
			return &registry.App{Network: d.key.network(), Name: string(d.key.all()), Modified: d.body.uvarint()}
		},
	},
	registry.KindMachine: {
		bucket: bMachines,
		key:    func(f registry.Fact) []byte { return machineKey(f.(*registry.Machine)) },
		body: func(f registry.Fact) []byte {
			m := f.(*registry.Machine)
			return appendMachine(binary.AppendUvarint(nil, m.Modified), m)
		},
		decode: func(d *decoder) registry.Fact { return d.machine() },
	},
	registry.KindPeer: {
		bucket: "peers",
		key:    func(f registry.Fact) []byte { p := f.(*registry.Peer); return networkKey(p.Network(), p.Name) },
		body: func(f registry.Fact) []byte {
			p := f.(*registry.Peer)
			return appendText(appendAddress(binary.AppendUvarint(nil, p.Modified), p.Address), p.Region)
		},
		decode: func(d *decoder) registry.Fact {
			d.key.network() // also in the address
			return &registry.Peer{
				Name: string(d.key.all()), Modified: d.body.uvarint(), Address: d.body.address(), Region: d.shared(d.body.text()),
			}
		},
	},
	registry.KindFlycast: {
		bucket: "flycast",
		key:    func(f registry.Fact) []byte { a := f.(*registry.Flycast).Address.As16(); return a[:] },
		body: func(f registry.Fact) []byte {
			c := f.(*registry.Flycast)
			return appendText(networkKey(c.Owner, ""), c.App)
		},
		decode: func(d *decoder) registry.Fact {
			c := &registry.Flycast{Owner: d.body.network(), App: d.shared(d.body.text())}
			if a := d.key.octets(16); a != nil {
				c.Address = netip.AddrFrom16([16]byte(a))
			}
			return c
		},
	},
	registry.KindRegion: {
		bucket: "regions",
		key:    func(f registry.Fact) []byte { return []byte(f.(*registry.Region).Code) },
		body: func(f registry.Fact) []byte {
			r := f.(*registry.Region)
			b := binary.BigEndian.AppendUint64(appendText(nil, r.Name), math.Float64bits(r.Latitude))
			return binary.BigEndian.AppendUint64(b, math.Float64bits(r.Longitude))
		},
		decode: func(d *decoder) registry.Fact {
			return &registry.Region{
				Code: string(d.key.all()), Name: string(d.body.text()),
				Latitude: math.Float64frombits(d.body.uint64()), Longitude: math.Float64frombits(d.body.uint64()),
			}
		},
	},
	registry.KindRTT: {
		bucket: "rtts",
		key:    func(f registry.Fact) []byte { r := f.(*registry.RTT); return []byte(r.From + "\x00" + r.To) },
		body:   func(f registry.Fact) []byte { return binary.AppendUvarint(nil, uint64(f.(*registry.RTT).MS)) },
		decode: func(d *decoder) registry.Fact {
			return &registry.RTT{From: d.shared(d.key.untilNUL()), To: d.shared(d.key.all()), MS: uint32(d.body.uvarint())}
		},
	},
}

// records returns the records of what a commit changes. Deletions come first: what
// replaces an object may have the same key.
func records(c *registry.Changes) []record {
	var deleted, put []record
	for ch := range c.All() {
		codec := &codecs[ch.Fact().Key().Kind]
		var key []byte // of After
		if ch.After != nil {
			key = codec.key(ch.After)
			put = append(put, record{codec.bucket, key, seal(codec.bucket, key, codec.body(ch.After))})
		}
		if ch.Before != nil {
			if old := codec.key(ch.Before); ch.After == nil || !bytes.Equal(old, key) {
				deleted = append(deleted, record{codec.bucket, old, nil})
			}
		}
	}
	return append(deleted, put...)
}

// castagnoli is the polynomial for which processors have an instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumLen is the length of the checksum at the beginning of a value, in octets.
const sumLen = 4

// seal returns the value of a record: a checksum of bucket, key and body, and then
// the body.
func seal(bucket string, key, body []byte) []byte {
	value := binary.BigEndian.AppendUint32(make([]byte, 0, sumLen+len(body)), checksum(bucket, key, body))
	return append(value, body...)
}

// unseal returns the body of a value.
func unseal(bucket string, key, value []byte) ([]byte, error) {
	if len(value) < sumLen {
		return nil, errors.New("the value is cut off")
	}
	if sumOf(value) != checksum(bucket, key, value[sumLen:]) {
		return nil, errors.New("the checksum is wrong")
	}
	return value[sumLen:], nil
}

// sumOf returns the checksum of a value of at least sumLen octets.
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

func networkKey(n registry.Network, name string) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(name)), uint32(n)), name...)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendAddress appends an address of any kind, or the zero address.
func appendAddress(b []byte, a netip.Addr) []byte {
	octets, _ := a.MarshalBinary() // cannot fail
	return append(binary.AppendUvarint(b, uint64(len(octets))), octets...)
}

// A reader reads what the functions above wrote. After the first error it returns
// zeros. The octets that it returns are part of rest.
type reader struct {
	rest []byte
	err  error
}

var errShort = errors.New("it is shorter than it says")

func (r *reader) fail(err error) {
	if r.err == nil {
		r.rest, r.err = nil, err
	}
}

// octets returns the next n octets, or nil if there are not so many.
func (r *reader) octets(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail(errShort)
		return nil
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

// all returns all octets that are left.
func (r *reader) all() []byte { return r.octets(uint64(len(r.rest))) }

// untilNUL returns the octets before the next NUL, and skips that.
func (r *reader) untilNUL() []byte {
	out, rest, ok := bytes.Cut(r.rest, []byte{0})
	if !ok {
		r.fail(errShort)
		return nil
	}
	r.rest = rest
	return out
}

func (r *reader) octet() byte {
	if o := r.octets(1); o != nil {
		return o[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) uint64() uint64 {
	if o := r.octets(8); o != nil {
		return binary.BigEndian.Uint64(o)
	}
	return 0
}

func (r *reader) network() registry.Network {
	if o := r.octets(4); o != nil {
		return registry.Network(binary.BigEndian.Uint32(o))
	}
	return 0
}

func (r *reader) text() []byte { return r.octets(r.uvarint()) }

func (r *reader) address() (a netip.Addr) {
	if err := a.UnmarshalBinary(r.text()); err != nil {
		r.fail(fmt.Errorf("no address: %w", err))
	}
	return a
}

// end returns the first error. Octets that are left are an error, too.
func (r *reader) end() error {
	if r.err == nil && len(r.rest) > 0 {
		return fmt.Errorf("%d octets are left over", len(r.rest))
	}
	return r.err
}

// A decoder decodes records, one after another.
type decoder struct {
	key, body reader // of the record at hand

	strings map[string]string // those that shared returned
	octets  []byte            // the metadata of the last machine
	pairs   []registry.Pair   // and what it was decoded to
}

// begin makes the record at hand one of that key and body.
func (d *decoder) begin(key, body []byte) { d.key, d.body = reader{rest: key}, reader{rest: body} }

// end returns what is wrong with the record at hand.
func (d *decoder) end() error {
	if err := d.key.end(); err != nil {
		return fmt.Errorf("its key: %w", err)
	}
	return d.body.end()
}

// maxStrings bounds the strings that a decoder remembers.
const maxStrings = 1 << 16

// shared returns a string of octets. Records that have the same share one.
func (d *decoder) shared(octets []byte) string {
	if s, ok := d.strings[string(octets)]; ok {
		return s
	}
	if d.strings == nil || len(d.strings) >= maxStrings {
		d.strings = make(map[string]string)
	}
	s := string(octets)
	d.strings[s] = s
	return s
}

// object names a record in messages.
func object(bucket string, key []byte) string {
	k := reader{rest: key}
	switch bucket {
	case bMachines, bLeases:
		what := "machine"
		if bucket == bLeases {
			what = "lease of machine"
		}
		network, app, which := k.network(), k.untilNUL(), k.octet()
		switch {
		case k.err != nil:
		case which == keyLive:
			return fmt.Sprintf("%s %q of app %q in %v", what, k.rest, app, network)
		default:
			return fmt.Sprintf("%s (gone, %x) of app %q in %v", what, k.rest, app, network)
		}
	case "networks", "apps", "peers":
		if network := k.network(); k.err == nil {
			return fmt.Sprintf("%s %q in %v", bucket[:len(bucket)-1], k.rest, network)
		}
	}
	return fmt.Sprintf("record %q of bucket %s", key, bucket)
}
