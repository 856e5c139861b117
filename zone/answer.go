package zone

import (
	"encoding/binary"
	"slices"

	"github.com/internaldns/internaldns/zone/wire"
)

// A Finding is the result of a lookup.
type Finding uint8

const (
	OutOfZone Finding = iota // the name is in no zone of this server
	Refused                  // the client has no network, or two different ones
	NotReady                 // the facts are not there yet
	NXDomain                 // the name does not exist in the client's view
	NoData                   // the name exists, without data of the type asked for
	Data                     // the name has data of the type asked for
)

// String returns a name of the finding for tests and logs.
func (f Finding) String() string {
	return [...]string{"out of zone", "REFUSED", "not ready", "NXDOMAIN", "NODATA", "NOERROR"}[f]
}

// An Answer is the answer of a View to one question. It is large and meant to be reused:
// a worker owns one. It is good until the next Lookup, and shares memory with the View.
type Answer struct {
	Finding Finding

	kind   rrset
	apex   int    // number of labels of the zone's apex, for the SOA of a negative answer
	serial uint32 // SERIAL of the client's network
	ttl    uint32 // of every record, in seconds

	set   addressSet // of kind addresses
	list  []nearby   // of kind nearestList
	text  []byte     // of kind textList: the RDATA
	sep   byte       // between the items of text
	name  [wire.MaxNameLen]byte
	nlen  int        // of kind pointer: name[:nlen] is the target, in wire form
	one   [1]address // memory of a set of one
	near  nearest    // makes list
	lines []byte     // memory of the text of a nearest list
}

// rrset is the kind of RRset in the answer section.
type rrset uint8

const (
	none        rrset = iota
	addresses         // AAAA, in the order of set
	nearestList       // AAAA, in the order of list
	textList          // TXT
	pointer           // PTR to name
	nameserver        // NS: the server itself
	authority         // SOA
)

// Frame is what the form of a response depends on beside the Answer.
type Frame struct {
	// Limit is the most octets the response may have, at least
	// wire.MinUDPSize.
	Limit int
	// Truncate makes a response that lacks data set TC, so that the client asks again
	// over TCP. Without it, the response has what fits and no TC.
	Truncate bool
	// Flags are header flags to set beside those of the answer: RA.
	Flags   uint16
	Options wire.Options
}

// RCode returns the response code of the answer. An answer that is OutOfZone has none;
// RCode returns RefusedR.
func (a *Answer) RCode() wire.RCode {
	switch a.Finding {
	case Data, NoData:
		return wire.NoError
	case NXDomain:
		return wire.NXDomain
	case NotReady:
		return wire.ServFail
	}
	return wire.RefusedR
}

// AppendTo appends the response to q, which must be the query that was looked up, and
// returns the extended slice. dst must be empty, because compression pointers count from
// its beginning. cut reports that not all data fit. AppendTo allocates only if dst lacks
// room for f.Limit octets.
func (a *Answer) AppendTo(dst []byte, q *wire.Query, f Frame) (msg []byte, cut bool) {
	rcode := a.RCode()
	switch a.Finding {
	case Data, NoData, NXDomain:
		msg = wire.AppendHead(dst, q, rcode, f.Flags|wire.FlagAA)
	case NotReady:
		f.Options.EDE = wire.EDENotReady
		return wire.AppendError(dst, q, rcode, f.Flags, f.Options), false
	default:
		return wire.AppendError(dst, q, rcode, f.Flags, f.Options), false
	}
	ancount, nscount := 0, 0
	if a.Finding == Data {
		room := f.Limit - len(msg) - wire.OPTLen(q, f.Options)
		msg, ancount, cut = a.appendRecords(msg, room, f.Truncate)
		if cut && f.Truncate {
			wire.SetTC(msg)
		}
	} else {
		msg, nscount = a.appendSOA(msg, q.Offset(a.apex)), 1
	}
	wire.SetCounts(msg, ancount, nscount)
	return wire.AppendOPT(msg, q, rcode, f.Options), cut
}

// rrHead is the length of a record without its RDATA, in octets. The owner takes two: it
// is a compression pointer.
const rrHead = 12

// aaaaLen is the length of an AAAA record (RFC 3596, Section 2.2).
const aaaaLen = rrHead + 16

