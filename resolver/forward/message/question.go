package message

import "github.com/internaldns/internaldns/zone/wire"

// A Question is what upstreams are asked and what a cached response answers. Two
// Questions that are == have the same answer.
type Question struct {
	Name   string // in wire format and lower case
	Type   uint16 // QTYPE
	DO, CD bool   // with DNSSEC records (RFC 3225); without validation (RFC 4035, Section 3.2.2)
}

// QuestionOf returns the question of a client's query. It keeps nothing of q.
func QuestionOf(q *wire.Query) Question {
	return Question{string(q.Name()), q.Type, q.DO, q.Flags&wire.FlagCD != 0}
}

// Is reports whether q asks the question. It does not allocate.
func (of *Question) Is(q *wire.Query) bool {
	return of.Name == string(q.Name()) && of.Type == q.Type && of.DO == q.DO && of.CD == (q.Flags&wire.FlagCD != 0)
}

// len returns the length of the question section in octets.
func (of *Question) len() int { return len(of.Name) + 4 }
