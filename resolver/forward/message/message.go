package message

import (
	"encoding/binary"

	"github.com/internaldns/internaldns/zone/wire"
)

// A nameBuf has room for any domain name in wire format.
type nameBuf = [wire.MaxNameLen]byte

// A record is one resource record of a message. Its name and RDATA stay in the
// message.
type record struct {
	owner        int // offset of the owner's name
	rtype, class uint16
	ttl          uint32
	rdata, end   int // offsets of RDATA, and of the octet after it
	kept         bool
}

// A message is the parsed form of an upstream's response.
type message struct {
	octets  []byte
	rcode   wire.RCode // with the extension in the OPT record, if there is one
	ede     uint16     // the first extended error (RFC 8914), or wire.EDENone
	records []record
	answers int // the first of records are the answer section,
	authors int // the next the authority section

	few [12]record // backs records while they are few
}

// minRecord is the length of the shortest record in octets: owner, type, class,
// TTL, RDLENGTH.
const minRecord = 1 + 10

// parse reads a response whose header and question are known to match a query
// with a question section of qlen octets. It reports whether the rest is well
// formed: counts, names and the RDATA of the types in layouts. m keeps octets.
func (m *message) parse(octets []byte, qlen int) bool {
	m.octets, m.rcode, m.ede = octets, RCode(octets), wire.EDENone
	m.answers = int(binary.BigEndian.Uint16(octets[6:]))
	m.authors = int(binary.BigEndian.Uint16(octets[8:]))
	count := m.answers + m.authors + int(binary.BigEndian.Uint16(octets[10:]))
	off := wire.HeaderLen + qlen
	if count > (len(octets)-off)/minRecord {
		return false
	}
	m.records = m.few[:0]
	withOPT := false
	for i := range count {
		r := record{owner: off}
		if _, off = wire.ReadName(nil, octets, off); off < 0 || len(octets)-off < 10 {
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
	for opts := m.octets[r.rdata:r.end]; len(opts) > 0; {
		if len(opts) < 4 {
			return false
		}
		code, n := binary.BigEndian.Uint16(opts), int(binary.BigEndian.Uint16(opts[2:]))
		if opts = opts[4:]; len(opts) < n {
			return false
		}
		if code == wire.OptionEDE && n >= 2 && m.ede == wire.EDENone {
			m.ede = binary.BigEndian.Uint16(opts)
		}
		opts = opts[n:]
	}
	return true
}

// answer and authority return the records of those sections.
func (m *message) answer() []record    { return m.records[:m.answers] }
func (m *message) authority() []record { return m.records[m.answers : m.answers+m.authors] }

// name returns the name at an offset, in lower case. The result is in buf.
func (m *message) name(buf *nameBuf, off int) []byte {
	n, _ := wire.ReadName(buf, m.octets, off)
	wire.Lower(buf[:n], buf[:n])
	return buf[:n]
}

// owns reports whether name, which is in lower case, is the owner of r.
func (m *message) owns(r *record, name []byte) bool {
	var buf nameBuf
	n, _ := wire.ReadName(&buf, m.octets, r.owner)
	return wire.EqualFold(buf[:n], name)
}

// covered returns the type that an RRSIG signs.
func (m *message) covered(r *record) uint16 {
	return binary.BigEndian.Uint16(m.octets[r.rdata+rrsigCovered:])
}
