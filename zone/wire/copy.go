package wire

import "encoding/binary"

// MaxCopyLen bounds what AppendQuery appends, in octets: header, question, OPT
// with a keepalive.
const MaxCopyLen = HeaderLen + MaxNameLen + 4 + optLen + 4

// AppendQuery appends a query that has the same response as q, of which Parse has
// said Answer, and returns the extended slice. What the response does not depend
// on, such as padding and cookies, is left out. It allocates once at most, and only
// if dst lacks room.
func AppendQuery(dst []byte, q *Query) []byte {
	if size := HeaderLen + len(q.question) + optLen + 4; cap(dst)-len(dst) < size {
		dst = append(make([]byte, 0, len(dst)+size), dst...)
	}
	arcount := byte(0)
	if q.OPT {
		arcount = 1
	}
	dst = append(dst, byte(q.ID>>8), byte(q.ID), byte(q.Flags>>8), byte(q.Flags), 0, 1, 0, 0, 0, 0, 0, arcount)
	dst = append(dst, q.question...)
	if !q.OPT {
		return dst
	}
	do, rdlen := byte(0), byte(0)
	if q.DO {
		do = 0x80
	}
	if q.Keepalive == KeepaliveAsked {
		rdlen = 4
	}
	dst = append(dst, 0, 0, TypeOPT, byte(q.UDPSize>>8), byte(q.UDPSize), 0, 0, do, 0, 0, rdlen)
	if rdlen != 0 {
		dst = binary.BigEndian.AppendUint32(dst, optionKeepalive<<16) // empty (RFC 7828, Section 3.1)
	}
	return dst
}
