package message

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/internaldns/internaldns/zone/wire"
)

const (
	// maxTTL caps the TTL of every record, in seconds, and with it how long
	// a response is cached. RFC 8767, Section 4, suggests days. One day limits
	// how long a mistake in a zone stays visible here.
	maxTTL = 86400

	// maxNegativeTTL caps the TTL of negative responses, in seconds (RFC 2308,
	// Section 5, suggests one to three hours). It is shorter because names are
	// created more often than they are deleted.
	maxNegativeTTL = 3600

	// maxChain is the most CNAME records that are followed for one question.
	// The longest chains of real zones have about six.
	maxChain = 16
)

// A Response is the part of an upstream's response that answers the question. It
// shares no memory with the message it was read from.
type Response struct {
	RCode wire.RCode
	AD    bool // the upstream validated all records
	// CaseKept is false after Clean. A caller that read the response from a
	// stream sets it if the response repeated the letter case of the query.
	CaseKept  bool
	Answers   uint16   // records of the answer section, which come first in Records
	Authority uint16   // records of the authority section
	TTL       uint32   // how long the response may be cached, in seconds; 0: not at all
	Records   []byte   // in wire format, to be put after the question
	TTLs      []uint16 // offsets in Records of each record's TTL, in order
}

// Errors of Clean. It also returns *RCodeError.
var (
	ErrMalformed = errors.New("the response is malformed")
	ErrInvalid   = errors.New("the response says nothing about the question, or not all")
)

// An RCodeError reports a response whose RCODE says that the upstream cannot
// answer.
type RCodeError struct {
	RCode wire.RCode
	EDE   uint16 // the upstream's extended error (RFC 8914), or wire.EDENone
}

func (e *RCodeError) Error() string { return fmt.Sprintf("the response has RCODE %d", e.RCode) }

// EDNS reports whether the RCODE is one by which servers without EDNS reject an
// OPT record (RFC 6891, Section 7).
func (e *RCodeError) EDNS() bool {
	return e.RCode == wire.FormErrR || e.RCode == wire.NotImpR || e.RCode == wire.BadVersR
}

// Clean reads msg, for which Query.Match has returned Matches or MismatchCase,
// and returns the part that answers q. It neither keeps nor changes msg.
//
// The Response has the records on the chain from QNAME through CNAMEs, and the
// SOA that limits how long a negative response may be cached. All other records
// are left out, and so is every record whose owner is a local name: local reports
// this for a name in wire format and lower case, which it must not keep. With
// q.DO, the signatures of the kept records stay, and the records that prove what
// does not exist.
func Clean(msg []byte, q Question, local func(name []byte) bool) (*Response, error) {
	c := cleaners.Get().(*cleaner)
	defer c.release()
	return c.clean(msg, q, local)
}

// A cleaner holds the state of one call of Clean, and the memory that the next
// call uses again. Every call writes a field before it reads it.
type cleaner struct {
	message
	q     Question
	local func(name []byte) bool
	out   packer
	resp  *Response

	at      []byte // the name that the chain has reached
	atBuf   nameBuf
	data    bool       // the chain ends in records of QTYPE
	atLocal bool       // the chain ends in a local name
	signers [][]byte   // zones that signed records of the chain
	signer  [2]nameBuf // backs the first of signers
}

var cleaners = sync.Pool{New: func() any { return new(cleaner) }}

// maxKeptBuf is the largest output buffer, in octets, that a cleaner keeps:
// larger responses are rare, and would make every cleaner as large as theirs.
const maxKeptBuf = 4096

// release returns c to the pool, without references to memory that is not its own.
func (c *cleaner) release() {
	c.octets, c.records, c.q, c.local, c.resp, c.signers = nil, nil, Question{}, nil, nil, nil
	c.out.qname, c.out.known = "", nil
	if cap(c.out.buf) > maxKeptBuf {
		c.out.buf = nil
	}
	cleaners.Put(c)
}

func (c *cleaner) clean(msg []byte, q Question, local func(name []byte) bool) (*Response, error) {
	if !c.parse(msg, q.len()) {
		return nil, ErrMalformed
	}
	if c.rcode != wire.NoError && c.rcode != wire.NXDomain {
		return nil, &RCodeError{c.rcode, c.ede}
	}
	flags := binary.BigEndian.Uint16(msg[2:])
	c.q, c.local, c.data, c.atLocal, c.signers = q, local, false, false, nil
	c.out.begin(q)
	c.resp = &Response{RCode: c.rcode, AD: flags&wire.FlagAD != 0, TTL: maxTTL}
	if !c.chain() {
		return nil, ErrInvalid
	}
	c.resp.Answers = uint16(len(c.resp.TTLs))
	if !c.negative() {
		return nil, ErrInvalid
	}
	c.resp.Authority = uint16(len(c.resp.TTLs)) - c.resp.Answers
	if len(c.out.buf) > wire.MaxMessageLen {
		return nil, ErrInvalid // names that must not be compressed were
	}
	c.resp.Records = slices.Clone(c.out.buf[c.bodyAt():]) // no larger than needed
	return c.resp, nil
}