// appendRecords appends the records of the answer section, as many as fit in
// room octets.
//
// To add a record type:
//
//  1. zone/wire/const.go: add its number.
//  2. Here: add a kind of answer, and append its records with head, which writes the TTL.
//  3. Give Answer a method beside addresses and listText, which checks asksFor, and call
//     it in lookup.go or reverse.go for the names that have the type.
//  4. zone/slow_test.go: teach lookupSlow, straight from the facts.
//  5. zone/explain/names.go: name the type in the calls of is for these names.
//  6. metrics/labels.go: add it to types, so that queries for it are counted by name.
func (a *Answer) appendRecords(msg []byte, room int, truncate bool) (_ []byte, count int, cut bool) {
	switch a.kind {
	case addresses:
		head := a.head(wire.TypeAAAA, len(address{}))
		fits := room / aaaaLen
		for chunk := range a.set.Chunks {
			n := min(len(chunk), fits-count)
			msg = slices.Grow(msg, n*aaaaLen)
			for i := range chunk[:n] {
				msg = append(append(msg, head[:]...), chunk[i][:]...)
			}
			if count += n; n < len(chunk) {
				return msg, count, true
			}
		}
		return msg, count, false
	case nearestList:
		head := a.head(wire.TypeAAAA, len(address{}))
		count = min(len(a.list), room/aaaaLen)
		for i := range a.list[:count] {
			msg = append(append(msg, head[:]...), a.list[i].addr[:]...)
		}
		return msg, count, count < len(a.list)
	case textList:
		return a.appendTXT(msg, room, truncate)
	case pointer:
		return append(a.appendHead(msg, wire.TypePTR, a.nlen), a.name[:a.nlen]...), 1, false
	case nameserver:
		return append(a.appendHead(msg, wire.TypeNS, len(serverName)), serverName...), 1, false
	}
	return a.appendSOA(msg, wire.HeaderLen), 1, false
}

// head returns a record up to its RDATA. Its owner is QNAME. It writes the TTL of every
// record.
func (a *Answer) head(rtype byte, rdlen int) [rrHead]byte {
	return [...]byte{0xC0, wire.HeaderLen, 0, rtype, 0, wire.ClassIN,
		byte(a.ttl >> 24), byte(a.ttl >> 16), byte(a.ttl >> 8), byte(a.ttl), byte(rdlen >> 8), byte(rdlen)}
}

func (a *Answer) appendHead(msg []byte, rtype byte, rdlen int) []byte {
	head := a.head(rtype, rdlen)
	return append(msg, head[:]...)
}

// appendTXT appends the list if it fits. If not, it appends nothing when truncate lets the
// client ask again over TCP, and else as many items as fit.
func (a *Answer) appendTXT(msg []byte, room int, truncate bool) (_ []byte, count int, cut bool) {
	if rrHead+len(a.text) <= room {
		return append(a.appendHead(msg, wire.TypeTXT, len(a.text)), a.text...), 1, false
	}
	if truncate {
		return msg, 0, true
	}
	at := len(msg)
	msg = appendText(a.appendHead(msg, wire.TypeTXT, 0), a.text, room-rrHead, a.sep)
	binary.BigEndian.PutUint16(msg[at+rrHead-2:], uint16(len(msg)-at-rrHead))
	return msg, 1, true
}

// serverName and mailbox are MNAME and RNAME of our zones, in wire form.
const (
	serverName = "\x04_api\x08internal\x00"
	mailbox    = "\x0ahostmaster\x08internal\x00"
)

// Timers of our zones, in seconds (RFC 1035, Section 3.3.13). They are for secondary
// servers, of which there are none. Monitoring tools expect usual values.
const (
	soaRefresh = 3600
	soaRetry   = 600
	soaExpire  = 86400
)

// appendSOA appends the SOA of the zone whose apex is at offset in msg. MINIMUM and TTL are
// the same: the time for which resolvers may cache a negative answer (RFC 2308, Section 3).
func (a *Answer) appendSOA(msg []byte, offset int) []byte {
	at := len(msg)
	msg = append(a.appendHead(msg, wire.TypeSOA, len(serverName)+len(mailbox)+20), serverName...)
	msg[at], msg[at+1] = 0xC0|byte(offset>>8), byte(offset)
	msg = append(msg, mailbox...)
	for _, n := range [...]uint32{a.serial, soaRefresh, soaRetry, soaExpire, a.ttl} {
		msg = binary.BigEndian.AppendUint32(msg, n)
	}
	return msg
}
