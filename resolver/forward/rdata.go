package forward

import "github.com/internaldns/internaldns/zone/wire"

// Types of records that a forwarder must tell apart beside those of package wire.
const (
	typeCNAME = 5
	typeDNAME = 39
	typeDS    = 43
	typeRRSIG = 46
	typeNSEC  = 47
	typeNSEC3 = 50
)

// layouts says where names stand in the RDATA of the types in which they may be
// compressed (RFC 3597, Section 4), and how long RDATA is where a wrong length
// would hurt clients. RDATA of every other type is passed bit for bit.
//
//	n  a name, which may be compressed again
//	N  a name, which must not
//	s  a character-string
//	1 to 9  that many octets
//	*  all the rest
var layouts = map[uint16]string{
	wire.TypeA:    "4",
	wire.TypeNS:   "n",
	3:             "n", // MD
	4:             "n", // MF
	typeCNAME:     "n",
	wire.TypeSOA:  "nn992",
	7:             "n", // MB
	8:             "n", // MG
	9:             "n", // MR
	wire.TypePTR:  "n",
	14:            "nn", // MINFO
	15:            "2n", // MX
	17:            "NN", // RP
	18:            "2N", // AFSDB
	21:            "2N", // RT
	wire.TypeSIG:  "99N*",
	26:            "2NN", // PX
	wire.TypeAAAA: "88",
	30:            "N*",    // NXT
	33:            "6N",    // SRV
	35:            "4sssN", // NAPTR
	36:            "2N",    // KX
	typeDNAME:     "N",
	typeRRSIG:     "99N*",
	typeNSEC:      "N*",
}

// Offsets in the RDATA of an RRSIG (RFC 4034, Section 3.1).
const (
	rrsigCovered = 0
	rrsigSigner  = 18
)

// rdataWellFormed reports whether the RDATA msg[off:end] of that type has its
// layout, exactly.
func rdataWellFormed(msg []byte, rtype uint16, off, end int) bool {
	layout, ok := layouts[rtype]
	if !ok {
		return true
	}
	var buf nameBuf
	for _, c := range layout {
		switch c {
		case 'n', 'N':
			if _, off = readName(&buf, msg[:end], off); off < 0 {
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

// appendRDATA appends the RDATA msg[off:end], which is well formed, with every
// name in it written anew.
func (p *packer) appendRDATA(msg []byte, rtype uint16, off, end int) {
	var buf nameBuf
	for _, c := range layouts[rtype] {
		n := 0
		switch c {
		case 'n', 'N':
			n, off = readName(&buf, msg, off)
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