// chain keeps the records from QNAME through CNAMEs to the data. It reports
// false if they contradict each other or the RCODE.
func (c *cleaner) chain() bool {
	c.at = c.atBuf[:copy(c.atBuf[:], c.q.Name)]
	for range maxChain {
		if c.keepRRset(c.q.Type) {
			c.data = true
			break
		}
		cname := c.find(wire.TypeCNAME)
		if cname == nil || c.q.Type == wire.TypeANY {
			break
		}
		if cname.kept {
			return false // a loop
		}
		var buf nameBuf
		target := c.name(&buf, cname.rdata)
		c.keepDNAME(target)
		c.keep(cname, maxTTL)
		c.keepSignatures(wire.TypeCNAME)
		c.at = c.atBuf[:copy(c.atBuf[:], target)]
		if c.local(c.at) {
			c.atLocal = true
			break
		}
	}
	switch {
	case c.data && c.resp.RCode == wire.NXDomain:
		return false
	case !c.data && !c.atLocal && c.find(wire.TypeCNAME) != nil && c.q.Type != wire.TypeANY:
		return false // longer than maxChain
	case c.atLocal:
		// An upstream does not decide which local names exist, and AD was said
		// of more records than are kept.
		c.resp.RCode, c.resp.AD = wire.NoError, false
	}
	return true
}

// find returns the first record of a type whose owner is c.at, or nil.
func (c *cleaner) find(rtype uint16) *record {
	for i := range c.answer() {
		if r := &c.answer()[i]; r.rtype == rtype && r.class == wire.ClassIN && c.owns(r, c.at) {
			return r
		}
	}
	return nil
}

// keepRRset keeps the records of a type whose owner is c.at, and their signatures,
// and reports whether there were any. All get the lowest of their TTLs: an RRset has
// one TTL (RFC 2181, Section 5.2), and its signatures have the same (RFC 4034,
// Section 3).
func (c *cleaner) keepRRset(rtype uint16) bool {
	found, first, ttl := false, len(c.resp.TTLs), uint32(maxTTL)
	for i := range c.answer() {
		r := &c.answer()[i]
		if (r.rtype == rtype || rtype == wire.TypeANY) && r.class == wire.ClassIN && r.rtype != wire.TypeOPT && c.owns(r, c.at) {
			c.keep(r, maxTTL)
			found, ttl = true, min(ttl, r.ttl)
		}
	}
	if found && rtype != wire.TypeANY && rtype != wire.TypeRRSIG {
		c.keepSignatures(rtype)
	}
	for _, at := range c.resp.TTLs[first:] {
		c.capTTL(int(at), ttl)
	}
	return found
}

// capTTL lowers the TTL at an offset of the records to ttl, if it is higher.
func (c *cleaner) capTTL(at int, ttl uint32) {
	p := c.out.buf[c.bodyAt()+at:]
	binary.BigEndian.PutUint32(p, min(ttl, binary.BigEndian.Uint32(p)))
}

// bodyAt returns the offset in c.out.buf of the first record.
func (c *cleaner) bodyAt() int { return wire.HeaderLen + c.q.len() }

// keepSignatures keeps the RRSIG records of the RRset of a type whose owner is
// c.at, if the client set DO (RFC 4035, Section 3.2.1).
func (c *cleaner) keepSignatures(rtype uint16) {
	if !c.q.DO {
		return
	}
	for i := range c.answer() {
		r := &c.answer()[i]
		if r.rtype != wire.TypeRRSIG || r.class != wire.ClassIN || c.covered(r) != rtype || !c.owns(r, c.at) {
			continue
		}
		c.keep(r, maxTTL)
		c.noteSigner(r)
	}
}

// noteSigner adds the zone that an RRSIG names to c.signers, if c.at is in it.
func (c *cleaner) noteSigner(r *record) {
	buf := new(nameBuf)
	if len(c.signers) < len(c.signer) {
		buf = &c.signer[len(c.signers)]
	}
	if zone := c.name(buf, r.rdata+rrsigSigner); wire.Within(c.at, zone) && len(c.signers) <= maxChain {
		c.signers = append(c.signers, zone)
	}
}

