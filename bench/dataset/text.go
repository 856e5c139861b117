package dataset

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// typeNames are the types that a list of queries can name; others are written
// TYPE<number> (RFC 3597, Section 5).
var typeNames = map[uint16]string{
	TypeA: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", TypeTXT: "TXT", TypeAAAA: "AAAA", 33: "SRV", 65: "HTTPS", 255: "ANY",
}

// WriteQueries writes the queries as text, one on a line:
//
//	web.internal. AAAA NOERROR 3 5d1f00c2a3b49e17
//
// QNAME, QTYPE and, where it is known, what is wanted: RCODE, number of answers
// and their digest.
func WriteQueries(w io.Writer, queries []Query) error {
	b := bufio.NewWriter(w)
	for i := range queries {
		q := &queries[i]
		b.WriteString(q.Name())
		b.WriteByte(' ')
		b.WriteString(typeText(q.Type()))
		if q.Want.Known {
			fmt.Fprintf(b, " %s %d %016x", rcodeText(q.Want.RCode), q.Want.Answers, q.Want.Digest)
		}
		b.WriteByte('\n')
	}
	return b.Flush()
}

// ReadQueries reads what WriteQueries writes, and files of QNAME and QTYPE
// only. Empty lines and those that begin with ; or # say nothing.
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
	for wire := q.Message[12:]; wire[0] != 0; wire = wire[1+wire[0]:] {
		b.Write(wire[1 : 1+wire[0]])
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

func typeText(t uint16) string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return "TYPE" + strconv.Itoa(int(t))
}

func parseType(s string) (uint16, error) {
	for t, text := range typeNames {
		if strings.EqualFold(s, text) {
			return t, nil
		}
	}
	digits, ok := strings.CutPrefix(strings.ToUpper(s), "TYPE")
	if t, err := strconv.ParseUint(digits, 10, 16); ok && err == nil {
		return uint16(t), nil
	}
	return 0, fmt.Errorf("QTYPE %q is neither a known type nor TYPE<number>", s)
}

func rcodeText(rcode uint8) string {
	switch rcode {
	case NoError:
		return "NOERROR"
	case NXDomain:
		return "NXDOMAIN"
	}
	return "RCODE" + strconv.Itoa(int(rcode))
}

func parseRCode(s string) (uint8, error) {
	switch s {
	case "NOERROR":
		return NoError, nil
	case "NXDOMAIN":
		return NXDomain, nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "RCODE"), 10, 4)
	if err != nil {
		return 0, fmt.Errorf("RCODE %q: %w", s, err)
	}
	return uint8(n), nil
}
