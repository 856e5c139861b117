package forward

import (
	"sync"

	"github.com/internaldns/internaldns/zone/wire"
)

// A desk has room to write the responses for clients. Nothing on it is read before
// it was written anew.
type desk struct {
	query wire.Query
	out   []byte
}

// deskRoom is the largest buffer, in octets, that stays on a desk: larger
// responses are rare, and would make every desk as large as theirs.
const deskRoom = 4096

var desks = sync.Pool{New: func() any { return &desk{out: make([]byte, 0, wire.MinUDPSize)} }}

// giveBack lets another goroutine use the desk.
func (d *desk) giveBack() {
	if cap(d.out) > deskRoom {
		d.out = nil
	}
	desks.Put(d)
}
