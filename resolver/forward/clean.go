package forward

import (
	"encoding/binary"
	"slices"

	"github.com/internaldns/internaldns/zone/wire"
)

// How long what an upstream says is believed, in seconds.
const (
	// maxTTL caps the TTL of every record, and so how long anything is cached
	// without asking again. RFC 8767, Section 4, suggests days; a day bounds
	// how long a mistake in someone's zone can last here.
	maxTTL = 86400

	// maxNegativeTTL caps the same for negative responses (RFC 2308, Section
	// 5, suggests one to three hours): names come into being more often than
	// they go.
	maxNegativeTTL = 3600

	// maxChain bounds the CNAME records that are followed for one question.
	// The longest chains of real zones have some six.
	maxChain = 16
)

// A response is what is kept of an upstream's message.
type response struct {
	rcode   wire.RCode
	ad      bool
	ancount uint16
	nscount uint16
	body    []byte   // the records, to stand behind the question
	ttls    []uint16 // where in body the TTLs are, in order
	ttl     uint32   // how long it may be cached, in seconds; 0: not at all
	// caseKept tells that a stream brought it with the question in our letter
	// case.
	caseKept bool
}

// A worth tells what a well-formed response is good for.
type worth uint8

const (
	worthy    worth = iota // it answers the question
	lame                   // its RCODE says that this upstream does not know
	senseless              // it says nothing about the question, or contradicts itself
)

// clean makes the response to q out of m, and uses c for that, whatever c was used
// for before. What is not on the chain from QNAME
// through CNAMEs, and not the SOA that says how long a negative response holds,
// is left out, and so is every owner for which local is true. With DO, the
// signatures of what is kept stay, and the records that prove what is not there.
func (c *cleaner) clean(m *message, q question, local func(name []byte) bool) (*response, worth) {
	switch m.rcode {
	case wire.NoError, wire.NXDomain:
	default:
		return nil, lame
	}
	*c = cleaner{message: m, q: q, local: local, out: packer{buf: c.out.buf}}
	c.out.begin(q)
	flags := binary.BigEndian.Uint16(m.octets[2:])
	c.resp = &response{rcode: m.rcode, ad: flags&wire.FlagAD != 0, ttl: maxTTL}
	if w := c.chain(); w != worthy {
		return nil, w
	}
	c.resp.ancount = uint16(len(c.resp.ttls))
	if w := c.negative(); w != worthy {
		return nil, w
	}
	c.resp.nscount = uint16(len(c.resp.ttls)) - c.resp.ancount
	if len(c.out.buf) > wire.MaxMessageLen {
		return nil, senseless // names that must not be compressed were
	}
	c.resp.body = slices.Clone(c.out.buf[c.bodyAt():]) // no larger than need be
	return c.resp, worthy
}

// A cleaner is the work of clean on one message, and the room for it.
type cleaner struct {
	*message
	q     question
	local func(name []byte) bool
	out   packer
	resp  *response

	at      []byte // the name that the chain has come to
	atBuf   nameBuf
	data    bool       // there is data of the type asked for
	ours    bool       // the chain leads to one of our names
	signers [][]byte   // zones that signed what is on the chain
	signer  [2]nameBuf // room for the first of them
}

// chain keeps the records from QNAME through CNAMEs to the data.
func (c *cleaner) chain() worth {
	c.at = c.atBuf[:copy(c.atBuf[:], c.q.name)]
	for range maxChain {
		if c.keepRRset(c.q.qtype) {
			c.data = true
			break
		}
		cname := c.find(typeCNAME)
		if cname == nil || c.q.qtype == wire.TypeANY {
			break
		}
		if cname.keep {
			return senseless // a loop
		}
		var buf nameBuf
		target := c.name(&buf, cname.rdata)
		c.keepDNAME(target)
		c.keep(cname, maxTTL)
		c.keepSignatures(typeCNAME)
		c.at = c.atBuf[:copy(c.atBuf[:], target)]
		if c.local(c.at) {
			c.ours = true
			break
		}
	}
	switch {
	case c.data && c.resp.rcode == wire.NXDomain:
		return senseless
	case !c.data && !c.ours && c.find(typeCNAME) != nil && c.q.qtype != wire.TypeANY:
		return senseless // longer than any chain should be
	case c.ours:
		// What an upstream says of our names is nothing to us, and what it said
		// of the whole is not said of the part that is left.
		c.resp.rcode, c.resp.ad = wire.NoError, false
	}
	return worthy
}

