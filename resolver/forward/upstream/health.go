package upstream

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/clock"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
	"go.uber.org/zap"
)

const (
	// SilentAfter is how long a server may take to answer before that is held
	// against it, unless it is known to be slow. A server that died costs clients
	// little more than this.
	SilentAfter = 100 * time.Millisecond

	// SilentMisses is how many queries in a row, with no other response
	// meanwhile, make a server silent. One or two may be names that take long to
	// resolve.
	SilentMisses = 3

	// featureTime is how long a server is believed not to support something that
	// every server should. Then that is tried again, at the price of one query
	// that takes longer.
	featureTime = 10 * time.Minute

	// brokenCase is how many responses in another letter case than the query's
	// end the use of random letter case. Each was confirmed over TCP, or by asking
	// in lower case.
	brokenCase = 2

	// probeEvery is how often a server that is not healthy is probed. Half of it
	// is what clients notice of a recovery on average.
	probeEvery = time.Second

	// probeTime is how long a probe may take.
	probeTime = 900 * time.Millisecond

	// probesDead is how many probes in a row a server may leave unanswered. After
	// them it is dead, or after one if it is also silent.
	probesDead = 2

	// rttSamples is how many round trips the p95 is computed from: enough that it
	// means something, and few enough that a change shows within seconds.
	rttSamples = 64

	// rttLeast is how many round trips there must be before the p95 is used. It
	// is computed anew after as many.
	rttLeast = 8

	// minHedge and maxHedge bound how long the first server has before the next
	// one is asked too. Below minHedge a pause of this program would look like one
	// of the server.
	minHedge = 5 * time.Millisecond
	maxHedge = 100 * time.Millisecond
)

// A Server is one Address at work: how it is doing, and what was counted. Its
// methods may be called from any goroutine.
type Server struct {
	Address
	Stats *metrics.Upstream

	asker   *Asker
	streams streams // over TLS
	prober  prober
	retired atomic.Bool

	// Read without a lock; missed, dead, p95 and median are written under mu.
	heard     atomic.Int64 // moment of the last response; -1: none yet
	missed    atomic.Int32 // queries not answered in time since then
	dead      atomic.Bool
	p95       atomic.Int64 // nanoseconds; 0: not known yet
	median    atomic.Int64 // nanoseconds
	noEDNS    atomic.Int64 // until this moment it is asked without EDNS
	plainCase atomic.Int64 // until this moment it is asked in lower case

	mu         sync.Mutex
	rtts       [rttSamples]time.Duration // guarded by mu
	nrtts      int                       // guarded by mu; ever added to rtts
	unanswered message.Question          // guarded by mu; of the last query missed
	blamed     bool                      // guarded by mu; a question failed since the last response
	ede        uint16                    // guarded by mu; the extended error that says how it fails
	caseFaults int                       // guarded by mu
	probing    bool                      // guarded by mu; a probe is under way or due
	probed     clock.Moment              // guarded by mu; when the last probe was sent
	probeFails int                       // guarded by mu; probes not answered since the last response
}

// NewServer returns the server at addr, of which nothing is known yet.
func (a *Asker) NewServer(addr Address) *Server {
	s := &Server{Address: addr, asker: a, ede: wire.EDENoReach, probed: clock.Moment(-probeEvery)}
	s.Stats = metrics.NewUpstream(addr.String(), message.Mismatches[:], func() bool { return s.State() == Healthy })
	s.heard.Store(-1)
	s.prober.server = s
	s.prober.timer.Waiter = &s.prober
	return s
}

// Retire ends the probes of a server that is no longer used.
func (s *Server) Retire() { s.retired.Store(true) }

// The states of a server.
const (
	Healthy = "healthy"
	Silent  = "silent"
	Dead    = "dead"
)

// State returns one of the states.
func (s *Server) State() string {
	switch {
	case s.Dead():
		return Dead
	case s.Silent():
		return Silent
	}
	return Healthy
}

// Dead reports whether the server must not be asked.
func (s *Server) Dead() bool { return s.dead.Load() }

// Silent reports whether the server should only be asked if no other can be.
func (s *Server) Silent() bool { return s.missed.Load() >= SilentMisses }

// HeardSince reports whether a response has come at or after a moment.
func (s *Server) HeardSince(since clock.Moment) bool { return clock.Moment(s.heard.Load()) >= since }

// Transport returns how the server is asked first.
func (s *Server) Transport() metrics.Transport {
	if s.TLS {
		return metrics.OverTLS
	}
	return metrics.OverUDP
}

// P95 returns the time within which 95 % of the last responses came, and Median
// that for half of them; 0 if there were too few.
func (s *Server) P95() time.Duration    { return time.Duration(s.p95.Load()) }
func (s *Server) Median() time.Duration { return time.Duration(s.median.Load()) }

// Patience returns how long the server may take to answer before that is held
// against it.
func (s *Server) Patience() time.Duration { return min(max(SilentAfter, 3*s.P95()), time.Second) }

// HedgeAfter returns how long to wait for the server before the next one is asked
// too.
func (s *Server) HedgeAfter() time.Duration {
	if p95 := s.P95(); p95 != 0 {
		return min(max(p95, minHedge), maxHedge)
	}
	return maxHedge
}

// EDNS reports whether the server is asked with an OPT record, and MixedCase
// whether in random letter case.
func (s *Server) EDNS(now clock.Moment) bool      { return int64(now) >= s.noEDNS.Load() }
func (s *Server) MixedCase(now clock.Moment) bool { return int64(now) >= s.plainCase.Load() }

