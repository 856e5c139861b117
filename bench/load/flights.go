package load

// maxFlights is the number of queries that one socket can have outstanding: as
// many as there are IDs.
const maxFlights = 1 << 16

// closedFlights is that number in the closed loop, where the table stays small
// so that it stays in the CPU's cache. It is far above any useful window.
const closedFlights = 1 << 13

// A flight is a query on its way.
type flight struct {
	due   int64 // when it was to be sent, in ns since the run began
	query uint32
	id    uint16
	state flightState
}

type flightState uint8

const (
	landed   flightState = iota // answered, or never used
	airborne                    // outstanding
	lost                        // given up
)

// flights are the queries of one socket, in the order they were due. An ID
// tells its place in the table, and neighbours in time have IDs far apart: a
// server that counts wrong hits nothing.
type flights struct {
	table    []flight
	mask     uint16
	head     uint32 // the next query's number
	tail     uint32 // the oldest that may be outstanding
	airborne int
}

// idStep is odd, so that number*idStep, modulo 2¹⁶, is a different ID for each
// of 65,536 numbers in a row; idBack is its inverse.
const (
	idStep = 40503
	idBack = 30599
)

func newFlights(size int) flights {
	return flights{table: make([]flight, size), mask: uint16(size - 1)}
}

// full reports that the next query would take the place of the oldest.
func (f *flights) full() bool { return int(f.head-f.tail) == len(f.table) }

// start notes a query that is about to be sent, and returns its ID. f is not full.
func (f *flights) start(query uint32, due int64) uint16 {
	number := uint16(f.head)
	id := number * idStep
	f.table[number&f.mask] = flight{due: due, query: query, id: id, state: airborne}
	f.head++
	f.airborne++
	return id
}

// unstart takes back the last n queries, which could not be sent.
func (f *flights) unstart(n int) {
	for range n {
		f.head--
		f.table[uint16(f.head)&f.mask].state = landed
		f.airborne--
	}
}

// find returns the flight that last had the ID's place, or nil if that was with
// another ID.
func (f *flights) find(id uint16) *flight {
	fl := &f.table[(id*idBack)&f.mask]
	if fl.id != id {
		return nil
	}
	return fl
}

// land ends an outstanding flight.
func (f *flights) land(fl *flight) {
	fl.state = landed
	f.airborne--
}

// loseOldest gives up the oldest flight if it was due before that time,
// whatever its state, and returns it if it was outstanding. It reports false if
// nothing is that old.
func (f *flights) loseOldest(before int64) (*flight, bool) {
	if f.tail == f.head {
		return nil, false
	}
	fl := &f.table[uint16(f.tail)&f.mask]
	if fl.state != airborne {
		f.tail++
		return nil, true
	}
	if fl.due >= before {
		return nil, false
	}
	f.tail++
	fl.state = lost
	f.airborne--
	return fl, true
}
