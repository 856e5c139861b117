package load

// maxPending is the most queries that can wait for a response on one socket: as
// many as there are IDs.
const maxPending = 1 << 16

// closedPending is the same for the closed loop: small enough for the table to stay
// in the CPU's cache, and far above any useful window.
const closedPending = 1 << 13

// A pendingQuery is a query that was sent.
type pendingQuery struct {
	due   int64 // in ns since the run began
	query uint32
	id    uint16
	state pendingState
}

type pendingState uint8

const (
	answered pendingState = iota // or never used
	waiting
	lost
)

// pending holds the queries of one socket in the order they were due. The ID of a
// query gives its place in the table. Consecutive queries have IDs far apart, so
// that a response with a wrong ID is not taken for that to another query.
type pending struct {
	table []pendingQuery
	mask  uint16
	head  uint32 // number of the next query
	tail  uint32 // number of the oldest that may be waiting
	count int    // that are waiting
}

// idStep is odd, so that number*idStep modulo 2¹⁶ is a different ID for each of
// 65,536 consecutive numbers. idBack is its inverse.
const (
	idStep = 40503
	idBack = 30599
)

func newPending(size int) pending {
	return pending{table: make([]pendingQuery, size), mask: uint16(size - 1)}
}

// full reports whether the next query would take the place of the oldest.
func (p *pending) full() bool { return int(p.head-p.tail) == len(p.table) }

// add adds a query that is about to be sent, and returns its ID. p must not be
// full.
func (p *pending) add(query uint32, due int64) uint16 {
	number := uint16(p.head)
	id := number * idStep
	p.table[number&p.mask] = pendingQuery{due: due, query: query, id: id, state: waiting}
	p.head++
	p.count++
	return id
}

// undo removes the last n queries, which could not be sent.
func (p *pending) undo(n int) {
	for range n {
		p.head--
		p.table[uint16(p.head)&p.mask].state = answered
		p.count--
	}
}

// find returns the last query that had the ID; nil if another one has its place.
func (p *pending) find(id uint16) *pendingQuery {
	q := &p.table[(id*idBack)&p.mask]
	if q.id != id {
		return nil
	}
	return q
}

// answer records that a waiting query has its response.
func (p *pending) answer(q *pendingQuery) {
	q.state = answered
	p.count--
}

// loseOldest removes the oldest query if it was due before that time, and returns
// it if it was waiting. It returns false if no query is that old.
func (p *pending) loseOldest(before int64) (*pendingQuery, bool) {
	if p.tail == p.head {
		return nil, false
	}
	q := &p.table[uint16(p.tail)&p.mask]
	if q.state != waiting {
		p.tail++
		return nil, true
	}
	if q.due >= before {
		return nil, false
	}
	p.tail++
	q.state = lost
	p.count--
	return q, true
}
