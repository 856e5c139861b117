package dataset

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// Types and RCODEs of the queries and their responses.
const (
	TypeA    = 1
	TypeTXT  = 16
	TypeAAAA = 28

	NoError  = 0
	NXDomain = 3
)

// Query is a question as octets, and its right response.
type Query struct {
	// Message is the whole query, with the ID zero.
	Message []byte
	// Question is the length of the question in it, which begins at octet 12.
	Question int
	Kind     Kind
	Want     Want
}

// Want describes the right response. Every response fits the zero Want.
type Want struct {
	// Known says that the other fields are known.
	Known bool
	RCode uint8
	// Answers is the number of records in the answer section.
	Answers uint16
	// Digest is the sum of RecordDigest over those records, whatever their order.
	Digest uint64
}

// RecordDigest returns a hash of a record's type and RDATA, by FNV-1a. RRsets are
// compared by the sum over their records, without sorting or storing them.
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
// an OPT record of that UDP size unless it is 0. Its Want is zero.
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

// WriteQueries writes the queries as text, one on a line:
//
//	web.internal. AAAA NOERROR 3 5d1f00c2a3b49e17
//
// QNAME, QTYPE and, if the right response is known, its RCODE, the number of
// answers and their digest.
func WriteQueries(w io.Writer, queries []Query) error {
	b := bufio.NewWriter(w)
	for i := range queries {
		q := &queries[i]
		b.WriteString(q.Name())
		b.WriteByte(' ')
		b.WriteString(dns.Type(q.Type()).String())
		if q.Want.Known {
			fmt.Fprintf(b, " %s %d %016x", RCodeText(q.Want.RCode), q.Want.Answers, q.Want.Digest)
		}
		b.WriteByte('\n')
	}
	return b.Flush()
}

// ReadQueries reads the text of WriteQueries, and lines of QNAME and QTYPE only. It
// ignores empty lines and those that begin with ; or #.
func ReadQueries(r io.Reader, udpSize uint16) ([]Query, error) {
	var queries []Query
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == ';' || line[0] == '#' {
			continue
		}
		q, err := parseLine(strings.Fields(line), udpSize)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		queries = append(queries, q)
	}
	return queries, lines.Err()
}

func parseLine(fields []string, udpSize uint16) (Query, error) {
	if len(fields) != 2 && len(fields) != 5 {
		return Query{}, fmt.Errorf("must have QNAME, QTYPE and at most RCODE, answers and digest, got %d fields", len(fields))
	}
	qtype, err := parseType(fields[1])
	if err != nil {
		return Query{}, err
	}
	q, err := NewQuery(fields[0], qtype, udpSize)
	if err != nil || len(fields) == 2 {
		return q, err
	}
	rcode, err1 := parseRCode(fields[2])
	answers, err2 := strconv.ParseUint(fields[3], 10, 16)
	digest, err3 := strconv.ParseUint(fields[4], 16, 64)
	q.Want = Want{Known: true, RCode: rcode, Answers: uint16(answers), Digest: digest}
	return q, errors.Join(err1, err2, err3)
}

// Name returns the QNAME as text, with the dot at its end. Octets that have a
// meaning in master files are not escaped.
func (q *Query) Name() string {
	var b strings.Builder
	for wire := q.Message[12:]; wire[0] != 0; wire = wire[1+int(wire[0]):] {
		b.Write(wire[1 : 1+int(wire[0])])
		b.WriteByte('.')
	}
	if b.Len() == 0 {
		return "."
	}
	return b.String()
}

// Type returns the QTYPE.
func (q *Query) Type() uint16 {
	at := 12 + q.Question - 4
	return uint16(q.Message[at])<<8 | uint16(q.Message[at+1])
}

// RCodeText returns the name of an RCODE, or RCODE<number>.
func RCodeText(rcode uint8) string {
	if s, ok := dns.RcodeToString[int(rcode)]; ok {
		return s
	}
	return "RCODE" + strconv.Itoa(int(rcode))
}

func parseType(s string) (uint16, error) {
	s = strings.ToUpper(s)
	if t, ok := dns.StringToType[s]; ok {
		return t, nil
	}
	digits, ok := strings.CutPrefix(s, "TYPE")
	if t, err := strconv.ParseUint(digits, 10, 16); ok && err == nil {
		return uint16(t), nil
	}
	return 0, fmt.Errorf("QTYPE %q is neither a known type nor TYPE<number>", s)
}

func parseRCode(s string) (uint8, error) {
	if rcode, ok := dns.StringToRcode[s]; ok && rcode < 16 {
		return uint8(rcode), nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "RCODE"), 10, 4)
	if err != nil {
		return 0, fmt.Errorf("RCODE %q: %w", s, err)
	}
	return uint8(n), nil
}
