package wire

import "encoding/binary"

// A Verdict is what to do with a message, decided by its form before its name is looked up.
// The zero Verdict is Answer.
type Verdict uint8

const (
	Answer  Verdict = iota // look the name up: a well-formed query of a kind that we answer
	Drop                   // send no response
	NotImp                 // another opcode
	FormErr                // malformed
	BadVers                // an EDNS version we do not speak
	NotAuth                // signed with a key that we do not have
	Refused                // another class, or a zone transfer
)

// RCode returns the response code for v. Drop and Answer have none; RCode returns NoError.
func (v Verdict) RCode() RCode {
	switch v {
	case NotImp:
		return NotImpR
	case FormErr:
		return FormErrR
	case BadVers:
		return BadVersR
	case NotAuth:
		return NotAuthR
	case Refused:
		return RefusedR
	}
	return NoError
}

// Keepalive is how a query used the edns-tcp-keepalive option (RFC 7828).
type Keepalive uint8

const (
	KeepaliveNone   Keepalive = iota
	KeepaliveAsked            // present and empty, as a client must send it
	KeepaliveBroken           // present with a timeout, which only servers may send
)

// A Query is one parsed query. It is large and meant to be reused: a worker owns one. What
// it returns is good until the next Parse, or until the message that was parsed changes.
type Query struct {
	ID    uint16
	Flags uint16 // the header's second word, as the client sent it
	Type  uint16 // QTYPE
	Class uint16 // QCLASS

	OPT       bool   // an OPT record was read, so the response carries one
	DO        bool   // DNSSEC OK (RFC 3225)
	Version   uint8  // EDNS version asked with
	UDPSize   uint16 // octets the client takes over UDP, at least MinUDPSize
	Keepalive Keepalive

	question []byte // the question as the client wrote it; nil: none was read
	name     [MaxNameLen]byte
	nameLen  uint8
	labels   [MaxLabels + 1]uint8 // offsets in name of each label, the root's last
	nlabels  uint8                // root not counted
}

// Name returns QNAME in wire format, uncompressed, with the letters A to Z in
// lower case. It is empty if the question could not be read.
func (q *Query) Name() []byte { return q.name[:q.nameLen] }

// Labels returns the number of labels in QNAME, the root not counted.
func (q *Query) Labels() int { return int(q.nlabels) }

// Label returns the i-th label of QNAME counted from the right, the root not
// counted: Label(0) of "web.internal." is "internal". It panics if there is
// none.
func (q *Query) Label(i int) []byte {
	off := int(q.labels[int(q.nlabels)-1-i])
	return q.name[off+1 : off+1+int(q.name[off])]
}

// Above returns the labels of QNAME left of the n rightmost ones, in wire format without a
// root label: "a.b" for "a.b.web.internal." and 2. It panics if QNAME has fewer than n
// labels.
func (q *Query) Above(n int) []byte {
	return q.name[:q.labels[int(q.nlabels)-n]]
}

// Offset returns the offset in the message of the name made of the n rightmost labels of
// QNAME, for a compression pointer.
func (q *Query) Offset(n int) int {
	return HeaderLen + int(q.labels[int(q.nlabels)-n])
}

// Question returns the question section as the client wrote it, letter case
// included; nil if none could be read.
func (q *Query) Question() []byte { return q.question }

// Opcode returns the kind of query (RFC 6895, Section 2.2).
func (q *Query) Opcode() uint8 { return uint8(q.Flags & OpcodeMask >> 11) }

// RD reports whether the client desires recursion.
func (q *Query) RD() bool { return q.Flags&FlagRD != 0 }

// Parse reads msg into q, replacing all that q held, and returns the verdict. For every
// verdict but Drop, q has what the response needs: the question and the OPT record are in
// q if they could be read, even if the rest of msg is malformed. Parse keeps msg and does
// not change it.
func (q *Query) Parse(msg []byte) Verdict {
	q.ID, q.Flags, q.Type, q.Class = 0, 0, 0, 0
	q.OPT, q.DO, q.Version, q.UDPSize, q.Keepalive = false, false, 0, MinUDPSize, KeepaliveNone
	q.question, q.nameLen, q.nlabels = nil, 0, 0
	if len(msg) < HeaderLen {
		return Drop
	}
	q.ID = binary.BigEndian.Uint16(msg)
	q.Flags = binary.BigEndian.Uint16(msg[2:])
	if q.Flags&FlagQR != 0 {
		return Drop
	}
	well, signed := q.sections(msg)
	switch {
	case q.Flags&OpcodeMask != 0:
		return NotImp
	case !well:
		return FormErr
	case q.Version > 0:
		return BadVers
	case signed:
		return NotAuth
	case q.Class != ClassIN:
		return Refused
	}
	switch q.Type {
	case TypeAXFR, TypeIXFR:
		return Refused
	case TypeOPT, TypeTSIG, TypeTKEY, TypeMAILA, TypeMAILB:
		return FormErr
	}
	return Answer
}

