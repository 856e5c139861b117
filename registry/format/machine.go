package format

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/internaldns/internaldns/registry"
)

// A decoded is a machine that was decoded from its object. App and Network are not
// known yet.
type decoded struct {
	machine *registry.Machine
	faults  registry.Faults // Object is empty
}

// ParseMachine decodes a machine's object and keeps nothing of it. App and Network
// are left to the caller. The error is registry.Faults, which name the fields and
// no object, with all that is wrong with the object by itself; m is not nil then.
// Or, for malformed JSON, it is ErrTrailing or an error of package jsontext or io.
func ParseMachine(object []byte) (m *registry.Machine, err error) {
	d := newMachineDecoder()
	m, faults := d.decode(object)
	if d.err != nil {
		return nil, d.err
	}
	return m, faults.Err()
}

// A machineDecoder decodes machine objects one after another. It remembers
// strings that come again and again. Each worker of a pool has its own.
type machineDecoder struct {
	objectReader
	m     *registry.Machine
	addr  string // private_ip as given, if it does not parse
	pairs []registry.Pair
	last  []registry.Pair // the metadata of a machine before
	seen  map[string]string

	// The methods as values, made once.
	onMachine, onConfig, onMetadata, onDNS func(name []byte)
}

func newMachineDecoder() *machineDecoder {
	d := &machineDecoder{seen: make(map[string]string)}
	d.onMachine, d.onConfig, d.onMetadata, d.onDNS = d.machine, d.config, d.metadata, d.dns
	return d
}

// decode decodes object and keeps nothing of it. Malformed JSON is in err.
func (d *machineDecoder) decode(object jsontext.Value) (*registry.Machine, registry.Faults) {
	d.m = &registry.Machine{Raw: registry.NewRaw(object)}
	d.addr, d.pairs = "", d.pairs[:0]
	if !d.read(object, d.onMachine) {
		return d.m, d.faults
	}
	if d.m.State == "" {
		d.missing("state")
	}
	if d.m.Gone() {
		d.faults = slices.DeleteFunc(d.faults, func(f registry.Fault) bool {
			return f.Field == "id" || f.Field == "region" || f.Field == "private_ip"
		})
	} else {
		d.mustHave()
	}
	slices.SortFunc(d.pairs, func(a, b registry.Pair) int { return cmp.Compare(a.Key, b.Key) })
	if len(d.pairs) > 0 {
		if !slices.Equal(d.pairs, d.last) {
			d.last = slices.Clone(d.pairs)
		}
		d.m.Metadata = d.last // machines side by side often have the same
	}
	return d.m, d.faults
}

// mustHave adds faults for what a machine that is not gone must have.
func (d *machineDecoder) mustHave() {
	if d.m.ID == "" {
		d.missing("id")
	}
	if d.m.Region == "" {
		d.missing("region")
	}
	switch {
	case d.addr != "":
		d.faultf("private_ip", "%s is no address", registry.Quote(d.addr))
	case !d.m.Address.IsValid():
		d.missing("private_ip")
	}
}

func (d *machineDecoder) machine(name []byte) {
	switch string(name) {
	case "id":
		d.m.ID = d.lower("id")
	case "state":
		if s, ok := d.text("state"); ok {
			d.m.State = d.intern(s)
		}
	case "region":
		if s, ok := d.text("region"); ok {
			d.m.Region = registry.Fold(d.intern(s))
		}
	case "private_ip":
		if s, ok := d.text("private_ip"); ok {
			var err error
			if d.m.Address, err = netip.ParseAddr(string(s)); err != nil {
				d.addr = string(s)
			}
		}
	case "config":
		d.fields("config", d.onConfig)
	default:
		d.skip()
	}
}

func (d *machineDecoder) config(name []byte) {
	switch string(name) {
	case "metadata":
		d.pairs = d.pairs[:0]
		d.fields("config.metadata", d.onMetadata)
	case "dns":
		d.fields("config.dns", d.onDNS)
	default:
		d.skip()
	}
}

func (d *machineDecoder) metadata(name []byte) {
	key := d.intern(name)
	v := d.next()
	if d.err != nil {
		return
	}
	if k := v.Kind(); k != jsontext.KindString {
		d.faultf("config.metadata", "want a string as the value of %s, got %s", registry.Quote(key), KindName(k))
		return
	}
	d.scratch, _ = jsontext.AppendUnquote(d.scratch[:0], v)
	d.pairs = append(d.pairs, registry.Pair{Key: key, Value: d.intern(d.scratch)})
}

func (d *machineDecoder) dns(name []byte) {
	if string(name) == "skip_registration" {
		d.m.Skip = d.boolean("config.dns.skip_registration")
		return
	}
	d.skip()
}

const (
	// maxInterned bounds how many strings a decoder remembers. States, regions,
	// metadata keys and process groups are few; release ids and the like are
	// not, and must not make the table grow with the file.
	maxInterned = 1 << 14

	// maxInternedLen is the longest string remembered, in octets: longer ones
	// seldom come again.
	maxInternedLen = 64
)

// intern returns b as a string, the same one for the same octets.
func (d *machineDecoder) intern(b []byte) string {
	if s, ok := d.seen[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(s) <= maxInternedLen && len(d.seen) < maxInterned {
		d.seen[s] = s
	}
	return s
}