// WithoutEDNS notes that the server answered only when asked without EDNS.
func (s *Server) WithoutEDNS(now clock.Moment) { s.noEDNS.Store(int64(now.After(featureTime))) }

// ChangesCase notes that the server answered correctly, but in another letter
// case than the query's.
func (s *Server) ChangesCase(now clock.Moment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.caseFaults++; s.caseFaults >= brokenCase {
		s.caseFaults = 0
		s.plainCase.Store(int64(now.After(featureTime)))
	}
}

// Blame notes that a question failed because the server did not answer, and
// returns the extended error that says how.
func (s *Server) Blame() (ede uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blamed = true
	return s.ede
}

// unreachable notes that a query could not be sent, or that its connection broke.
func (s *Server) unreachable() {
	s.Stats.Errors.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ede = wire.EDENetwork
}

// answered notes the response to a query that was sent at a moment.
func (s *Server) answered(now, sent clock.Moment, rcode wire.RCode) {
	took := time.Duration(now - sent)
	s.Stats.Response(uint16(rcode), took)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hearLocked(now)
	s.rtts[s.nrtts%rttSamples] = took
	if s.nrtts++; s.nrtts%rttLeast != 0 {
		return
	}
	n := min(s.nrtts, rttSamples)
	sorted := s.rtts
	slices.Sort(sorted[:n])
	s.p95.Store(int64(max(sorted[n*95/100], 1)))
	s.median.Store(int64(sorted[n/2]))
}

// hear notes that something has come from the server.
func (s *Server) hear(now clock.Moment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hearLocked(now)
}

func (s *Server) hearLocked(now clock.Moment) {
	s.heard.Store(int64(now))
	s.ede, s.probeFails = wire.EDENoReach, 0
	if s.missed.Load() != 0 {
		s.missed.Store(0)
	}
	if s.blamed || s.dead.Load() {
		s.asker.era.Add(1)
	}
	s.blamed = false
	if s.dead.Load() {
		s.dead.Store(false)
		s.asker.log(func(log *zap.Logger) { log.Info("upstream answers again", zap.Stringer("upstream", s)) })
	}
}

// miss notes that q was not answered in time or could not be sent. If other
// responses came meanwhile, that is not held against the server.
func (s *Server) miss(q *Query) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.HeardSince(q.Sent) {
		return
	}
	s.unanswered = q.Question
	s.missed.Add(1)
	s.probeLocked()
}

// probeLocked orders the next probe, unless one is under way or due.
func (s *Server) probeLocked() {
	if !s.probing {
		s.probing = true
		s.asker.config.Timers.Set(&s.prober.timer, max(s.probed.After(probeEvery), 0))
	}
}

// nextProbe returns what to ask now, or false if the server is healthy or no
// longer used. By turns that is something that every resolver knows, and the last
// question not answered: some servers do not know the root.
func (s *Server) nextProbe(now clock.Moment) (*Query, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.missed.Load() == 0 && !s.dead.Load() || s.retired.Load() {
		s.probing = false
		return nil, false
	}
	s.probed = now
	q := &Query{
		Server: s, Question: message.Question{Name: "\x00", Type: wire.TypeNS}, Transport: s.Transport(),
		EDNS: s.EDNS(now), MixedCase: s.MixedCase(now), probe: true,
	}
	if s.probeFails%2 == 1 {
		q.Question = s.unanswered
	}
	return q, true
}

// probeFailed notes that a probe ended without a response, and orders the next
// one. err is the reason; nil: the server's time is over.
func (s *Server) probeFailed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probing = false
	if s.missed.Load() == 0 && !s.dead.Load() {
		return // it has answered something else meanwhile
	}
	s.probeLocked()
	if err != nil && Local(err) {
		return
	}
	if err != nil {
		s.ede = wire.EDENetwork
	}
	s.probeFails++
	if (s.probeFails >= probesDead || s.Silent()) && !s.dead.Load() {
		s.dead.Store(true)
		s.asker.log(func(log *zap.Logger) { log.Warn("upstream does not answer", zap.Stringer("upstream", s)) })
	}
}

// A prober probes one server. It is the Owner of the probe under way, and waits
// for its end or for the time of the next one.
type prober struct {
	sync.Mutex
	server *Server
	timer  clock.Timer
	query  *Query // guarded by Mutex; the last probe
}

// Due ends the probe under way, or sends the next one.
func (p *prober) Due(now clock.Moment) {
	p.Lock()
	defer p.Unlock()
	s := p.server
	if p.query != nil && p.query.open {
		s.asker.Cancel(p.query)
		s.probeFailed(nil)
		return
	}
	q, ok := s.nextProbe(now)
	if !ok {
		return
	}
	p.query = q
	s.Stats.Probes.Add(1)
	if err := s.asker.Ask(q, p); err != nil {
		p.Step(q, Event{Err: err})
		return
	}
	s.asker.config.Timers.Set(&p.timer, now.After(probeTime))
}

// Step notes what the server makes of a probe. Every response shows that it lives,
// even one that is not accepted.
func (p *prober) Step(q *Query, ev Event) {
	s := p.server
	_, answered := Answered(ev)
	switch {
	case ev.Hint == HintForged: // the messages may come from anyone
	case answered || ev.Hint != 0 || ev.Err == ErrTruncated:
		s.asker.Cancel(q)
		s.hear(s.asker.config.Clock.Now())
		s.probeDone()
	default:
		s.probeFailed(ev.Err)
	}
}

// probeDone notes that a probe was answered.
func (s *Server) probeDone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probing = false
	if s.missed.Load() != 0 {
		s.probeLocked() // queries were missed since the answer
	} else {
		s.asker.config.Timers.Set(&s.prober.timer, clock.Never)
	}
}
