package wire

import "encoding/binary"

// A Verdict is what the form of a message decides, before anyone looks at the
// name. The zero Verdict is Answer.
type Verdict uint8

const (
	Answer  Verdict = iota // a well-formed query of a kind we answer
	Drop                   // no response is owed
	NotImp                 // another opcode
	FormErr                // malformed
	BadVers                // an EDNS version we do not speak
	NotAuth                // signed with a key that we do not have
	Refused                // another class, or a zone transfer
)

// RCode returns the response code that v asks for. Drop has none; it gives
// NoError, as Answer does.
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

// Keepalive says how a query used the edns-tcp-keepalive option (RFC 7828).
type Keepalive uint8

const (
	KeepaliveNone   Keepalive = iota
	KeepaliveAsked            // present and empty, as a client must send it
	KeepaliveBroken           // present with a timeout, which only servers may send
)

// A Query is one parsed query. It is large and meant to be reused: a worker
// owns one. Everything it returns is good until the message it was parsed from
// is overwritten, or the next Parse.
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

// Above returns the labels of QNAME that stand left of the n rightmost ones, in
// wire format without a root label: of "a.b.web.internal." and 2, "a.b". It
// panics if QNAME has fewer than n labels.
func (q *Query) Above(n int) []byte {
	return q.name[:q.labels[int(q.nlabels)-n]]
}

// Offset returns where in the message the name made of the n rightmost labels
// of QNAME starts, for a compression pointer.
func (q *Query) Offset(n int) int {
	return HeaderLen + int(q.labels[int(q.nlabels)-n])
}

// Question returns the question section as the client wrote it, letter case
// included; nil if none could be read.
func (q *Query) Question() []byte { return q.question }

// Opcode returns the kind of query (RFC 6895, Section 2.2).
func (q *Query) Opcode() uint8 { return uint8(q.Flags & opcodeMask >> 11) }

// RD tells whether the client desires recursion.
func (q *Query) RD() bool { return q.Flags&FlagRD != 0 }

// Parse reads msg into q, replacing all that q held, and returns what its form
// decides. For every verdict but Drop, q knows enough to write the response:
// what could be read of question and OPT stands in q also if the rest was
// malformed. Parse keeps msg and does not change it.
func (q *Query) Parse(msg []byte) Verdict {
	if len(msg) < HeaderLen {
		return Drop
	}
	q.ID = binary.BigEndian.Uint16(msg)
	q.Flags = binary.BigEndian.Uint16(msg[2:])
	q.Type, q.Class = 0, 0
	q.OPT, q.DO, q.Version, q.UDPSize, q.Keepalive = false, false, 0, MinUDPSize, KeepaliveNone
	q.question, q.nameLen, q.nlabels = nil, 0, 0
	if q.Flags&FlagQR != 0 {
		return Drop
	}
	well, signed := q.sections(msg)
	switch {
	case q.Flags&opcodeMask != 0:
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

// sections reads what follows the header and reports whether all of it is well
// formed, and whether it is signed.
func (q *Query) sections(msg []byte) (well, signed bool) {
	counts := binary.BigEndian.Uint64(msg[4:])
	if counts>>48 != 1 { // QDCOUNT
		return false, false
	}
	off, ok := q.readQuestion(msg)
	if !ok {
		return false, false
	}
	if counts<<16>>32 != 0 { // ANCOUNT, NSCOUNT
		return false, false
	}
	for arcount := uint16(counts); arcount > 0; arcount-- {
		start := off
		if off = skipName(msg, off); off < 0 || len(msg)-off < 10 {
			return false, signed
		}
		rr := msg[off:]
		rtype := binary.BigEndian.Uint16(rr)
		rdlen := int(binary.BigEndian.Uint16(rr[8:]))
		if len(rr)-10 < rdlen {
			return false, signed
		}
		off += 10 + rdlen
		switch rtype {
		case TypeOPT:
			if q.OPT || msg[start] != 0 || !q.readOPT(rr[:10+rdlen]) {
				return false, signed
			}
		case TypeTSIG, TypeSIG:
			signed = true
		}
	}
	return off == len(msg), signed // octets after the last record belong to nothing
}

// readQuestion reads the question section and returns the offset of its end.
// Before QNAME stands only the header, so a compression pointer in it can never
// be right.
func (q *Query) readQuestion(msg []byte) (end int, ok bool) {
	off, n, labels := HeaderLen, 0, 0
	for {
		if off >= len(msg) {
			return 0, false
		}
		length := int(msg[off])
		q.labels[labels] = uint8(n)
		if length == 0 {
			break
		}
		// A length above MaxLabelLen is a pointer or a kind of label that
		// nobody uses (RFC 6891, Section 5). One octet stays for the root.
		if length > MaxLabelLen || n+1+length >= MaxNameLen || off+1+length >= len(msg) {
			return 0, false
		}
		q.name[n] = byte(length)
		for i, c := range msg[off+1 : off+1+length] {
			q.name[n+1+i] = lower[c]
		}
		off += 1 + length
		n += 1 + length
		labels++
	}
	if len(msg)-off < 5 {
		return 0, false
	}
	q.name[n] = 0
	q.nameLen = uint8(n + 1)
	q.nlabels = uint8(labels)
	q.Type = binary.BigEndian.Uint16(msg[off+1:])
	q.Class = binary.BigEndian.Uint16(msg[off+3:])
	q.question = msg[HeaderLen : off+5]
	return off + 5, true
}

// readOPT reads an OPT record, given from its type on (RFC 6891, Section 6.1).
func (q *Query) readOPT(rr []byte) bool {
	keepalive := KeepaliveNone
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
			keepalive = KeepaliveAsked
			if n != 0 {
				keepalive = KeepaliveBroken
			}
		}
		opts = opts[4+n:]
	}
	q.OPT = true
	q.UDPSize = max(binary.BigEndian.Uint16(rr[2:]), MinUDPSize)
	q.Version = rr[5]
	q.DO = rr[6]&0x80 != 0
	q.Keepalive = keepalive
	return true
}

// skipName returns the offset behind the name at off, or -1 if there is no
// well-formed name. Compression pointers must point backwards, to a place
// behind the header, each further back than the one before, so that following
// them ends.
func skipName(msg []byte, off int) int {
	end, length, limit := -1, 1, off
	for {
		if off >= len(msg) {
			return -1
		}
		c := int(msg[off])
		switch {
		case c == 0:
			if end < 0 {
				end = off + 1
			}
			return end
		case c <= MaxLabelLen:
			off += 1 + c
			if length += 1 + c; length > MaxNameLen {
				return -1
			}
		case c >= 0xC0 && off+1 < len(msg):
			if end < 0 {
				end = off + 2
			}
			off = (c&0x3F)<<8 | int(msg[off+1])
			if off < HeaderLen || off >= limit {
				return -1
			}
			limit = off
		default:
			return -1
		}
	}
}

// lower maps octets to themselves, and the letters A to Z to a to z (RFC 4343,
// Section 3).
var lower = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()