// find returns the first record of that type at the name that the chain has come
// to, or nil.
func (c *cleaner) find(rtype uint16) *record {
	for i := range c.answer() {
		if r := &c.answer()[i]; r.rtype == rtype && r.class == wire.ClassIN && c.owns(r, c.at) {
			return r
		}
	}
	return nil
}

// keepRRset keeps the records of that type at the name that the chain has come
// to, and reports whether there were any. All get the lowest of their TTLs: an RRset
// has only one (RFC 2181, Section 5.2), and so have its signatures (RFC 4034,
// Section 3).
func (c *cleaner) keepRRset(rtype uint16) bool {
	found, first, ttl := false, len(c.resp.ttls), uint32(maxTTL)
	for i := range c.answer() {
		r := &c.answer()[i]
		if (r.rtype == rtype || rtype == wire.TypeANY) && r.class == wire.ClassIN && r.rtype != wire.TypeOPT && c.owns(r, c.at) {
			c.keep(r, maxTTL)
			found, ttl = true, min(ttl, r.ttl)
		}
	}
	if found && rtype != wire.TypeANY && rtype != typeRRSIG {
		c.keepSignatures(rtype)
	}
	for _, at := range c.resp.ttls[first:] {
		c.capTTL(int(at), ttl)
	}
	return found
}

// capTTL makes the TTL at that place of the body ttl, if it is higher.
func (c *cleaner) capTTL(at int, ttl uint32) {
	p := c.out.buf[c.bodyAt()+at:]
	binary.BigEndian.PutUint32(p, min(ttl, binary.BigEndian.Uint32(p)))
}

// bodyAt returns where in c.out the body begins.
func (c *cleaner) bodyAt() int { return wire.HeaderLen + len(c.q.name) + 4 }

// keepSignatures keeps what signs the RRset of that type at the name that the
// chain has come to, if the client wants it (RFC 4035, Section 3.2.1).
func (c *cleaner) keepSignatures(rtype uint16) {
	if !c.q.has(bitDO) {
		return
	}
	for i := range c.answer() {
		r := &c.answer()[i]
		if r.rtype != typeRRSIG || r.class != wire.ClassIN || c.covered(r) != rtype || !c.owns(r, c.at) {
			continue
		}
		c.keep(r, maxTTL)
		c.noteSigner(r)
	}
}

// noteSigner remembers the zone that an RRSIG names, if the name signed is in it.
func (c *cleaner) noteSigner(r *record) {
	buf := new(nameBuf)
	if len(c.signers) < len(c.signer) {
		buf = &c.signer[len(c.signers)]
	}
	if zone := c.name(buf, r.rdata+rrsigSigner); within(c.at, zone) && len(c.signers) <= maxChain {
		c.signers = append(c.signers, zone)
	}
}

// keepDNAME keeps the DNAME that the CNAME to target was made from (RFC 6672,
// Section 3.1), if there is one.
func (c *cleaner) keepDNAME(target []byte) {
	for i := range c.answer() {
		r := &c.answer()[i]
		if r.rtype != typeDNAME || r.class != wire.ClassIN {
			continue
		}
		var buf, tbuf nameBuf
		owner := c.name(&buf, r.owner)
		if len(owner) >= len(c.at) || !within(c.at, owner) || c.local(owner) {
			continue
		}
		prefix, under := c.at[:len(c.at)-len(owner)], c.name(&tbuf, r.rdata)
		if len(target) != len(prefix)+len(under) || string(target[:len(prefix)]) != string(prefix) || string(target[len(prefix):]) != string(under) {
			continue
		}
		c.keep(r, maxTTL)
		at := c.at
		c.at = owner
		c.keepSignatures(typeDNAME)
		c.at = at
		return
	}
}

