package load

import (
	"bytes"
	"encoding/binary"

	"github.com/internaldns/internaldns/bench/dataset"
)

// arrived takes a message that came to the socket of f. The message is good
// until arrived returns.
func (g *generator) arrived(f *flights, msg []byte) {
	t := &g.tally
	if len(msg) < 12 {
		t.Malformed++
		return
	}
	fl := f.find(binary.BigEndian.Uint16(msg))
	switch {
	case fl == nil:
		t.Stray++
		return
	case fl.state == landed:
		t.Twice++
		return
	case fl.state == lost:
		t.Late++
		return
	}
	q := g.query(fl.query)
	if g.Echo {
		if !bytes.HasPrefix(msg[2:], q.Message[2:]) {
			t.WrongQuestion++
			return
		}
		f.land(fl)
		t.accept(fl.due, g.now, msg, true)
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
	f.land(fl)
	right := g.right(q, msg)
	if !right {
		g.keepExample(q, msg)
	}
	t.accept(fl.due, g.now, msg, right)
}

// right reports whether the response says what the query wants: the RCODE
// always, the answers if this response is of the sample.
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
		return true // TC: the answers are elsewhere, and it is counted
	}
	g.tally.Compared++
	answers, digest, ok := digestAnswers(msg, 12+q.Question)
	return ok && answers == q.Want.Answers && digest == q.Want.Digest
}

// digestAnswers returns the number of records in the answer section, which
// begins at that offset, and the sum of their digests.
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

// skipName returns the offset behind the name at that offset, or -1 if the
// message ends within it.
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
