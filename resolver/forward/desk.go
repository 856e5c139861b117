package forward

import (
	"sync"

	"github.com/internaldns/internaldns/zone/wire"
)

// A desk has room for the work on one response: to take it apart, to clean it, and
// to write what clients get. Nothing on it is read before it was written anew, and
// what is kept is copied from it.
type desk struct {
	message message
	cleaner cleaner
	query   wire.Query
	out     []byte
}

// deskRoom is the largest buffer, in octets, that stays on a desk: larger
// responses are rare, and would make every desk as large as theirs.
const deskRoom = 4096

var desks = sync.Pool{New: func() any { return &desk{out: make([]byte, 0, wire.MinUDPSize)} }}

// giveBack lets somebody else have the desk.
func (d *desk) giveBack() {
	d.message.octets, d.message.records = nil, nil // which are somebody's
	c := &d.cleaner
	c.message, c.local, c.resp, c.signers, c.q = nil, nil, nil, nil, question{}
	c.out.qname, c.out.known = "", nil
	if cap(c.out.buf) > deskRoom {
		c.out.buf = nil
	}
	if cap(d.out) > deskRoom {
		d.out = nil
	}
	desks.Put(d)
}
