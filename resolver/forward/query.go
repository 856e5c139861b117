package forward

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"

	"github.com/internaldns/internaldns/zone/wire"
)

// A question is what is asked of an upstream, and what an entry answers.
// Questions that are == are one flight.
type question struct {
	name  string // in wire format and lower case
	qtype uint16
	bits  questionBits
}

// questionBits are the parts of a question that stand outside its section.
type questionBits uint8

const (
	bitDO questionBits = 1 << iota // DNSSEC records are wanted (RFC 3225)
	bitCD                          // unchecked data is wanted (RFC 4035, Section 3.2.2)
)

func bitsOf(q *wire.Query) (b questionBits) {
	if q.DO {
		b |= bitDO
	}
	if q.Flags&wire.FlagCD != 0 {
		b |= bitCD
	}
	return b
}

func (q question) has(b questionBits) bool { return q.bits&b != 0 }

// A query is one message to an upstream. Nothing in it comes from a client but
// the question.
type query struct {
	msg  []byte
	qlen int  // octets of the question section
	edns bool // msg has an OPT record
}

// optSize is what an OPT record without options takes, in octets.
const optSize = 11

// maxQuery is the longest query that is made, in octets.
const maxQuery = wire.HeaderLen + wire.MaxNameLen + 4 + optSize

// newQuery returns a query that make made.
func newQuery(q question, edns, mixed bool) *query {
	sent := new(query)
	sent.make(make([]byte, 0, wire.HeaderLen+len(q.name)+4+optSize), q, edns, mixed)
	return sent
}

// make makes sent a query with an ID, and if mixed a letter case, that nobody
// can guess. The AD bit is always set, to hear what the upstream validated (RFC
// 6840, Section 5.7). The message is appended to msg.
func (sent *query) make(msg []byte, q question, edns, mixed bool) {
	var secret [2 + wire.MaxNameLen/8 + 1]byte
	rand.Read(secret[:]) // never fails

	flags := uint16(wire.FlagRD | wire.FlagAD)
	if q.has(bitCD) {
		flags |= wire.FlagCD
	}
	arcount := byte(0)
	if edns {
		arcount = 1
	}
	msg = append(msg, secret[0], secret[1], byte(flags>>8), byte(flags), 0, 1, 0, 0, 0, 0, 0, arcount)
	msg = append(msg, q.name...)
	if mixed {
		for i := range msg[wire.HeaderLen:] {
			c := &msg[wire.HeaderLen+i]
			if 'a' <= *c && *c <= 'z' && secret[2+i/8]>>(i%8)&1 != 0 {
				*c -= 'a' - 'A'
			}
		}
	}
	msg = binary.BigEndian.AppendUint16(msg, q.qtype)
	msg = binary.BigEndian.AppendUint16(msg, wire.ClassIN)
	if edns {
		do := byte(0)
		if q.has(bitDO) {
			do = 0x80
		}
		msg = append(msg, 0, 0, wire.TypeOPT, wire.ReceiveSize>>8, wire.ReceiveSize&0xFF, 0, 0, do, 0, 0, 0)
	}
	*sent = query{msg: msg, qlen: len(q.name) + 4, edns: edns}
}

func (q *query) id() uint16         { return binary.BigEndian.Uint16(q.msg) }
func (q *query) setID(id uint16)    { binary.BigEndian.PutUint16(q.msg, id) }
func (q *query) question() []byte   { return q.msg[wire.HeaderLen:][:q.qlen] }
func rcodeOf(msg []byte) wire.RCode { return wire.RCode(msg[3] & 0xF) }

// A Mismatch is why a message is not the response to a query.
type Mismatch uint8

const (
	matches          Mismatch = iota
	MismatchShort             // it is no message
	MismatchID                // it has another ID
	MismatchQuery             // it is a query
	MismatchOpcode            // it has another opcode
	MismatchQuestion          // it has another question, several or none
	MismatchCase              // it has our question in another letter case
	MismatchForm              // it is malformed
	numMismatches

	// bareError is a header that says FORMERR or NOTIMP and has our ID: how
	// some servers without EDNS answer a query with it.
	bareError
)

// Mismatches are the names of Mismatch, in order, for metrics; the first is none.
var Mismatches = [numMismatches]string{"", "short", "id", "query", "opcode", "question", "case", "form"}

// opcodeBits are those of the opcode in the header's second word.
const opcodeBits = 0xF << 11

// match tells whether msg answers q, as far as header and question say (RFC 5452,
// Section 9.1). Over streams, which nobody else can write to, letter case does
// not matter.
func (q *query) match(msg []byte, stream bool) Mismatch {
	if len(msg) < wire.HeaderLen {
		return MismatchShort
	}
	flags := binary.BigEndian.Uint16(msg[2:])
	switch {
	case binary.BigEndian.Uint16(msg) != q.id():
		return MismatchID
	case flags&wire.FlagQR == 0:
		return MismatchQuery
	case flags&opcodeBits != 0:
		return MismatchOpcode
	}
	if qdcount := binary.BigEndian.Uint16(msg[4:]); qdcount != 1 || len(msg) < wire.HeaderLen+q.qlen {
		r := rcodeOf(msg)
		if qdcount == 0 && len(msg) == wire.HeaderLen && q.edns && (r == wire.FormErrR || r == wire.NotImpR) {
			return bareError
		}
		return MismatchQuestion
	}
	got, want := msg[wire.HeaderLen:][:q.qlen], q.question()
	n := q.qlen - 4
	switch {
	case bytes.Equal(got, want):
		return matches
	case !bytes.Equal(got[n:], want[n:]) || !sameFold(got[:n], want[:n]):
		return MismatchQuestion
	case stream:
		return matches
	}
	return MismatchCase
}
