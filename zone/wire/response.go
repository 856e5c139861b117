package wire

import (
	"encoding/binary"
	"net/netip"
)

// AppendHead appends the header and question of a response to q and returns the
// extended slice. The header has QR set, q's ID, opcode and RD, CD if q is a
// QUERY, and the given flags (AA, RA); counts other than QDCOUNT are zero. The
// response must start at dst's beginning: compression pointers count from
// there, and so do SetCounts and SetTC. It allocates only if dst lacks room.
func AppendHead(dst []byte, q *Query, rcode RCode, flags uint16) []byte {
	flags |= FlagQR | q.Flags&(OpcodeMask|FlagRD) | uint16(rcode)&0xF
	if q.Flags&OpcodeMask == 0 {
		flags |= q.Flags & FlagCD
	}
	qdcount := byte(0)
	if q.question != nil {
		qdcount = 1
	}
	dst = append(dst, byte(q.ID>>8), byte(q.ID), byte(flags>>8), byte(flags),
		0, qdcount, 0, 0, 0, 0, 0, 0)
	return append(dst, q.question...)
}

// SetCounts writes ANCOUNT and NSCOUNT into the response msg.
func SetCounts(msg []byte, ancount, nscount int) {
	binary.BigEndian.PutUint16(msg[6:], uint16(ancount))
	binary.BigEndian.PutUint16(msg[8:], uint16(nscount))
}

// SetTC marks the response msg as truncated.
func SetTC(msg []byte) { msg[2] |= FlagTC >> 8 }

// Options is the content of a response's OPT record beside its RCODE.
type Options struct {
	// EDE is an extended error (RFC 8914), or EDENone.
	EDE uint16
	// Keepalive is how long an idle TCP connection stays open, in units of
	// 100 ms (RFC 7828, Section 3.1). It is written only if KeepaliveAsked.
	Keepalive uint16
}

// OPTLen returns the number of octets that AppendOPT will append.
func OPTLen(q *Query, o Options) int {
	if !q.OPT {
		return 0
	}
	n := EmptyOPTLen
	if o.EDE != EDENone {
		n += 6
	}
	if o.Keepalive != 0 && q.Keepalive == KeepaliveAsked {
		n += 6
	}
	return n
}

// AppendOPT appends the OPT record of the response to q (RFC 6891, Section 6.1) and counts it
// in msg's ARCOUNT. If q has no OPT, it does nothing. It allocates only if msg lacks room.
func AppendOPT(msg []byte, q *Query, rcode RCode, o Options) []byte {
	if !q.OPT {
		return msg
	}
	do := byte(0)
	if q.DO {
		do = 0x80
	}
	rdlen := OPTLen(q, o) - EmptyOPTLen
	msg = append(msg, 0, 0, TypeOPT, ReceiveSize>>8, ReceiveSize&0xFF,
		byte(rcode>>4), 0, do, 0, 0, byte(rdlen))
	if o.EDE != EDENone {
		msg = append(msg, 0, OptionEDE, 0, 2, byte(o.EDE>>8), byte(o.EDE))
	}
	if o.Keepalive != 0 && q.Keepalive == KeepaliveAsked {
		msg = append(msg, 0, optionKeepalive, 0, 2, byte(o.Keepalive>>8), byte(o.Keepalive))
	}
	msg[11]++ // ARCOUNT
	return msg
}

// AppendError appends a whole response to q, without records but with an OPT if q has one.
// dst must be empty, as for AppendHead.
func AppendError(dst []byte, q *Query, rcode RCode, flags uint16, o Options) []byte {
	return AppendOPT(AppendHead(dst, q, rcode, flags), q, rcode, o)
}

// A Client is what a response depends on beside the query.
type Client struct {
	Addr    netip.Addr
	Limit   int     // most octets of the response; over UDP, never more than Query.UDPSize
	Stream  bool    // asks over TCP, so a response that lacks data sets no TC
	Options Options // of the response's OPT, without EDE
}
