package servers

import (
	"bytes"
	"encoding/binary"

	"github.com/internaldns/internaldns/bench/dataset"
)

// ForwardedZone is the zone of the names. No forwarder answers names of this zone
// itself (RFC 6761, Section 6.5).
const ForwardedZone = "forwarded.example"

// zone is ForwardedZone in wire format.
var zone = []byte("\x09forwarded\x07example\x00")

const (
	headerLen = 12

	// labelLen is the length of the label before the zone, in octets: a letter and
	// a number of eight hexadecimal digits.
	labelLen = 9

	// ttl is the TTL of every record, in seconds: a day, the longest that caches
	// store a record by default. So no record expires, and none is prefetched,
	// during a run.
	ttl = 86400

	// maxAddrs is the most addresses of a name. Each number from 1 to maxAddrs is
	// equally frequent.
	maxAddrs = 3
)

// ForwardedQuery sets q to the query for name number n, with RD set and an OPT
// record of that UDP size, and its Want to the response of an Upstream. Each number
// has a name of its own; QTYPE is A for even numbers and AAAA for odd ones. It
// reuses the memory of q, and allocates only if that is too little.
func ForwardedQuery(n uint32, udpSize uint16, q *dataset.Query) {
	qtype := uint16(dataset.TypeA + n%2*(dataset.TypeAAAA-dataset.TypeA))
	b := append(q.Message[:0], 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1) // RD; a question, and an OPT record
	b = append(b, labelLen, 'n')
	for spread, shift := scramble(n), 28; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[spread>>shift&0xf])
	}
	b = append(b, zone...)
	b = append(b, byte(qtype>>8), byte(qtype), 0, 1)
	q.Question = len(b) - headerLen
	b = append(b, 0, 0, 41, byte(udpSize>>8), byte(udpSize), 0, 0, 0, 0, 0, 0)
	q.Message = b
	q.Want = want(b[headerLen:][:q.Question-4], qtype)
}

// scramble maps numbers one to one, so that consecutive numbers have unlike names:
// names in order would make a cache look faster than it is.
func scramble(n uint32) uint32 {
	n *= 0x9e3779b1
	n ^= n >> 15
	n *= 0x85ebca77
	return n ^ n>>13
}

// want describes the right response to a question.
func want(name []byte, qtype uint16) dataset.Want {
	w := dataset.Want{Known: true, RCode: dataset.NoError}
	h := hash(name, qtype)
	w.Answers = count(h)
	for i := range w.Answers {
		var a [16]byte
		w.Digest += dataset.RecordDigest(qtype, appendAddr(a[:0], h, qtype, i))
	}
	return w
}

// hash returns the number that determines the addresses of a name, in any letter
// case: FNV-1a, and a last step that mixes its bits.
func hash(name []byte, qtype uint16) uint64 {
	const prime = 1099511628211
	h := uint64(14695981039346656037) ^ uint64(qtype)
	for _, c := range name {
		h = (h ^ uint64(lower(c))) * prime
	}
	h = (h ^ h>>32) * 0xd6e8feb86659fd93
	return h ^ h>>32
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func count(h uint64) uint16 { return 1 + uint16(h%maxAddrs) }

// appendAddr appends address number i of a name. It is in the networks for
// benchmarks, 198.18.0.0/15 (RFC 2544) and 2001:2::/48 (RFC 5180). The addresses of
// a name differ.
func appendAddr(b []byte, h uint64, qtype, i uint16) []byte {
	if qtype == dataset.TypeA {
		return append(b, 198, 18, byte(h>>8), byte(h>>16)&^3|byte(i))
	}
	b = append(b, 0x20, 1, 0, 2, 0, 0)
	b = binary.BigEndian.AppendUint64(b, h)
	return append(b, 0, byte(i))
}

// respond writes the response over the query in buf[:n] and returns its length; 0
// if the message is not a query, or is to be dropped. A question that is not for an
// address in the zone is refused, and other is true.
func (u *Upstream) respond(buf []byte, n int) (length int, other bool) {
	msg := buf[:n]
	if n < headerLen || msg[2]&0x80 != 0 || binary.BigEndian.Uint16(msg[4:]) != 1 {
		return 0, true
	}
	end := headerLen // of the question
	for end < n && msg[end] != 0 && msg[end] < 64 {
		end += 1 + int(msg[end])
	}
	if end += 5; end > n || msg[end-5] != 0 {
		return 0, true
	}
	name := msg[headerLen : end-4]
	if u.Drop != nil && u.Drop(name) {
		return 0, false
	}
	qtype, qclass := binary.BigEndian.Uint16(msg[end-4:]), binary.BigEndian.Uint16(msg[end-2:])
	opt := binary.BigEndian.Uint16(msg[10:]) > 0
	out := msg[:end]
	out[2], out[3] = 0x80|out[2]&0x79, 0x80 // QR, opcode and RD as asked; RA
	clear(out[6:headerLen])
	if qclass == 1 && (qtype == dataset.TypeA || qtype == dataset.TypeAAAA) && inZone(name) {
		h := hash(name, qtype)
		out[7] = byte(count(h))
		size := byte(4)
		if qtype == dataset.TypeAAAA {
			size = 16
		}
		for i := range count(h) {
			out = append(out, 0xc0, headerLen, byte(qtype>>8), byte(qtype), 0, 1)
			out = binary.BigEndian.AppendUint32(out, ttl)
			out = appendAddr(append(out, 0, size), h, qtype, i)
		}
	} else {
		other = true
		out[3] |= 5 // REFUSED
	}
	if opt {
		out[11] = 1
		out = append(out, 0, 0, 41, 1232>>8, 1232&0xff, 0, 0, 0, 0, 0, 0)
	}
	return len(out), other
}

// inZone reports whether name is one label below the zone, in any letter case.
func inZone(name []byte) bool {
	return len(name) == 1+labelLen+len(zone) && name[0] == labelLen && bytes.EqualFold(name[1+labelLen:], zone)
}
