package forward

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/internaldns/internaldns/zone/wire"
	"github.com/miekg/dns"
)

// specialNames are the names that are answered here unless a Forward names them, or
// something below them. No upstream can know them, and asking would tell upstreams
// about private networks.
//
//	emptyZone  a zone that holds only its SOA (RFC 6303, Section 3)
//	blankZone  the same, but every name in it exists
//	nowhere    does not exist, and nothing below it does
//	localhost  is this machine (RFC 6761, Section 6.3)
var specialNames = func() map[string]specialKind {
	m := map[string]specialKind{
		"localhost.": localhost,
		"test.":      nowhere,   // RFC 6761, Section 6.2
		"invalid.":   nowhere,   // RFC 6761, Section 6.4
		"onion.":     nowhere,   // RFC 7686, Section 2
		"alt.":       nowhere,   // RFC 9476, Section 3
		"home.arpa.": emptyZone, // RFC 8375, Section 4

		"service.arpa.": emptyZone, // RFC 9665
		// Clients ask it for the encrypted resolver of this server. An upstream
		// would name its own, which does not know local names (RFC 9462).
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

type specialKind uint8

const (
	emptyZone specialKind = iota
	blankZone
	nowhere
	localhost
)

// specialZones are specialNames by wire format in lower case.
var specialZones = func() map[string]specialKind {
	m := make(map[string]specialKind, len(specialNames))
	for name, kind := range specialNames {
		var buf [wire.MaxNameLen]byte
		n, err := dns.PackDomainName(name, buf[:], 0, nil, false)
		if err != nil {
			panic("forward: " + name + ": " + err.Error())
		}
		m[string(buf[:n])] = kind
	}
	return m
}()

// findSpecial returns the special zone that a name in wire format and lower case
// is in, and the length of its apex, in octets; 0 if there is none.
func findSpecial(name []byte) (kind specialKind, apex int) {
	for ; name[0] != 0; name = wire.Parent(name) {
		if kind, ok := specialZones[string(name)]; ok {
			return kind, len(name)
		}
	}
	return 0, 0
}

// mustForward reports whether upstreams must be asked for q although its name is
// special. A validating client needs the proof that home.arpa is not signed, which
// only the public DNS can give (RFC 8375, Section 4), and likewise for
// service.arpa.
func mustForward(q *wire.Query) bool {
	if q.Type != wire.TypeDS || !q.DO {
		return false
	}
	name := string(q.Name())
	return name == "\x04home\x04arpa\x00" || name == "\x07service\x04arpa\x00"
}

// specialTTL is the TTL of responses for special names, in seconds (RFC 6303,
// Section 3).
const specialTTL = 10800

// specialMailbox is RNAME of a special zone's SOA (RFC 6303, Section 3).
const specialMailbox = "\x06nobody\x07invalid\x00"

// appendSpecial appends the response to q to out, which must be empty. q's name is
// in the special zone of this kind whose apex has that many octets. The response
// fits any client. exists reports that a name below q's is forwarded, or in a local
// zone. Then q's name exists too: if it did not, resolvers would not look below it
// (RFC 8020).
func appendSpecial(out []byte, q *wire.Query, c *wire.Client, kind specialKind, apexLen int, exists bool) []byte {
	apex := len(q.Name()) == apexLen
	rcode := wire.NoError
	if !exists && (kind == nowhere || kind == emptyZone && !apex) {
		rcode = wire.NXDomain
	}
	out = wire.AppendHead(out, q, rcode, wire.FlagRA)
	any := q.Type == wire.TypeANY
	zone := kind == emptyZone || kind == blankZone
	answers := 1
	at := wire.HeaderLen + len(q.Name()) - apexLen
	switch {
	case kind == localhost && (q.Type == wire.TypeA || any):
		out = append(appendSpecialHead(out, wire.HeaderLen, wire.TypeA, 4), 127, 0, 0, 1)
	case kind == localhost && q.Type == wire.TypeAAAA:
		out = append(appendSpecialHead(out, wire.HeaderLen, wire.TypeAAAA, 16), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
	case zone && apex && q.Type == wire.TypeNS:
		out = appendPointer(appendSpecialHead(out, wire.HeaderLen, wire.TypeNS, 2), at)
	case zone && apex && (q.Type == wire.TypeSOA || any):
		out = appendSpecialSOA(out, at)
	default:
		answers = 0
		out = appendSpecialSOA(out, at)
	}
	wire.SetCounts(out, answers, 1-answers)
	return wire.AppendOPT(out, q, rcode, c.Options)
}

// appendSpecialSOA appends the SOA of the special zone whose apex is at an offset,
// with the timers of RFC 6303, Section 3.
func appendSpecialSOA(out []byte, at int) []byte {
	out = appendPointer(appendSpecialHead(out, at, wire.TypeSOA, 2+len(specialMailbox)+20), at)
	out = append(out, specialMailbox...)
	for _, n := range [...]uint32{1, 3600, 1200, 604800, specialTTL} {
		out = binary.BigEndian.AppendUint32(out, n)
	}
	return out
}

// appendSpecialHead appends a record up to its RDATA.
func appendSpecialHead(out []byte, owner int, rtype uint16, rdlen int) []byte {
	out = appendPointer(out, owner)
	out = append(out, byte(rtype>>8), byte(rtype), 0, wire.ClassIN)
	out = binary.BigEndian.AppendUint32(out, specialTTL)
	return append(out, byte(rdlen>>8), byte(rdlen))
}

func appendPointer(out []byte, at int) []byte {
	return append(out, 0xC0|byte(at>>8), byte(at))
}
