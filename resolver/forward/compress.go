package forward

import "github.com/internaldns/internaldns/zone/wire"

// A packer writes the records that follow a question, with names compressed as
// RFC 1035, Section 4.1.4, says. Pointers count from the header, so what it
// writes is good behind any question of the same length.
type packer struct {
	buf   []byte
	qname string
	// known has where each name and each of its parents was first written, by
	// wire format in lower case; made when the first name but QNAME is.
	known map[string]uint16
}

// maxPointer is the last offset that a compression pointer can name.
const maxPointer = 0x3FFF

// begin forgets what p has written, and writes the header, empty, and the
// question.
func (p *packer) begin(q question) {
	p.buf = append(p.buf[:0], make([]byte, wire.HeaderLen)...)
	p.buf = append(p.buf, q.name...)
	p.buf = append(p.buf, byte(q.qtype>>8), byte(q.qtype), 0, wire.ClassIN)
	p.qname, p.known = q.name, nil
}

// appendName appends name, which is in wire format, and keeps the letter case of
// what it does not compress.
func (p *packer) appendName(name []byte, compress bool) {
	if !compress {
		p.buf = append(p.buf, name...)
		return
	}
	if len(name) > 1 && len(name) == len(p.qname) && sameFold(name, []byte(p.qname)) {
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
	lower := folded[:copy(folded[:], name)]
	toLower(lower)
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
