package message

import "github.com/internaldns/internaldns/zone/wire"

// layouts describe the RDATA of the types in which names may be compressed (RFC
// 3597, Section 4), and of A and AAAA, where a wrong length would harm clients.
// RDATA of every other type is copied unchanged.
//
//	n  a name, which may be compressed again
//	N  a name, which must not be compressed
//	s  a character-string
//	1 to 9  that many octets
//	*  the rest
var layouts = map[uint16]string{
	wire.TypeA:     "4",
	wire.TypeNS:    "n",
	3:              "n", // MD
	4:              "n", // MF
	wire.TypeCNAME: "n",
	wire.TypeSOA:   "nn992",
	7:              "n", // MB
	8:              "n", // MG
	9:              "n", // MR
	wire.TypePTR:   "n",
	14:             "nn", // MINFO
	15:             "2n", // MX
	17:             "NN", // RP
	18:             "2N", // AFSDB
	21:             "2N", // RT
	wire.TypeSIG:   "99N*",
	26:             "2NN", // PX
	wire.TypeAAAA:  "88",
	30:             "N*",    // NXT
	33:             "6N",    // SRV
	35:             "4sssN", // NAPTR
	36:             "2N",    // KX
	wire.TypeDNAME: "N",
	wire.TypeRRSIG: "99N*",
	wire.TypeNSEC:  "N*",
}

// Offsets in the RDATA of an RRSIG (RFC 4034, Section 3.1).
const (
	rrsigCovered = 0
	rrsigSigner  = 18
)

// rdataWellFormed reports whether the RDATA msg[off:end] has exactly the layout
// of its type.
func rdataWellFormed(msg []byte, rtype uint16, off, end int) bool {
	layout, ok := layouts[rtype]
	if !ok {
		return true
	}
	for _, c := range layout {
		switch c {
		case 'n', 'N':
			if _, off = wire.ReadName(nil, msg[:end], off); off < 0 {
				return false
			}
		case 's':
			if off >= end {
				return false
			}
			off += 1 + int(msg[off])
		case '*':
			off = max(off, end)
		default:
			off += int(c - '0')
		}
		if off > end {
			return false
		}
	}
	return off == end
}

// A packer writes the records that follow a question, and compresses names (RFC
// 1035, Section 4.1.4). Pointers count from the header, so the records are valid
// after any question of the same length.
type packer struct {
	buf   []byte
	qname string
	// known maps each name and each of its parents, in wire format and lower
	// case, to the offset where it was first written. It is nil until the first
	// name other than QNAME is written.
	known map[string]uint16
}

// maxPointer is the last offset that a compression pointer can name.
const maxPointer = 0x3FFF

// begin starts a new message with an empty header and the question.
func (p *packer) begin(q Question) {
	p.buf = append(p.buf[:0], make([]byte, wire.HeaderLen)...)
	p.buf = append(p.buf, q.Name...)
	p.buf = append(p.buf, byte(q.Type>>8), byte(q.Type), 0, wire.ClassIN)
	p.qname, p.known = q.Name, nil
}

// appendRDATA appends the RDATA msg[off:end], which is well formed, and writes
// every name in it anew.
func (p *packer) appendRDATA(msg []byte, rtype uint16, off, end int) {
	var buf nameBuf
	for _, c := range layouts[rtype] {
		n := 0
		switch c {
		case 'n', 'N':
			n, off = wire.ReadName(&buf, msg, off)
			p.appendName(buf[:n], c == 'n')
			continue
		case 's':
			n = 1 + int(msg[off])
		case '*':
			n = end - off
		default:
			n = int(c - '0')
		}
		p.buf = append(p.buf, msg[off:off+n]...)
		off += n
	}
	p.buf = append(p.buf, msg[off:end]...)
}

// appendName appends name, which is in wire format. The labels that it does not
// compress keep their letter case.
func (p *packer) appendName(name []byte, compress bool) {
	if !compress {
		p.buf = append(p.buf, name...)
		return
	}
	if len(name) > 1 && len(name) == len(p.qname) && wire.EqualFold(name, []byte(p.qname)) {
		p.buf = append(p.buf, 0xC0, wire.HeaderLen)
		return
	}
	if p.known == nil {
		p.known = make(map[string]uint16)
		for i := 0; p.qname[i] != 0; i += 1 + int(p.qname[i]) {
			p.known[p.qname[i:]] = uint16(wire.HeaderLen + i)
		}
	}
	var folded nameBuf
	lower := folded[:len(name)]
	wire.Lower(lower, name)
	for len(name) > 1 {
		if at, ok := p.known[string(lower)]; ok {
			p.buf = append(p.buf, 0xC0|byte(at>>8), byte(at))
			return
		}
		if len(p.buf) <= maxPointer {
			p.known[string(lower)] = uint16(len(p.buf))
		}
		n := 1 + int(name[0])
		p.buf = append(p.buf, name[:n]...)
		name, lower = name[n:], lower[n:]
	}
	p.buf = append(p.buf, 0)
}