// keepDNAME keeps the DNAME from which the CNAME at c.at with this target was made,
// if there is one (RFC 6672, Section 3.1).
func (c *cleaner) keepDNAME(target []byte) {
	for i := range c.answer() {
		r := &c.answer()[i]
		if r.rtype != wire.TypeDNAME || r.class != wire.ClassIN {
			continue
		}
		var buf, tbuf nameBuf
		owner := c.name(&buf, r.owner)
		if len(owner) >= len(c.at) || !wire.Within(c.at, owner) || c.local(owner) {
			continue
		}
		prefix, under := c.at[:len(c.at)-len(owner)], c.name(&tbuf, r.rdata)
		if len(target) != len(prefix)+len(under) || string(target[:len(prefix)]) != string(prefix) || string(target[len(prefix):]) != string(under) {
			continue
		}
		c.keep(r, maxTTL)
		at := c.at
		c.at = owner
		c.keepSignatures(wire.TypeDNAME)
		c.at = at
		return
	}
}

// keep writes r, with a TTL of at most limit seconds, unless it was written
// before. It lowers the TTL of the response to that of r.
func (c *cleaner) keep(r *record, limit uint32) {
	if r.kept {
		return
	}
	r.kept = true
	ttl := min(r.ttl, limit)
	c.resp.TTL = min(c.resp.TTL, ttl)
	p := &c.out
	var owner nameBuf
	n, _ := wire.ReadName(&owner, c.octets, r.owner)
	p.appendName(owner[:n], true)
	p.buf = binary.BigEndian.AppendUint16(p.buf, r.rtype)
	p.buf = binary.BigEndian.AppendUint16(p.buf, wire.ClassIN)
	if at := len(p.buf) - c.bodyAt(); at <= 0xFFFF { // else clean gives up
		c.resp.TTLs = append(c.resp.TTLs, uint16(at))
	}
	p.buf = binary.BigEndian.AppendUint32(p.buf, ttl)
	length := len(p.buf)
	p.buf = append(p.buf, 0, 0)
	p.appendRDATA(c.octets, r.rtype, r.rdata, r.end)
	binary.BigEndian.PutUint16(p.buf[length:], uint16(len(p.buf)-length-2))
}

// negative keeps the records of the authority section that a client needs, and
// sets how long a negative response may be cached. It reports false if the
// response is no answer.
func (c *cleaner) negative() bool {
	if c.data || c.atLocal {
		c.keepProofs()
		return true
	}
	soa, referral := c.findSOA()
	if soa == nil {
		switch {
		case c.resp.RCode == wire.NoError && c.resp.Answers == 0 && (referral || c.answers > 0):
			// It is a referral (RFC 1034, Section 4.3.1), or its records have
			// other owners.
			return false
		case c.resp.RCode == wire.NXDomain && c.resp.Answers == 0 && c.answers > 0:
			return false
		}
		// Without an SOA it must not be cached (RFC 2308, Section 5).
		c.resp.TTL = 0
		return true
	}
	// MINIMUM is the SOA's last field (RFC 2308, Section 4).
	minimum := min(binary.BigEndian.Uint32(c.octets[soa.end-4:]), maxNegativeTTL)
	c.keep(soa, minimum)
	if c.q.DO {
		var buf nameBuf
		c.signers = append(c.signers, c.name(&buf, soa.owner))
		c.keepProofs()
	}
	return true
}

// findSOA returns the SOA of the zone that c.at is in, or nil. referral reports
// whether the authority section has NS records.
func (c *cleaner) findSOA() (soa *record, referral bool) {
	for i := range c.authority() {
		r := &c.authority()[i]
		switch {
		case r.class != wire.ClassIN:
		case r.rtype == wire.TypeNS:
			referral = true
		case r.rtype == wire.TypeSOA && soa == nil:
			var buf nameBuf
			if owner := c.name(&buf, r.owner); wire.Within(c.at, owner) && !c.local(owner) {
				soa = r
			}
		}
	}
	return soa, referral
}

// keepProofs keeps the NSEC and NSEC3 records of the authority section and their
// signatures, if the client set DO and a zone in c.signers contains them. It keeps
// the signature of the SOA too, unless the chain ends in data.
func (c *cleaner) keepProofs() {
	if !c.q.DO {
		return
	}
	for i := range c.authority() {
		r := &c.authority()[i]
		rtype := r.rtype
		if r.class == wire.ClassIN && rtype == wire.TypeRRSIG {
			rtype = c.covered(r)
		}
		switch rtype {
		case wire.TypeNSEC, wire.TypeNSEC3:
		case wire.TypeSOA:
			if r.rtype != wire.TypeRRSIG || c.data {
				continue
			}
		default:
			continue
		}
		var buf nameBuf
		owner := c.name(&buf, r.owner)
		for _, zone := range c.signers {
			if r.class == wire.ClassIN && wire.Within(owner, zone) && !c.local(owner) {
				c.keep(r, maxTTL)
				break
			}
		}
	}
}
