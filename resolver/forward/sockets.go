package forward

import (
	"errors"
	"sync/atomic"
)

// errNoSocket is want of a socket: as many are open as may be.
var errNoSocket = errors.New("too many sockets to upstreams are open")

// sockets bounds the sockets that are open to upstreams, so that clients of our
// own names never lack one.
type sockets struct {
	limit int64
	open  atomic.Int64
}

// newSockets allows want sockets, but no more than half of what the process may
// have.
func newSockets(want int) *sockets {
	return &sockets{limit: min(int64(want), max(openFiles()/2, 1))}
}

// take reports whether one more may be opened, to ask a. Whoever took one must
// give it back.
//
// Questions that hang are asked again, and then have several. That leaves half of
// the sockets to those asked for the first time. A probe always gets one: there
// is one probe to an upstream, and without it an upstream that nobody has sockets
// left to ask would seem dead.
func (s *sockets) take(a ask) bool {
	limit := s.limit
	if a.again {
		limit /= 2
	}
	if s.open.Add(1) > limit && !a.probe {
		s.open.Add(-1)
		return false
	}
	return true
}

func (s *sockets) giveBack() { s.open.Add(-1) }
