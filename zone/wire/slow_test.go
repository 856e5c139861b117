package wire

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// A fault says in a sentence what is wrong with a message.
type fault string

const (
	faultQDCOUNT   fault = "QDCOUNT is not 1"
	faultSections  fault = "answer or authority have records"
	faultMissing   fault = "the message ends where the question, QTYPE, QCLASS or a record should begin"
	faultCut       fault = "the message ends within a name, a field or RDATA"
	faultLabel     fault = "a label has a reserved kind"
	faultLong      fault = "a name is longer than 255 octets"
	faultQNAME     fault = "QNAME has a compression pointer"
	faultPointer   fault = "a compression pointer does not point further back, to behind the header"
	faultPointers  fault = "a name has more than 127 compression pointers"
	faultTwoOPT    fault = "there are two OPT records"
	faultOwner     fault = "an OPT record's owner is not written as the root"
	faultOption    fault = "an option overruns its OPT record"
	faultCookie    fault = "a cookie has a length that cookies do not have"
	faultSignature fault = "a record follows a signature"
	faultTrailing  fault = "octets follow the last record"
)

// A reading is the result of parseSlow.
type reading struct {
	verdict Verdict
	faults  []fault

	question     []byte
	labels       [][]byte // of QNAME, from the left, as written
	qtype        uint16
	qclass       uint16
	opt          []byte // the OPT record that counts, from its type on; nil: none
	keepalive    Keepalive
	signed       bool
	mostPointers int // in any one name

	// inside lists where the message holds what Parse skips: offsets of the
	// TYPE of each record but OPT, and of the code of each option.
	types, options []int
}

// parseSlow is the twin of Parse, written to be obvious: it takes the message apart, lists
// every fault, and decides at the end by the table of doc.go.
func parseSlow(msg []byte) *reading {
	r := &reading{verdict: Drop}
	if len(msg) < HeaderLen || msg[2]>>7 == 1 {
		return r
	}
	r.readSections(msg)
	switch {
	case msg[2]>>3&0xF != 0:
		r.verdict = NotImp
	case len(r.faults) > 0:
		r.verdict = FormErr
	case r.opt != nil && r.opt[5] != 0:
		r.verdict = BadVers
	case r.signed:
		r.verdict = NotAuth
	case r.qclass != 1, r.qtype == 251, r.qtype == 252:
		r.verdict = Refused
	case slices.Contains([]uint16{41, 249, 250, 253, 254}, r.qtype):
		r.verdict = FormErr
	default:
		r.verdict = Answer
	}
	return r
}

func (r *reading) fault(f fault) { r.faults = append(r.faults, f) }

func (r *reading) readSections(msg []byte) {
	count := func(i int) int { return int(binary.BigEndian.Uint16(msg[4+2*i:])) }
	off := HeaderLen
	if count(0) != 1 {
		r.fault(faultQDCOUNT)
	}
	if count(0) > 1 {
		return
	}
	if count(0) == 1 {
		if off = r.readQuestion(msg); off == 0 {
			return
		}
	}
	if count(1)+count(2) > 0 {
		r.fault(faultSections)
	}
	for range count(1) + count(2) + count(3) {
		if off = r.readRecord(msg, off); off == 0 {
			return
		}
	}
	if off != len(msg) {
		r.fault(faultTrailing)
	}
}

// readQuestion returns the offset behind the question, or 0 after a fault.
func (r *reading) readQuestion(msg []byte) int {
	if len(msg) == HeaderLen {
		r.fault(faultMissing)
		return 0
	}
	labels, off, f := readNameSlow(msg, HeaderLen, nil)
	if f != "" {
		if slices.Contains([]fault{faultPointer, faultPointers}, f) {
			f = faultQNAME
		}
		r.fault(f)
		return 0
	}
	switch left := len(msg) - off; {
	case left == 0, left == 2:
		r.fault(faultMissing)
		return 0
	case left < 4:
		r.fault(faultCut)
		return 0
	}
	r.labels = labels
	r.qtype = binary.BigEndian.Uint16(msg[off:])
	r.qclass = binary.BigEndian.Uint16(msg[off+2:])
	r.question = msg[HeaderLen : off+4]
	return off + 4
}

