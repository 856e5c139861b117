package resolver

// A connList holds connections in the order of a deadline. As that is always
// equally far from the time at which it is set, whoever is given a new one goes
// to the end, and only the first may be due: no timer is needed for each.
type connList struct {
	first, last *tcpConn
	links       int // which of a connection's links are those of this list
}

// connLinks are the neighbours of a connection in one list.
type connLinks struct{ prev, next *tcpConn }

// The lists that a connection is in.
const (
	linkIdle = iota
	linkAging
)

func (l *connList) push(c *tcpConn) {
	c.links[l.links] = connLinks{prev: l.last}
	if l.last == nil {
		l.first = c
	} else {
		l.last.links[l.links].next = c
	}
	l.last = c
}

func (l *connList) remove(c *tcpConn) {
	at := &c.links[l.links]
	if at.prev == nil {
		l.first = at.next
	} else {
		at.prev.links[l.links].next = at.next
	}
	if at.next == nil {
		l.last = at.prev
	} else {
		at.next.links[l.links].prev = at.prev
	}
	*at = connLinks{}
}
