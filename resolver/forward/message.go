package forward

import (
	"encoding/binary"

	"github.com/internaldns/internaldns/zone/wire"
)

// A record is one of an upstream's message. Its names stay there.
type record struct {
	owner        int // offset of the owner's name
	rtype, class uint16
	ttl          uint32
	rdata, end   int // offsets of RDATA, and of what follows it
	keep         bool
}

// A message is a response as an upstream sent it, taken apart.
type message struct {
	octets  []byte
	rcode   wire.RCode // with the extension in the OPT record, if there is one
	ede     uint16     // the first extended error (RFC 8914), or wire.EDENone
	records []record
	answers int // the first of records are the answer section,
	authors int // the next the authority section

	few [12]record // what records uses while they are few
}

// The least that a record takes, in octets: owner, type, class, TTL, RDLENGTH.
const minRecord = 1 + 10

// parse takes apart a response whose header and question are known to be good. It
// reports whether it is well formed: counts that are right, names that end, and
// RDATA of the length it must have. It keeps octets.
func (m *message) parse(octets []byte, qlen int) bool {
	m.octets, m.rcode, m.ede = octets, rcodeOf(octets), wire.EDENone
	m.answers = int(binary.BigEndian.Uint16(octets[6:]))
	m.authors = int(binary.BigEndian.Uint16(octets[8:]))
	count := m.answers + m.authors + int(binary.BigEndian.Uint16(octets[10:]))
	off := wire.HeaderLen + qlen
	if count > (len(octets)-off)/minRecord {
		return false
	}
	m.records = m.few[:0]
	var name nameBuf
	withOPT := false
	for i := range count {
		r := record{owner: off}
		if _, off = readName(&name, octets, off); off < 0 || len(octets)-off < 10 {
			return false
		}
		r.rtype = binary.BigEndian.Uint16(octets[off:])
		r.class = binary.BigEndian.Uint16(octets[off+2:])
		r.ttl = binary.BigEndian.Uint32(octets[off+4:])
		r.rdata = off + 10
		r.end = r.rdata + int(binary.BigEndian.Uint16(octets[off+8:]))
		if off = r.end; off > len(octets) {
			return false
		}
		switch {
		case r.rtype == wire.TypeOPT:
			if withOPT || i < m.answers+m.authors || octets[r.owner] != 0 || !m.readOPT(r) {
				return false
			}
			withOPT = true
		case r.class == wire.ClassIN && !rdataWellFormed(octets, r.rtype, r.rdata, r.end):
			return false
		case r.ttl > 1<<31-1: // RFC 2181, Section 8
			r.ttl = 0
		}
		m.records = append(m.records, r)
	}
	return off == len(octets)
}

// readOPT reads the upstream's OPT record and reports whether its options are
// well formed.
func (m *message) readOPT(r record) bool {
	m.rcode |= wire.RCode(r.ttl>>24) << 4
	const optionEDE = 15
	for opts := m.octets[r.rdata:r.end]; len(opts) > 0; {
		if len(opts) < 4 {
			return false
		}
		code, n := binary.BigEndian.Uint16(opts), int(binary.BigEndian.Uint16(opts[2:]))
		if opts = opts[4:]; len(opts) < n {
			return false
		}
		if code == optionEDE && n >= 2 && m.ede == wire.EDENone {
			m.ede = binary.BigEndian.Uint16(opts)
		}
		opts = opts[n:]
	}
	return true
}

// answer and authority return the records of those sections.
func (m *message) answer() []record    { return m.records[:m.answers] }
func (m *message) authority() []record { return m.records[m.answers : m.answers+m.authors] }

// name returns the name at an offset, in lower case, in buf.
func (m *message) name(buf *nameBuf, off int) []byte {
	n, _ := readName(buf, m.octets, off)
	toLower(buf[:n])
	return buf[:n]
}

// owns reports whether r's owner is name, which is in lower case.
func (m *message) owns(r *record, name []byte) bool {
	var buf nameBuf
	n, _ := readName(&buf, m.octets, r.owner)
	return sameFold(buf[:n], name)
}

// covered returns the type that an RRSIG signs.
func (m *message) covered(r *record) uint16 {
	return binary.BigEndian.Uint16(m.octets[r.rdata+rrsigCovered:])
}