// readRecord returns the offset behind the record at off, or 0 after a fault
// that hides where it ends.
func (r *reading) readRecord(msg []byte, off int) int {
	if r.signed {
		r.fault(faultSignature)
	}
	if off == len(msg) {
		r.fault(faultMissing)
		return 0
	}
	pointers := 0
	_, fixed, f := readNameSlow(msg, off, &pointers)
	if f != "" {
		r.fault(f)
		return 0
	}
	r.mostPointers = max(r.mostPointers, pointers)
	if len(msg) < fixed+10 {
		r.fault(faultCut)
		return 0
	}
	end := fixed + 10 + int(binary.BigEndian.Uint16(msg[fixed+8:]))
	if len(msg) < end {
		r.fault(faultCut)
		return 0
	}
	rdata := msg[fixed+10 : end]
	switch binary.BigEndian.Uint16(msg[fixed:]) {
	case 41:
		if r.opt != nil {
			r.fault(faultTwoOPT)
			return 0
		}
		r.opt = msg[fixed:end]
		if fixed != off+1 {
			r.fault(faultOwner)
		}
		r.readOptions(rdata, fixed+10)
		return end
	case 250:
		r.signed = true
	case 24:
		if bytes.HasPrefix(rdata, []byte{0, 0}) {
			r.signed = true
		}
	}
	r.types = append(r.types, fixed)
	return end
}

// readOptions reads the options of an OPT record; off is their offset in the
// message.
func (r *reading) readOptions(rdata []byte, off int) {
	for len(rdata) > 0 {
		if len(rdata) < 4 || len(rdata) < 4+int(binary.BigEndian.Uint16(rdata[2:])) {
			r.fault(faultOption)
			return
		}
		n := int(binary.BigEndian.Uint16(rdata[2:]))
		switch binary.BigEndian.Uint16(rdata) {
		case 10:
			if !(n == 8 || 16 <= n && n <= 40) {
				r.fault(faultCookie)
				return
			}
		case 11:
			if n > 0 || r.keepalive == KeepaliveBroken {
				r.keepalive = KeepaliveBroken
			} else {
				r.keepalive = KeepaliveAsked
			}
		}
		r.options = append(r.options, off)
		rdata, off = rdata[4+n:], off+4+n
	}
}

// readNameSlow returns the labels of the name at off and the offset behind it, or a
// fault. It adds to pointers how many the name has; nil says that it may have
// none.
func readNameSlow(msg []byte, off int, pointers *int) (labels [][]byte, end int, f fault) {
	octets := 1 // the root's
	for start := off; ; {
		if off >= len(msg) {
			return nil, 0, faultCut
		}
		switch n := int(msg[off]); n >> 6 {
		case 0b00:
			if n == 0 {
				if end == 0 {
					end = off + 1
				}
				return labels, end, ""
			}
			if octets += 1 + n; octets > 255 {
				return nil, 0, faultLong
			}
			if off+1+n > len(msg) {
				return nil, 0, faultCut
			}
			labels = append(labels, msg[off+1:off+1+n])
			off += 1 + n
		case 0b11:
			if off+1 == len(msg) {
				return nil, 0, faultCut
			}
			if end == 0 {
				end = off + 2
			}
			to := int(binary.BigEndian.Uint16(msg[off:])) & 0x3FFF
			if pointers == nil || to < HeaderLen || to >= start {
				return nil, 0, faultPointer
			}
			if *pointers++; *pointers > 127 {
				return nil, 0, faultPointers
			}
			start, off = to, to
		default:
			return nil, 0, faultLabel
		}
	}
}

// wireName writes labels in wire format, without a root label.
func wireName(labels [][]byte) []byte {
	var name []byte
	for _, l := range labels {
		name = append(append(name, byte(len(l))), l...)
	}
	return name
}

// A state is all that a Query shows of itself, comparable.
type state struct {
	verdict        Verdict
	id, flags      uint16
	qtype, qclass  uint16
	opt, do        bool
	version        uint8
	udpSize        uint16
	keepalive      Keepalive
	question, name string
	noQuestion     bool
	labels         int
	split          string // labels from the left, in wire format
	offsets        string // of the names that end QNAME, the whole first
}

func stateOf(t testing.TB, v Verdict, q *Query) state {
	t.Helper()
	s := state{
		verdict: v, id: q.ID, flags: q.Flags, qtype: q.Type, qclass: q.Class,
		opt: q.OPT, do: q.DO, version: q.Version, udpSize: q.UDPSize, keepalive: q.Keepalive,
		question: string(q.Question()), name: string(q.Name()), noQuestion: q.Question() == nil,
		labels: q.Labels(),
	}
	for n := q.Labels(); n > 0; n-- {
		l := q.Label(n - 1)
		s.split += string(rune(len(l))) + string(l)
		s.offsets += string(rune(q.Offset(n)))
	}
	return s
}
