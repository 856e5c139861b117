package message

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"

	"github.com/internaldns/internaldns/zone/wire"
)

// A Query is one message to an upstream. It contains nothing of a client's query
// but the question.
type Query struct {
	Octets []byte // the message
	qlen   int    // octets of the question section
	edns   bool   // the message has an OPT record
}

// MaxQueryLen is the longest query that Make makes, in octets.
const MaxQueryLen = wire.HeaderLen + wire.MaxNameLen + 4 + wire.EmptyOPTLen

// NewQuery returns a Query for q: see Make.
func NewQuery(q Question, edns, mixed bool) *Query {
	sent := new(Query)
	sent.Make(make([]byte, 0, wire.HeaderLen+q.len()+wire.EmptyOPTLen), q, edns, mixed)
	return sent
}

// Make appends a query for q to dst, which must be empty, and sets sent to it;
// sent keeps dst. The ID is random, and so is the letter case of QNAME if mixed is
// set. With edns the query has an OPT record. The AD bit is always set, so that
// the response says whether the upstream validated it (RFC 6840, Section 5.7). Make
// allocates only if dst has room for less than MaxQueryLen octets.
func (sent *Query) Make(dst []byte, q Question, edns, mixed bool) {
	var random [2 + wire.MaxNameLen/8 + 1]byte
	rand.Read(random[:]) // never fails

	flags := uint16(wire.FlagRD | wire.FlagAD)
	if q.CD {
		flags |= wire.FlagCD
	}
	arcount := byte(0)
	if edns {
		arcount = 1
	}
	dst = append(dst, random[0], random[1], byte(flags>>8), byte(flags), 0, 1, 0, 0, 0, 0, 0, arcount)
	dst = append(dst, q.Name...)
	if mixed {
		for i := range dst[wire.HeaderLen:] {
			c := &dst[wire.HeaderLen+i]
			if 'a' <= *c && *c <= 'z' && random[2+i/8]>>(i%8)&1 != 0 {
				*c -= 'a' - 'A'
			}
		}
	}
	dst = binary.BigEndian.AppendUint16(dst, q.Type)
	dst = binary.BigEndian.AppendUint16(dst, wire.ClassIN)
	if edns {
		do := byte(0)
		if q.DO {
			do = 0x80
		}
		dst = append(dst, 0, 0, wire.TypeOPT, wire.ReceiveSize>>8, wire.ReceiveSize&0xFF, 0, 0, do, 0, 0, 0)
	}
	*sent = Query{Octets: dst, qlen: q.len(), edns: edns}
}

// ID returns the query's ID.
func (sent *Query) ID() uint16 { return binary.BigEndian.Uint16(sent.Octets) }

// SetID changes the query's ID. Over a stream that is shared, IDs must differ.
func (sent *Query) SetID(id uint16) { binary.BigEndian.PutUint16(sent.Octets, id) }

// RCode returns the RCODE in the header of msg, without the extension that an OPT
// record may have. msg has at least wire.HeaderLen octets.
func RCode(msg []byte) wire.RCode { return wire.RCode(msg[3] & 0xF) }

// Truncated reports whether the header of msg says that records are missing. msg
// has at least wire.HeaderLen octets.
func Truncated(msg []byte) bool { return msg[2]&(wire.FlagTC>>8) != 0 }

// A Mismatch is the reason why a message is not the response to a query.
type Mismatch uint8

const (
	Matches          Mismatch = iota
	MismatchShort             // it is shorter than a header
	MismatchID                // it has another ID
	MismatchQuery             // it is a query
	MismatchOpcode            // it has another opcode
	MismatchQuestion          // it has another question, several or none
	MismatchCase              // it has our question in another letter case
	MismatchForm              // it is malformed, which Clean finds
	NumMismatches

	// BareError is a header with our ID that says FORMERR or NOTIMP, and no
	// question: some servers without EDNS respond to an OPT record in this way.
	BareError
)

// Mismatches are the names of the Mismatch values, in order, for metrics; the
// first is empty.
var Mismatches = [NumMismatches]string{"", "short", "id", "query", "opcode", "question", "case", "form"}

// Match reports whether the header and the question of msg are those of the
// response to the query (RFC 5452, Section 9.1). It does not look at the records.
// Over streams MismatchCase does not matter: an attacker cannot write to them.
func (sent *Query) Match(msg []byte) Mismatch {
	if len(msg) < wire.HeaderLen {
		return MismatchShort
	}
	flags := binary.BigEndian.Uint16(msg[2:])
	switch {
	case binary.BigEndian.Uint16(msg) != sent.ID():
		return MismatchID
	case flags&wire.FlagQR == 0:
		return MismatchQuery
	case flags&wire.OpcodeMask != 0:
		return MismatchOpcode
	}
	if qdcount := binary.BigEndian.Uint16(msg[4:]); qdcount != 1 || len(msg) < wire.HeaderLen+sent.qlen {
		r := RCode(msg)
		if qdcount == 0 && len(msg) == wire.HeaderLen && sent.edns && (r == wire.FormErrR || r == wire.NotImpR) {
			return BareError
		}
		return MismatchQuestion
	}
	got, want := msg[wire.HeaderLen:][:sent.qlen], sent.Octets[wire.HeaderLen:][:sent.qlen]
	n := sent.qlen - 4
	switch {
	case bytes.Equal(got, want):
		return Matches
	case !bytes.Equal(got[n:], want[n:]) || !wire.EqualFold(got[:n], want[:n]):
		return MismatchQuestion
	}
	return MismatchCase
}
