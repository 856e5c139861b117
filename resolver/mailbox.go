package resolver

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/internaldns/internaldns/zone/wire"
)

const (
	// tcpFlying is how many queries of one connection may be with the forwarder
	// at one time. At that many, nothing more is read of it, so that what it asks
	// of us waits too. Only resolvers pipeline so much, and they have other
	// connections. To allow more costs 500 octets for each, and lets one
	// connection fill the mailbox.
	tcpFlying = 100

	// tcpHold is how many octets of responses that came late a connection holds
	// for a client who does not take them.
	tcpHold = 64 << 10

	// mailKeep is the most notes that a mailbox keeps room for when it is empty.
	mailKeep = 1024
)

// A mailbox holds the forwarder's responses to queries over TCP until the
// goroutine that owns their connections takes them.
type mailbox struct {
	debts *debts
	room  int    // most octets of all responses; one is always taken
	ring  func() // wakes the owner; it is called with mu locked, and must not wait

	mu     sync.Mutex
	closed bool   // guarded by mu; nobody takes anything any more
	mail   []note // guarded by mu
	octets []byte // guarded by mu; the responses, one behind the other
}

// An awaited query is one over TCP that the forwarder has.
type awaited struct {
	conn     uint64 // a number that no other connection of the owner ever has
	fd       int    // where the owner keeps the connection
	query    []byte // a copy with the same response, in memory of its own
	qtype    uint16
	qlen     int // of the query itself
	received time.Time
}

// A note says what the response to an awaited query is.
type note struct {
	awaited
	from, to int // of the mailbox's octets; an empty response found no room
}

// later returns what puts the response to r.q, of which msg is the message, into
// the mailbox.
func (m *mailbox) later(r *responder, conn uint64, fd int, msg []byte) func(resp []byte) {
	a := awaited{conn, fd, wire.AppendQuery(nil, &r.q), r.q.Type, len(msg), r.now}
	return func(resp []byte) { m.put(a, resp) }
}

// put leaves resp, the response to a, for the owner, or if there is no room for it,
// a note that it came.
func (m *mailbox) put(a awaited, resp []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		m.debts.lost()
		m.debts.paid(1)
		return
	}
	n := note{awaited: a, from: len(m.octets)}
	if n.from == 0 || n.from+len(resp) <= m.room {
		m.octets = append(m.octets, resp...)
	}
	n.to = len(m.octets)
	m.mail = append(m.mail, n)
	if len(m.mail) == 1 {
		m.ring()
	}
}

// take returns what has come, and goes on with mail and octets, which it returned
// before and are needed no more. The owner must say paid for each note.
func (m *mailbox) take(mail []note, octets []byte) ([]note, []byte) {
	if cap(mail) > mailKeep {
		mail = nil
	}
	if cap(octets) > tcpKeep {
		octets = nil
	}
	clear(mail) // the copies of queries are garbage now
	m.mu.Lock()
	defer m.mu.Unlock()
	taken, responses := m.mail, m.octets
	m.mail, m.octets = mail[:0], octets[:0]
	return taken, responses
}

// empty reports whether there is nothing to take.
func (m *mailbox) empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.mail) == 0
}

// close has everything that comes from now on, and all that has not been taken,
// count as lost. It rings no more.
func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for range m.mail {
		m.debts.lost()
	}
	if len(m.mail) > 0 {
		m.debts.paid(len(m.mail))
	}
	m.mail, m.octets = nil, nil
}

// appendFrame appends msg with its length before it.
func appendFrame(b, msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(msg))), msg...)
}

// putBack returns in, what a connection has yet to have answered, with the query
// of a before it. That is what becomes of a response for which there is no room:
// once there is, the query is asked again, and as a rule the response is at hand
// then.
func putBack(in []byte, a *awaited) []byte {
	frame := appendFrame(make([]byte, 0, frameHead+len(a.query)+len(in)), a.query)
	return append(frame, in...)
}
