package forward

import (
	"net/netip"
	"sync"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
)

// flights are the questions being asked, each once, and the clients who wait for
// the answers.
type flights struct {
	maxWaiting, maxPerSource int

	mu       sync.Mutex
	running  bool                         // guarded by mu; flights may begin
	open     map[message.Question]*flight // guarded by mu
	waiting  int                          // guarded by mu; clients of all of them
	bySource map[netip.Addr]int           // guarded by mu; the same by source
	wg       sync.WaitGroup               // everything that runs; grows only while running
}

// An asker is a client who waits.
type asker struct {
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

// stop lets no more begin, and waits for everything that runs to end.
func (s *flights) stop() {
	s.mu.Lock()
	s.running = false
	s.mu.Unlock()
	s.wg.Wait()
}

// goWith runs fn beside the flights. It reports false, and does not, if they have
// stopped.
func (s *flights) goWith(fn func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running {
		s.wg.Go(fn)
	}
	return s.running
}

// join makes the client of q wait for the flight of its question, which begins if
// need be. It reports why it cannot.
func (s *flights) join(f *Forwarder, g *group, q *wire.Query, c wire.Client, reply func([]byte)) (_ metrics.ForwardCount, ok bool) {
	begun, why, ok := s.enter(f, g, q, c, reply)
	if begun != nil {
		begun.depart()
	}
	return why, ok
}

// enter is join, but that the flight that begins has not departed: it is returned.
func (s *flights) enter(f *Forwarder, g *group, q *wire.Query, c wire.Client, reply func([]byte)) (begun *flight, _ metrics.ForwardCount, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running || s.waiting >= s.maxWaiting {
		return nil, metrics.RefusedFull, false
	}
	from := source(c.Addr)
	if s.bySource[from] >= s.maxPerSource {
		return nil, metrics.RefusedSource, false
	}
	fl := s.open[message.QuestionOf(q)]
	if fl != nil {
		f.stats.Count(q.ID, metrics.ForwardJoined)
	} else {
		if len(s.open) >= s.maxWaiting {
			return nil, metrics.RefusedFull, false
		}
		fl = s.beginLocked(f, g, message.QuestionOf(q), false)
		begun = fl
	}
	room := fl.room[:0]
	if begun == nil {
		room = make([]byte, 0, wire.MaxCopyLen)
	}
	fl.clients = append(fl.clients, asker{c, wire.AppendQuery(room, q), reply})
	s.waiting++
	s.bySource[from]++
	if fl.late {
		select {
		case fl.events <- event{kind: joined}:
		default: // it has something to do anyway, and will see the client then
		}
	}
	return begun, 0, true
}

// refresh begins a flight for q that nobody waits for, unless there is one. While
// much is in flight it does nothing.
func (s *flights) refresh(f *Forwarder, g *group, q message.Question) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running && s.open[q] == nil && len(s.open) < s.maxWaiting/2 {
		f.stats.Count(0, metrics.CachePrefetch)
		s.beginLocked(f, g, q, true).depart()
	}
}

// beginLocked opens a flight, which the caller has depart.
func (s *flights) beginLocked(f *Forwarder, g *group, q message.Question, refresh bool) *flight {
	fl := newFlight(f, g, q, refresh)
	s.open[q] = fl
	s.wg.Add(1) // until it is over
	return fl
}

// take returns the clients of fl and forgets them. late tells fl to see to those
// who join from now on at once.
func (s *flights) take(fl *flight, late bool) []asker {
	s.mu.Lock()
	defer s.mu.Unlock()
	fl.late = fl.late || late
	return s.takeLocked(fl)
}

// end is take for the last time: nobody can join fl after.
func (s *flights) end(fl *flight) []asker {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, fl.q)
	return s.takeLocked(fl)
}

func (s *flights) takeLocked(fl *flight) []asker {
	clients := fl.clients
	fl.clients = nil
	s.waiting -= len(clients)
	for _, c := range clients {
		from := source(c.client.Addr)
		if s.bySource[from]--; s.bySource[from] == 0 {
			delete(s.bySource, from)
		}
	}
	return clients
}

// source returns what the clients at an address are counted as: a machine owns the
// /112 of its 6PN address (fdaa::/16), and can ask from all of it; otherwise an
// address is a client.
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

// deliver gives each of the clients the response that respond appends.
func deliver(clients []asker, respond func(out []byte, q *wire.Query, c *wire.Client) []byte) {
	if len(clients) == 0 {
		return
	}
	d := desks.Get().(*desk)
	defer d.giveBack()
	for i := range clients {
		a := &clients[i]
		d.query.Parse(a.query)
		d.out = respond(d.out[:0], &d.query, &a.client)
		a.reply(d.out)
	}
}
