package zone

import (
	"encoding/binary"
	"slices"

	"github.com/internaldns/internaldns/zone/wire"
)

// A Finding is what a lookup found.
type Finding uint8

const (
	NotOurs  Finding = iota // the name is in none of our zones
	Refused                 // our name, and a client without a network
	NotReady                // our name, before the facts are there
	NXDomain                // our name, and it does not exist in the client's view
	NoData                  // it exists without data of the type asked for
	Data                    // it has data
)

// String returns the finding's name for people.
func (f Finding) String() string {
	return [...]string{"not ours", "REFUSED", "not ready", "NXDOMAIN", "NODATA", "NOERROR"}[f]
}

// An Answer is what a View says to one question. It is large and meant to be
// reused: a worker owns one. What Lookup wrote is good until its next call, and
// shares memory with the View.
type Answer struct {
	Finding Finding

	kind   rrset
	apex   int    // labels of the zone's apex, for the SOA of a negative answer
	serial uint32 // SERIAL of the client's network
	ttl    uint32

	set   addressSet // kind addresses
	list  []nearby   // kind nearest and nearestText
	text  []byte     // kind text: RDATA
	sep   byte       // between the items of text
	name  [wire.MaxNameLen]byte
	nlen  int // kind pointer: name[:nlen] is the target in wire form
	one   [1]address
	near  nearest // scratch
	lines []byte  // scratch: the text of kind nearestText
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

// Frame is what shapes a response beside the Answer.
type Frame struct {
	// Limit is the most octets the response may have, at least
	// wire.MinUDPSize.
	Limit int
	// Truncate says that what does not fit sets TC, as over UDP. Otherwise the
	// response holds what fits, and that is all there is to have.
	Truncate bool
	// Flags are header flags to set beside those of the answer: RA.
	Flags   uint16
	Options wire.Options
}

// RCode returns the response code of the answer. Of a NotOurs answer there is
// none; it gives RefusedR.
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

// AppendTo appends the response to q, which must be the query that was looked
// up, and returns the extended slice. dst must be empty: compression pointers
// count from its beginning. cut reports that not all data fitted. It allocates
// only if dst lacks room for f.Limit octets.
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

// rrHead is the length of a record before its RDATA, its owner compressed to a
// pointer.
const rrHead = 12

// aaaaLen is the length of an AAAA record (RFC 3596, Section 2.2).
const aaaaLen = rrHead + 16

// appendRecords appends the records of the answer section, as many as fit in
// room octets.
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

// head returns a record up to its RDATA. Its owner is QNAME.
func (a *Answer) head(rtype byte, rdlen int) [rrHead]byte {
	return [...]byte{0xC0, wire.HeaderLen, 0, rtype, 0, wire.ClassIN,
		byte(a.ttl >> 24), byte(a.ttl >> 16), byte(a.ttl >> 8), byte(a.ttl), byte(rdlen >> 8), byte(rdlen)}
}

func (a *Answer) appendHead(msg []byte, rtype byte, rdlen int) []byte {
	head := a.head(rtype, rdlen)
	return append(msg, head[:]...)
}

// appendTXT appends the list if it fits. Otherwise it appends nothing if the
// client can come back for it, and else the first items.
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

// Timers of our zones, in seconds (RFC 1035, Section 3.3.13). Nobody transfers
// them; the values are what monitoring tools expect to see.
const (
	soaRefresh = 3600
	soaRetry   = 600
	soaExpire  = 86400
)

// appendSOA appends the SOA of the zone whose apex stands at offset in msg, with
// MINIMUM and TTL the same: that is how long a negative answer holds (RFC 2308,
// Section 3).
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
