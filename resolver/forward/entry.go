package forward

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/internaldns/internaldns/zone/wire"
)

// staleTTL is the TTL of records that are served out of date, in seconds (RFC
// 8767, Section 4).
const staleTTL = 30

// A moment is a point in time, as nanoseconds since the Forwarder was made. It
// does not jump when the clock is set.
type moment int64

func (m moment) after(d time.Duration) moment { return m + moment(d) }

// An entry is the answer to a question, ready to be sent. It is immutable but for
// its last fields.
type entry struct {
	question
	rcode   wire.RCode
	ad      bool
	ancount uint16
	nscount uint16
	body    []byte   // the records
	ttls    []uint16 // where in body their TTLs are, in order

	stored  moment
	expires moment // from when on it is out of date

	hits       atomic.Uint32 // up to hotHits
	refreshing atomic.Bool   // a prefetch was ordered
}

// newEntry returns the entry that answers q with r.
func newEntry(q question, r *response, now moment) *entry {
	return &entry{
		question: q,
		rcode:    r.rcode, ad: r.ad, ancount: r.ancount, nscount: r.nscount,
		body: r.body, ttls: r.ttls,
		stored: now, expires: now.after(time.Duration(r.ttl) * time.Second),
	}
}

// entryOverhead is about what an entry takes beside its octets: the struct, the
// cache's node, its part of the hash table and of the frequency sketch.
const entryOverhead = 200

// octets returns what the entry takes in memory, about.
func (e *entry) octets() int {
	return entryOverhead + len(e.name) + cap(e.body) + 2*cap(e.ttls)
}

func (e *entry) fresh(now moment) bool { return now < e.expires }

// answers reports whether e is the answer to q. Equal hashes do not say so.
func (e *entry) answers(q *wire.Query) bool {
	return e.name == string(q.Name()) && e.qtype == q.Type && e.bits == bitsOf(q)
}

// appendTo appends the response to q, whose answer e is, to out, which must be
// empty, and reports whether records were left out for want of room. A stale one
// says that it is, and every TTL in it is staleTTL. appendTo allocates only if out
// lacks room.
func (e *entry) appendTo(out []byte, q *wire.Query, c *wire.Client, now moment, stale bool) (_ []byte, cut bool) {
	o, flags := c.Options, uint16(wire.FlagRA)
	if stale && e.rcode == wire.NXDomain {
		o.EDE = wire.EDEStaleNXDomain
	} else if stale {
		o.EDE = wire.EDEStale
	} else if e.ad && (q.DO || q.Flags&wire.FlagAD != 0) { // RFC 6840, Section 5.8
		flags |= wire.FlagAD
	}
	out = wire.AppendHead(out, q, e.rcode, flags)
	start := len(out)
	body, ttls, ancount, nscount := e.body, e.ttls, int(e.ancount), int(e.nscount)
	if room := c.Limit - start - wire.OPTLen(q, o); len(body) > room {
		n, end := e.fitting(room)
		body, ttls, ancount, nscount, cut = body[:end], ttls[:n], min(n, ancount), max(n-ancount, 0), true
		if !c.Stream {
			wire.SetTC(out)
		}
	}
	out = append(out, body...)
	if !stale {
		age := uint32((now - e.stored) / moment(time.Second))
		for _, at := range ttls {
			p := out[start+int(at):]
			ttl := binary.BigEndian.Uint32(p)
			binary.BigEndian.PutUint32(p, ttl-min(age, ttl))
		}
	} else {
		for _, at := range ttls {
			binary.BigEndian.PutUint32(out[start+int(at):], staleTTL)
		}
	}
	wire.SetCounts(out, ancount, nscount)
	return wire.AppendOPT(out, q, e.rcode, o), cut
}

// fitting returns how many of the records fit room, whole, and where they end.
func (e *entry) fitting(room int) (n, end int) {
	for _, at := range e.ttls {
		// TTL, RDLENGTH, RDATA.
		next := int(at) + 6 + int(binary.BigEndian.Uint16(e.body[at+4:]))
		if next > room {
			break
		}
		n, end = n+1, next
	}
	return n, end
}
