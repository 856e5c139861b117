package cache

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/internaldns/internaldns/resolver/forward/clock"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
)

const (
	// staleTTL is the TTL of records that are served out of date, in seconds
	// (RFC 8767, Section 4).
	staleTTL = 30

	// hotHits is how often an entry must have been used to be refreshed before
	// it expires. Fetching a rarely used entry when it is asked for costs less.
	hotHits = 3

	// refreshPart says in which last part of its lifetime an entry is
	// refreshed: in the last tenth.
	refreshPart = 10
)

// An Entry is the answer to a question, ready to be sent. Only its counters
// change; its methods may be called from any goroutine.
type Entry struct {
	message.Question
	response message.Response
	stored   clock.Moment
	expires  clock.Moment // from then on it is out of date

	hits       atomic.Uint32 // up to hotHits
	refreshing atomic.Bool   // Use has returned true
}

// NewEntry returns the entry that answers q with r, which must not change from now
// on. It expires when r's TTL has passed.
func NewEntry(q message.Question, r *message.Response, now clock.Moment) *Entry {
	return &Entry{Question: q, response: *r, stored: now, expires: now.After(time.Duration(r.TTL) * time.Second)}
}

// entryOverhead is about how many octets an entry takes in memory beside its name
// and records: the struct, and its parts of the cache's tables.
const entryOverhead = 200

// octets returns about how many octets the entry takes in memory.
func (e *Entry) octets() int {
	return entryOverhead + len(e.Name) + cap(e.response.Records) + 2*cap(e.response.TTLs)
}

// Fresh reports whether the entry is not out of date.
func (e *Entry) Fresh(now clock.Moment) bool { return now < e.expires }

// Usable reports whether the entry is fresh, or has been out of date for less than
// staleFor.
func (e *Entry) Usable(now clock.Moment, staleFor time.Duration) bool {
	return now < e.expires.After(staleFor)
}

// Negative reports whether the entry says NODATA or NXDOMAIN.
func (e *Entry) Negative() bool { return e.response.Answers == 0 }

// Use counts a use of the entry, which is fresh. It returns true at most once: when
// the entry is used often and will soon expire, so that the caller should refresh
// it.
func (e *Entry) Use(now clock.Moment) (refresh bool) {
	if e.hits.Load() < hotHits {
		e.hits.Add(1)
		return false
	}
	if (e.expires-now)*refreshPart > e.expires-e.stored || e.refreshing.Load() {
		return false
	}
	return e.refreshing.CompareAndSwap(false, true)
}

// AppendTo appends the response to q, which the entry answers, to out, which must
// be empty. The TTLs are lower by the time since the entry was stored. A stale
// response says that it is stale, and its TTLs are staleTTL. cut reports that records
// were left out because the client cannot take them. AppendTo allocates only if out
// lacks room.
func (e *Entry) AppendTo(out []byte, q *wire.Query, c *wire.Client, now clock.Moment, stale bool) (_ []byte, cut bool) {
	r, o, flags := &e.response, c.Options, uint16(wire.FlagRA)
	if stale && r.RCode == wire.NXDomain {
		o.EDE = wire.EDEStaleNXDomain
	} else if stale {
		o.EDE = wire.EDEStale
	} else if r.AD && (q.DO || q.Flags&wire.FlagAD != 0) { // RFC 6840, Section 5.8
		flags |= wire.FlagAD
	}
	out = wire.AppendHead(out, q, r.RCode, flags)
	start := len(out)
	records, ttls, ancount, nscount := r.Records, r.TTLs, int(r.Answers), int(r.Authority)
	if room := c.Limit - start - wire.OPTLen(q, o); len(records) > room {
		n, end := e.fitting(room)
		records, ttls, ancount, nscount, cut = records[:end], ttls[:n], min(n, ancount), max(n-ancount, 0), true
		if !c.Stream {
			wire.SetTC(out)
		}
	}
	out = append(out, records...)
	age := uint32((now - e.stored) / clock.Moment(time.Second))
	for _, at := range ttls {
		p := out[start+int(at):]
		ttl := uint32(staleTTL)
		if !stale {
			ttl = binary.BigEndian.Uint32(p)
			ttl -= min(age, ttl)
		}
		binary.BigEndian.PutUint32(p, ttl)
	}
	wire.SetCounts(out, ancount, nscount)
	return wire.AppendOPT(out, q, r.RCode, o), cut
}

// fitting returns how many whole records fit into room octets, and the offset
// where the last of them ends.
func (e *Entry) fitting(room int) (n, end int) {
	for _, at := range e.response.TTLs {
		// TTL, RDLENGTH, RDATA.
		next := int(at) + 6 + int(binary.BigEndian.Uint16(e.response.Records[at+4:]))
		if next > room {
			break
		}
		n, end = n+1, next
	}
	return n, end
}
