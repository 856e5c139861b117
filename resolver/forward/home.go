package forward

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// homeNames are the names that stay at home unless a Forward names them, or
// something below them: nobody upstream can know them, and asking would tell
// upstreams about private networks.
//
//	empty      a zone that holds only its SOA (RFC 6303, Section 3)
//	blank      the same, but that every name in it exists
//	nowhere    does not exist, and nothing below it
//	localhost  is this machine (RFC 6761, Section 6.3)
var homeNames = func() map[string]homeKind {
	m := map[string]homeKind{
		"localhost.": localhost,
		"test.":      nowhere,   // RFC 6761, Section 6.2
		"invalid.":   nowhere,   // RFC 6761, Section 6.4
		"onion.":     nowhere,   // RFC 7686, Section 2
		"alt.":       nowhere,   // RFC 9476, Section 3
		"home.arpa.": emptyZone, // RFC 8375, Section 4

		"service.arpa.": emptyZone, // RFC 9665
		// Who asks it which encrypted resolvers stand for us must not be sent to
		// those of an upstream, which know none of our names (RFC 9462).
		"resolver.arpa.": blankZone,

		// RFC 6303, Sections 4.1 to 4.6.
		"10.in-addr.arpa.":              emptyZone,
		"168.192.in-addr.arpa.":         emptyZone,
		"0.in-addr.arpa.":               emptyZone,
		"127.in-addr.arpa.":             emptyZone,
		"254.169.in-addr.arpa.":         emptyZone,
		"2.0.192.in-addr.arpa.":         emptyZone,
		"100.51.198.in-addr.arpa.":      emptyZone,
		"113.0.203.in-addr.arpa.":       emptyZone,
		"255.255.255.255.in-addr.arpa.": emptyZone,
		"d.f.ip6.arpa.":                 emptyZone,
		"8.e.f.ip6.arpa.":               emptyZone,
		"9.e.f.ip6.arpa.":               emptyZone,
		"a.e.f.ip6.arpa.":               emptyZone,
		"b.e.f.ip6.arpa.":               emptyZone,
		"8.b.d.0.1.0.0.2.ip6.arpa.":     emptyZone,

		strings.Repeat("0.", 32) + "ip6.arpa.":        emptyZone,
		"1." + strings.Repeat("0.", 31) + "ip6.arpa.": emptyZone,
	}
	for i := 16; i < 32; i++ {
		m[strconv.Itoa(i)+".172.in-addr.arpa."] = emptyZone
	}
	for i := 64; i < 128; i++ { // RFC 7793, Section 4
		m[strconv.Itoa(i)+".100.in-addr.arpa."] = emptyZone
	}
	return m
}()

type homeKind uint8

const (
	emptyZone homeKind = iota
	blankZone
	nowhere
	localhost
)

// A home is one of homeNames.
type home struct {
	kind   homeKind
	labels int // of its apex
}

// homes are homeNames by wire format.
var homes = func() map[string]home {
	m := make(map[string]home, len(homeNames))
	for name, kind := range homeNames {
		var buf [wire.MaxNameLen]byte
		n, err := dns.PackDomainName(name, buf[:], 0, nil, false)
		if err != nil {
			panic("forward: " + name + ": " + err.Error())
		}
		m[string(buf[:n])] = home{kind, dns.CountLabel(name)}
	}
	return m
}()

// maxHomeLabels is the number of labels of the longest of them.
const maxHomeLabels = 34

// findHome returns the home that q's name is in, and whether there is one.
func findHome(q *wire.Query) (home, bool) {
	name := q.Name()
	for n := q.Labels(); n > 0; n-- {
		if n <= maxHomeLabels {
			if h, ok := homes[string(name)]; ok {
				return h, true
			}
		}
		name = wire.Parent(name)
	}
	return home{}, false
}

// askAbroad reports whether q must leave the home it is in all the same: a
// validating client needs the proof that home.arpa is not signed, which only the
// public DNS can give (RFC 8375, Section 4), and likewise for service.arpa.
func askAbroad(q *wire.Query) bool {
	if q.Type != wire.TypeDS || !q.DO {
		return false
	}
	name := string(q.Name())
	return name == "\x04home\x04arpa\x00" || name == "\x07service\x04arpa\x00"
}

// homeTTL is the TTL of what is answered from a home, in seconds (RFC 6303,
// Section 3).
const homeTTL = 10800

// homeMailbox is RNAME of a home's SOA (RFC 6303, Section 3).
const homeMailbox = "\x06nobody\x07invalid\x00"

// appendTo appends the response to q, whose name is in h, to out, which must be
// empty. It fits any client. With exists, there is something below the name that
// is not in h: then the name exists too, or nobody would look there (RFC 8020).
func (h home) appendTo(out []byte, q *wire.Query, c *wire.Client, exists bool) []byte {
	apex := q.Labels() == h.labels
	rcode := wire.NoError
	if !exists && (h.kind == nowhere || h.kind == emptyZone && !apex) {
		rcode = wire.NXDomain
	}
	out = wire.AppendHead(out, q, rcode, wire.FlagRA)
	any := q.Type == wire.TypeANY
	zone := h.kind == emptyZone || h.kind == blankZone
	answers := 1
	at := q.Offset(h.labels)
	switch {
	case h.kind == localhost && (q.Type == wire.TypeA || any):
		out = append(appendHomeHead(out, wire.HeaderLen, wire.TypeA, 4), 127, 0, 0, 1)
	case h.kind == localhost && q.Type == wire.TypeAAAA:
		out = append(appendHomeHead(out, wire.HeaderLen, wire.TypeAAAA, 16), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
	case zone && apex && q.Type == wire.TypeNS:
		out = appendPointer(appendHomeHead(out, wire.HeaderLen, wire.TypeNS, 2), at)
	case zone && apex && (q.Type == wire.TypeSOA || any):
		out = appendHomeSOA(out, at)
	default:
		answers = 0
		out = appendHomeSOA(out, at)
	}
	wire.SetCounts(out, answers, 1-answers)
	return wire.AppendOPT(out, q, rcode, c.Options)
}

// appendHomeSOA appends the SOA of the home whose apex is at that offset, with
// the timers of RFC 6303, Section 3.
func appendHomeSOA(out []byte, at int) []byte {
	out = appendPointer(appendHomeHead(out, at, wire.TypeSOA, 2+len(homeMailbox)+20), at)
	out = append(out, homeMailbox...)
	for _, n := range [...]uint32{1, 3600, 1200, 604800, homeTTL} {
		out = binary.BigEndian.AppendUint32(out, n)
	}
	return out
}

// appendHomeHead appends a record up to its RDATA.
func appendHomeHead(out []byte, owner int, rtype uint16, rdlen int) []byte {
	out = appendPointer(out, owner)
	out = append(out, byte(rtype>>8), byte(rtype), 0, wire.ClassIN)
	out = binary.BigEndian.AppendUint32(out, homeTTL)
	return append(out, byte(rdlen>>8), byte(rdlen))
}

func appendPointer(out []byte, at int) []byte {
	return append(out, 0xC0|byte(at>>8), byte(at))
}
