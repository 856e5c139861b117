package dataset

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Types and RCODEs that queries ask for and are answered with.
const (
	TypeA    = 1
	TypeTXT  = 16
	TypeAAAA = 28

	NoError  = 0
	NXDomain = 3
)

// Query is a question as octets, and what a right response to it says.
type Query struct {
	// Message is the whole query, with the ID zero.
	Message []byte
	// Question is the length of the question in it, which begins at octet 12.
	Question int
	Kind     Kind
	Want     Want
}

// Want is what a right response says. The zero Want demands nothing.
type Want struct {
	// Known tells that the rest is to be demanded.
	Known bool
	RCode uint8
	// Answers is the number of records in the answer section.
	Answers uint16
	// Digest is the sum of RecordDigest over those records, whatever their order.
	Digest uint64
}

// RecordDigest returns a number that stands for a record's type and RDATA, by
// FNV-1a. Sums of it compare RRsets without sorting or keeping them.
func RecordDigest(rtype uint16, rdata []byte) uint64 {
	const prime = 1099511628211
	h := uint64(14695981039346656037)
	h = (h ^ uint64(rtype>>8)) * prime
	h = (h ^ uint64(rtype&0xff)) * prime
	for _, c := range rdata {
		h = (h ^ uint64(c)) * prime
	}
	return mix(h) // FNV's last step is linear in the last octet: sums would collide
}

// NewQuery returns a query for a name without escapes, with RD set, and with
// an OPT record of that UDP size unless it is 0. It wants nothing.
func NewQuery(qname string, qtype uint16, udpSize uint16) (Query, error) {
	b := make([]byte, 12, 12+len(qname)+2+4+11)
	b[2] = 1 // RD
	b[5] = 1 // QDCOUNT
	b, err := appendName(b, qname)
	if err != nil {
		return Query{}, err
	}
	b = binary.BigEndian.AppendUint16(b, qtype)
	b = binary.BigEndian.AppendUint16(b, 1) // IN
	q := Query{Question: len(b) - 12}
	if udpSize > 0 {
		b[11] = 1 // ARCOUNT
		b = append(b, 0, 0, 41)
		b = binary.BigEndian.AppendUint16(b, udpSize)
		b = append(b, 0, 0, 0, 0, 0, 0)
	}
	q.Message = b
	return q, nil
}

// appendName appends the name in wire format (RFC 1035, Section 3.1).
func appendName(b []byte, name string) ([]byte, error) {
	name = strings.TrimSuffix(name, ".")
	start := len(b)
	for label := range strings.SplitSeq(name, ".") {
		if name == "" {
			break // the root
		}
		if len(label) == 0 || len(label) > 63 {
			return nil, fmt.Errorf("name %q has a label of %d octets", name, len(label))
		}
		b = append(b, byte(len(label)))
		b = append(b, label...)
	}
	b = append(b, 0)
	if len(b)-start > 255 {
		return nil, fmt.Errorf("name %q has %d octets on the wire", name, len(b)-start)
	}
	return b, nil
}

// appendCharStrings appends the RDATA of a TXT record.
func appendCharStrings(b []byte, all []string) []byte {
	for _, s := range all {
		b = append(b, byte(len(s)))
		b = append(b, s...)
	}
	return b
}