// keep writes r and notes its TTL, capped. What is kept already is not kept
// again.
func (c *cleaner) keep(r *record, limit uint32) {
	if r.keep {
		return
	}
	r.keep = true
	ttl := min(r.ttl, limit)
	c.resp.ttl = min(c.resp.ttl, ttl)
	p := &c.out
	var owner nameBuf
	n, _ := readName(&owner, c.octets, r.owner)
	p.appendName(owner[:n], true)
	p.buf = binary.BigEndian.AppendUint16(p.buf, r.rtype)
	p.buf = binary.BigEndian.AppendUint16(p.buf, wire.ClassIN)
	if at := len(p.buf) - c.bodyAt(); at <= 0xFFFF { // else clean gives up
		c.resp.ttls = append(c.resp.ttls, uint16(at))
	}
	p.buf = binary.BigEndian.AppendUint32(p.buf, ttl)
	length := len(p.buf)
	p.buf = append(p.buf, 0, 0)
	p.appendRDATA(c.octets, r.rtype, r.rdata, r.end)
	binary.BigEndian.PutUint16(p.buf[length:], uint16(len(p.buf)-length-2))
}

// negative keeps of the authority section what a client needs, and decides how
// long the response may be cached.
func (c *cleaner) negative() worth {
	if c.data || c.ours {
		c.keepProofs()
		return worthy
	}
	soa, referral := c.findSOA()
	if soa == nil {
		switch {
		case c.resp.rcode == wire.NoError && c.resp.ancount == 0 && (referral || c.answers > 0):
			// It sends us to others (RFC 1034, Section 4.3.1), or speaks of
			// something else.
			return senseless
		case c.resp.rcode == wire.NXDomain && c.resp.ancount == 0 && c.answers > 0:
			return senseless
		}
		// Nothing says how long it holds (RFC 2308, Section 5).
		c.resp.ttl = 0
		return worthy
	}
	// MINIMUM is the SOA's last field (RFC 2308, Section 4).
	minimum := min(binary.BigEndian.Uint32(c.octets[soa.end-4:]), maxNegativeTTL)
	c.keep(soa, minimum)
	if c.q.has(bitDO) {
		var buf nameBuf
		c.signers = append(c.signers, c.name(&buf, soa.owner))
		c.keepProofs()
	}
	return worthy
}

// findSOA returns the SOA of the zone that the chain ended in, or nil, and
// whether there is an NS RRset.
func (c *cleaner) findSOA() (soa *record, referral bool) {
	for i := range c.authority() {
		r := &c.authority()[i]
		switch {
		case r.class != wire.ClassIN:
		case r.rtype == wire.TypeNS:
			referral = true
		case r.rtype == wire.TypeSOA && soa == nil:
			var buf nameBuf
			if owner := c.name(&buf, r.owner); within(c.at, owner) && !c.local(owner) {
				soa = r
			}
		}
	}
	return soa, referral
}

// keepProofs keeps the NSEC and NSEC3 records of the authority section, and the
// signatures there, that are in a zone which the chain went through.
func (c *cleaner) keepProofs() {
	if !c.q.has(bitDO) {
		return
	}
	for i := range c.authority() {
		r := &c.authority()[i]
		rtype := r.rtype
		if r.class == wire.ClassIN && rtype == typeRRSIG {
			rtype = c.covered(r)
		}
		switch rtype {
		case typeNSEC, typeNSEC3:
		case wire.TypeSOA:
			if r.rtype != typeRRSIG || c.data {
				continue
			}
		default:
			continue
		}
		var buf nameBuf
		owner := c.name(&buf, r.owner)
		for _, zone := range c.signers {
			if r.class == wire.ClassIN && within(owner, zone) && !c.local(owner) {
				c.keep(r, maxTTL)
				break
			}
		}
	}
}