// sections reads what follows the header. It reports whether all of it is well formed, and
// whether it is signed. It reads on after records that no query should have, as far as it
// can: the response to a query with an OPT record must have one, in errors too (RFC 6891,
// Sections 6.1.1 and 7).
func (q *Query) sections(msg []byte) (well, signed bool) {
	qdcount := binary.BigEndian.Uint16(msg[4:])
	before := int(binary.BigEndian.Uint16(msg[6:])) + int(binary.BigEndian.Uint16(msg[8:]))
	additional := int(binary.BigEndian.Uint16(msg[10:]))
	well = qdcount == 1 && before == 0

	off := HeaderLen
	switch qdcount {
	case 0:
	case 1:
		if off = q.readQuestion(msg); off < 0 {
			return false, false
		}
	default: // no message has several questions (RFC 9619)
		return false, false
	}
	for n := before + additional; n > 0; n-- {
		if signed {
			well = false // a signature comes last (RFC 8945, Section 5.2; RFC 2931, Section 3)
		}
		start := off
		if _, off = ReadName(nil, msg, off); off < 0 || len(msg)-off < 10 {
			return false, signed
		}
		rr := msg[off:] // from its type on
		rdlen := int(binary.BigEndian.Uint16(rr[8:]))
		if len(rr)-10 < rdlen {
			return false, signed
		}
		rr = rr[:10+rdlen]
		off += len(rr)
		switch binary.BigEndian.Uint16(rr) {
		case TypeOPT:
			if q.OPT {
				return false, signed
			}
			if !q.readOPT(rr) || msg[start] != 0 {
				well = false
			}
		case TypeTSIG:
			signed = true
		case TypeSIG: // SIG(0) is the one that covers no type (RFC 2931, Section 3)
			signed = signed || rdlen >= 2 && rr[10]|rr[11] == 0
		}
	}
	return well && off == len(msg), signed // no octets may follow the last record
}

// readQuestion reads the question section and returns the offset of its end, or -1 if it is
// malformed. Only the header is before QNAME, so a compression pointer in QNAME is always
// wrong.
func (q *Query) readQuestion(msg []byte) int {
	off, labels := HeaderLen, 0
	for {
		if off >= len(msg) {
			return -1
		}
		length := int(msg[off])
		q.labels[labels] = uint8(off - HeaderLen)
		off += 1 + length
		if length == 0 {
			break
		}
		// A length above MaxLabelLen is a compression pointer or a deprecated kind of
		// label (RFC 6891, Section 5). One octet stays for the root label.
		if length > MaxLabelLen || off-HeaderLen >= MaxNameLen {
			return -1
		}
		labels++
	}
	if len(msg)-off < 4 {
		return -1
	}
	Lower(q.name[:], msg[HeaderLen:off])
	q.nameLen = uint8(off - HeaderLen)
	q.nlabels = uint8(labels)
	q.Type = binary.BigEndian.Uint16(msg[off:])
	q.Class = binary.BigEndian.Uint16(msg[off+2:])
	q.question = msg[HeaderLen : off+4]
	return off + 4
}

// readOPT reads an OPT record (RFC 6891, Section 6.1), of which rr begins with the type, and
// reports whether its options are well formed. If they are not, q still has an OPT (RFC
// 6891, Section 7).
func (q *Query) readOPT(rr []byte) bool {
	q.OPT = true
	q.UDPSize = max(binary.BigEndian.Uint16(rr[2:]), MinUDPSize)
	q.Version = rr[5]
	q.DO = rr[6]&0x80 != 0
	for opts := rr[10:]; len(opts) > 0; {
		if len(opts) < 4 {
			return false
		}
		code, n := binary.BigEndian.Uint16(opts), int(binary.BigEndian.Uint16(opts[2:]))
		if len(opts)-4 < n {
			return false
		}
		switch code {
		case optionCookie: // RFC 7873, Section 5.2.2
			if n != 8 && (n < 16 || n > 40) {
				return false
			}
		case optionKeepalive:
			if n != 0 {
				q.Keepalive = KeepaliveBroken
			} else if q.Keepalive == KeepaliveNone {
				q.Keepalive = KeepaliveAsked
			}
		}
		opts = opts[4+n:]
	}
	return true
}

// MaxCopyLen is the most octets that AppendQuery appends: header, question, OPT with a
// keepalive.
const MaxCopyLen = HeaderLen + MaxNameLen + 4 + EmptyOPTLen + 4

// AppendQuery appends a query with the same response as q, and returns the extended slice. q
// must have the verdict Answer. The query lacks all that the response does not depend on,
// such as padding and cookies. AppendQuery allocates at most once, and only if dst lacks
// room.
func AppendQuery(dst []byte, q *Query) []byte {
	if size := HeaderLen + len(q.question) + EmptyOPTLen + 4; cap(dst)-len(dst) < size {
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

// Tail returns the last labels of the QNAME in a message that has not been parsed: Label(0),
// Label(1), Label(2) and Above(2) as Parse would make them, in the letter case of msg. A
// missing label is nil. For a malformed message the result has no meaning, but above is
// whole labels of up to 63 octets. Tail takes a quarter of the time of Parse.
func Tail(msg []byte) (above []byte, tail [3][]byte) {
	var at [4]int // offsets at which the last labels begin, and of their end
	n, off := 0, HeaderLen
	for ; off < len(msg) && msg[off] != 0; n++ {
		at[0], at[1], at[2] = at[1], at[2], off
		if msg[off] > 63 {
			return nil, tail
		}
		off += 1 + int(msg[off])
	}
	if off >= len(msg) {
		return nil, tail
	}
	at[3] = off
	for i := range min(n, len(tail)) {
		tail[i] = msg[at[2-i]+1 : at[3-i]]
	}
	if n >= 2 {
		above = msg[HeaderLen:at[1]]
	}
	return above, tail
}
