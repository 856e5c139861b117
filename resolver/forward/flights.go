package forward

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/cache"
	"github.com/internaldns/internaldns/resolver/forward/clock"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
)

// flights are the questions that upstreams are asked, each once, and the clients
// that wait for the responses.
type flights struct {
	maxWaiting, maxPerSource int
	lingering                atomic.Int64 // flights that have ended and have open queries

	mu       sync.Mutex
	running  bool                         // guarded by mu; flights may begin
	open     map[message.Question]*flight // guarded by mu
	waiting  int                          // guarded by mu; clients of all of them
	bySource map[netip.Addr]int           // guarded by mu; the same by source
}

// A waiter is a client that waits.
type waiter struct {
	client wire.Client
	query  []byte // as much of the query as the response depends on
	reply  func(msg []byte)
}

// start lets flights begin.
func (s *flights) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = true
	s.open, s.bySource = make(map[message.Question]*flight), make(map[netip.Addr]int)
}

// stop lets no more begin, and ends those that are open.
func (s *flights) stop() {
	s.mu.Lock()
	s.running = false
	var open []*flight
	for _, fl := range s.open {
		open = append(open, fl)
	}
	s.mu.Unlock()
	for _, fl := range open {
		fl.abort()
	}
}

// join makes the client of q wait for the flight of its question. If there is
// none, it returns a new one, which the caller must start. It returns false, and
// why, if too many clients wait.
func (s *flights) join(f *Forwarder, g *group, q *wire.Query, c wire.Client, reply func([]byte)) (begun *flight, why metrics.ForwardCount, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running || s.waiting >= s.maxWaiting {
		return nil, metrics.RefusedFull, false
	}
	from := source(c.Addr)
	if s.bySource[from] >= s.maxPerSource {
		return nil, metrics.RefusedSource, false
	}
	question := message.QuestionOf(q)
	fl := s.open[question]
	var room []byte
	if fl != nil {
		f.stats.Count(q.ID, metrics.ForwardJoined)
		room = make([]byte, 0, wire.MaxCopyLen)
	} else {
		if len(s.open) >= s.maxWaiting {
			return nil, metrics.RefusedFull, false
		}
		fl = s.beginLocked(f, g, question, false)
		begun, room = fl, fl.room[:0]
	}
	fl.waiters = append(fl.waiters, waiter{c, wire.AppendQuery(room, q), reply})
	s.waiting++
	s.bySource[from]++
	if fl.late {
		f.timers.Set(&fl.timer, 0)
	}
	return begun, 0, true
}

// refresh returns a new flight for q that no client waits for, which the caller
// must start. It returns nil if there is one already, or while many are open.
func (s *flights) refresh(f *Forwarder, g *group, q message.Question) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running || s.open[q] != nil || len(s.open) >= s.maxWaiting/2 {
		return nil
	}
	f.stats.Count(0, metrics.CachePrefetch)
	return s.beginLocked(f, g, q, true)
}

func (s *flights) beginLocked(f *Forwarder, g *group, q message.Question, refresh bool) *flight {
	fl := &flight{f: f, q: q, group: g, refresh: refresh}
	fl.waiters = fl.one[:0]
	s.open[q] = fl
	return fl
}

// take returns the clients of fl and forgets them. With late, clients that join
// from now on wake the flight.
func (s *flights) take(fl *flight, late bool) []waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	fl.late = fl.late || late
	return s.takeLocked(fl)
}

// end returns the clients of fl and removes it, so that no more can join.
func (s *flights) end(fl *flight) []waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, fl.q)
	return s.takeLocked(fl)
}

func (s *flights) takeLocked(fl *flight) []waiter {
	clients := fl.waiters
	fl.waiters = nil
	s.waiting -= len(clients)
	for _, c := range clients {
		from := source(c.client.Addr)
		if s.bySource[from]--; s.bySource[from] == 0 {
			delete(s.bySource, from)
		}
	}
	return clients
}

// source returns the address that a client is counted under. A machine owns the
// /112 of its 6PN address (in fdaa::/16) and can ask from all of it, so that is one
// client. Every other address is one.
func source(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	octets := addr.As16()
	if octets[0] != 0xfd || octets[1] != 0xaa {
		return addr
	}
	octets[14], octets[15] = 0, 0
	return netip.AddrFrom16(octets)
}

// count returns how many clients wait, and for how many questions.
func (s *flights) count() (waiting, open int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting, len(s.open)
}

// A result is what the clients of a flight get.
type result struct {
	entry  *cache.Entry // out of date if failed; nil: SERVFAIL
	at     clock.Moment // the TTLs are those of this moment, unless failed
	failed bool
	ede    uint16 // the extended error of SERVFAIL
}

// deliver gives r to each of the clients.
func (f *Forwarder) deliver(clients []waiter, r result) {
	if len(clients) == 0 {
		return
	}
	s := scratches.Get().(*scratch)
	defer s.giveBack()
	for i := range clients {
		w := &clients[i]
		s.query.Parse(w.query)
		if r.failed {
			s.out = f.appendFailure(s.out[:0], r.entry, &s.query, &w.client, r.ede)
		} else {
			s.out = f.appendEntry(s.out[:0], r.entry, &s.query, &w.client, r.at, false)
		}
		w.reply(s.out)
	}
}

// A scratch has room to write responses for clients. Every use writes it before
// reading it.
type scratch struct {
	query wire.Query
	out   []byte
}

// maxScratch is the largest buffer, in octets, that a scratch keeps. Larger
// responses are rare, and would make every scratch as large as theirs.
const maxScratch = 4096

var scratches = sync.Pool{New: func() any { return &scratch{out: make([]byte, 0, wire.MinUDPSize)} }}

// giveBack lets another goroutine use the scratch.
func (s *scratch) giveBack() {
	if cap(s.out) > maxScratch {
		s.out = nil
	}
	scratches.Put(s)
}
