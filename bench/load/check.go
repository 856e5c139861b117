package load

import (
	"bytes"
	"encoding/binary"

	"github.com/internaldns/internaldns/bench/dataset"
)

// arrived takes a message that came over the socket of p. It does not keep it.
func (g *generator) arrived(p *pending, msg []byte) {
	t := &g.tally
	if len(msg) < 12 {
		t.Malformed++
		return
	}
	pq := p.find(binary.BigEndian.Uint16(msg))
	switch {
	case pq == nil:
		t.Stray++
		return
	case pq.state == answered:
		t.Twice++
		return
	case pq.state == lost:
		t.Late++
		return
	}
	q := g.query(pq.query)
	if g.Echo {
		if !bytes.HasPrefix(msg[2:], q.Message[2:]) {
			t.WrongQuestion++
			return
		}
		p.answer(pq)
		t.accept(pq.due, g.now, msg, true)
		return
	}
	if msg[2]&0x80 == 0 {
		t.NotResponse++
		return
	}
	question := q.Message[12 : 12+q.Question]
	if binary.BigEndian.Uint16(msg[4:]) != 1 || !bytes.HasPrefix(msg[12:], question) {
		t.WrongQuestion++
		return
	}
	p.answer(pq)
	right := g.right(q, msg)
	if !right {
		g.addExample(q, msg)
	}
	t.accept(pq.due, g.now, msg, right)
}

// right reports whether the response is what the query wants: its RCODE, and its
// answers if the response is of the sample.
func (g *generator) right(q *dataset.Query, msg []byte) bool {
	if !q.Want.Known {
		return true
	}
	if msg[3]&0xf != q.Want.RCode {
		return false
	}
	g.untilSample--
	if g.untilSample > 0 {
		return true
	}
	g.untilSample = g.Sample
	if msg[2]&0x02 != 0 {
		return true // TC: the answers are not complete; this is counted
	}
	g.tally.Compared++
	answers, digest, ok := digestAnswers(msg, 12+q.Question)
	return ok && answers == q.Want.Answers && digest == q.Want.Digest
}

// digestAnswers returns the number of records in the answer section, which begins
// at that offset, and the sum of their digests. ok is false if a record is
// malformed.
func digestAnswers(msg []byte, at int) (n uint16, digest uint64, ok bool) {
	n = binary.BigEndian.Uint16(msg[6:])
	for range n {
		at = skipName(msg, at)
		if at < 0 || at+10 > len(msg) {
			return n, 0, false
		}
		rtype := binary.BigEndian.Uint16(msg[at:])
		length := int(binary.BigEndian.Uint16(msg[at+8:]))
		at += 10
		if at+length > len(msg) {
			return n, 0, false
		}
		digest += dataset.RecordDigest(rtype, msg[at:at+length])
		at += length
	}
	return n, digest, true
}

// skipName returns the offset after the name at that offset, or -1 if the message
// ends within it.
func skipName(msg []byte, at int) int {
	for at < len(msg) {
		switch n := int(msg[at]); {
		case n == 0:
			return at + 1
		case n >= 0xc0: // a pointer ends the name (RFC 1035, Section 4.1.4)
			return at + 2
		default:
			at += 1 + n
		}
	}
	return -1
}
