package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/clock"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
	"go.uber.org/zap"
)

// A Query is one question put to one server in one way. The exported fields are
// set before Ask and do not change afterwards.
type Query struct {
	Server    *Server
	Question  message.Question
	Transport metrics.Transport
	EDNS      bool // with an OPT record
	MixedCase bool // in random letter case
	Again     bool // the server was asked before, and has not answered yet
	// Sent is when the question was put to the server, from which the server's
	// time counts. Ask sets it if it is 0.
	Sent clock.Moment

	// The fields below are guarded by the owner's lock.
	owner      Owner
	open       bool          // Ask has returned nil, and no final Event has come
	probe      bool          // asked only to learn whether the server answers
	missAt     clock.Moment  // when the server's time is over; Never: it is counted already
	message    message.Query // over UDP; a goroutine that waits owns it
	mismatches int           // datagrams that are not the response; likewise
	socket     *socket       // the poller's; nil: a goroutine waits
	cancel     context.CancelFunc
}

// An Owner is told what happens to its queries.
type Owner interface {
	// Lock and Unlock guard the owner, and the queries that it asks.
	sync.Locker
	// Step is called for each Event of q, while the owner is locked. It must not
	// block.
	Step(q *Query, ev Event)
}

// An Event is something that happened to a query. It is final if Hint is 0: then
// the query is over, and Response or Err is set. Err is ErrTruncated, an error of
// message.Clean, or that of a system call.
type Event struct {
	Hint     Hint
	Response *message.Response
	Err      error
}

// A Hint is what datagrams that are not the response say about the server. The
// response can still come.
type Hint uint8

const (
	HintForged Hint = iota + 1 // there are many: someone may be guessing
	HintCase                   // the server seems to change letter case
	HintNoEDNS                 // the server seems not to know EDNS
)

// forgedHint is how many datagrams that do not match make a HintForged. Late and
// repeated responses are fewer.
const forgedHint = 8

// ErrTruncated is the end of a query over UDP whose response was cut: the server
// must be asked over TCP.
var ErrTruncated = errors.New("the response is truncated")

// Errors of queries that were not sent.
var (
	ErrNoSocket = errors.New("too many queries to upstreams are open")
	errStopped  = errors.New("no more queries are sent")
)

// Local reports whether err has its cause on this machine. Then it says nothing
// about the server, nor about the question.
func Local(err error) bool {
	for _, cause := range [...]error{
		ErrNoSocket, errStopped,
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ENOSPC, syscall.EADDRNOTAVAIL, syscall.EAGAIN,
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// Config is what an Asker needs. All fields but Exchange must be set.
type Config struct {
	Clock  clock.Clock
	Timers *clock.Timers
	// MaxQueries is how many queries may be open. If the process may not have
	// that many files open, fewer are allowed.
	MaxQueries int
	// IsLocal is what message.Clean needs: the owners that no server is believed.
	IsLocal func(name []byte) bool
	// RootCAs are the authorities for the certificates of servers. Nil: those of
	// the system.
	RootCAs *x509.CertPool
	Log     *zap.Logger
	// Exchange, if set, takes the place of the network. For tests in fake time.
	Exchange Exchanger
}

// An Exchanger sends q and waits for the response, until ctx is done. It may call
// hint meanwhile.
type Exchanger func(ctx context.Context, q *Query, hint func(Hint)) (*message.Response, error)

// An Asker asks servers. Its methods may be called from any goroutine.
type Asker struct {
	config   Config
	sockets  sockets
	sessions tls.ClientSessionCache
	era      atomic.Uint64
	once     sync.Once
	poller   *poller // made for the first query over UDP; nil: goroutines wait

	ctx     context.Context
	stop    context.CancelFunc
	mu      sync.Mutex
	running bool           // guarded by mu
	wg      sync.WaitGroup // what Stop waits for; grows only while running
}

// NewAsker returns an Asker. It opens nothing until Start.
func NewAsker(c Config) *Asker {
	a := &Asker{config: c, sockets: newSockets(c.MaxQueries), sessions: tls.NewLRUClientSessionCache(16)}
	a.era.Store(1)
	return a
}

// Start lets queries be asked. It must be called once.
func (a *Asker) Start() {
	a.ctx, a.stop = context.WithCancel(context.Background())
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running = true
	if a.config.Exchange == nil {
		a.config.Exchange = a.exchange
	} else {
		a.once.Do(func() {}) // no poller
	}
}

// startPoller makes the poller, if the system can have one.
func (a *Asker) startPoller() {
	if a.poller = newPoller(a); a.poller != nil {
		a.Go(a.poller.run)
	}
}

// Stop ends all queries, without events, and waits for every goroutine. The
// Timers must have been stopped.
func (a *Asker) Stop() {
	a.mu.Lock()
	a.running = false
	a.mu.Unlock()
	a.stop()
	a.once.Do(func() {}) // no poller from now on
	if a.poller != nil {
		a.poller.stop()
	}
	a.wg.Wait()
}

// Go calls fn in a goroutine that Stop waits for. It returns false, and does
// nothing, if the Asker is not running.
func (a *Asker) Go(fn func()) bool {
	if !a.enter() {
		return false
	}
	go func() {
		defer a.wg.Done()
		fn()
	}()
	return true
}

// enter makes Stop wait until the caller calls wg.Done. It returns false, and does
// nothing, if the Asker is not running.
func (a *Asker) enter() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running {
		a.wg.Add(1)
	}
	return a.running
}

// log calls write in a goroutine: nothing that happens to a query waits for a log.
func (a *Asker) log(write func(log *zap.Logger)) { a.Go(func() { write(a.config.Log) }) }

// Era returns a number that grows when a server answers again after Blame was
// called for it. It begins at 1.
func (a *Asker) Era() uint64 { return a.era.Load() }

// Ask sends q. Events follow until one is final or Cancel is called, unless Ask
// returns an error. The owner is locked by the caller; no event comes before it
// is unlocked.
func (a *Asker) Ask(q *Query, owner Owner) error {
	now := a.config.Clock.Now()
	q.owner = owner
	if q.Sent == 0 {
		q.Sent = now
	}
	q.missAt = q.Sent.After(q.Server.Patience())
	if !q.probe {
		q.Server.Stats.Request(q.Transport)
	}
	q.open = true
	err := a.send(q)
	if err != nil {
		a.finish(q, Event{Err: err})
	}
	return err
}

func (a *Asker) send(q *Query) error {
	if q.Transport == metrics.OverUDP && q.Server.Addr.Addr().Zone() == "" {
		if a.once.Do(a.startPoller); a.poller != nil {
			return a.poller.ask(q)
		}
	}
	ctx, cancel := context.WithCancel(a.ctx)
	q.cancel = cancel
	if !a.Go(func() {
		resp, err := a.config.Exchange(ctx, q, func(h Hint) { a.event(q, Event{Hint: h}) })
		a.event(q, Event{Response: resp, Err: err})
	}) {
		return errStopped
	}
	return nil
}

// event reports an event to the owner, which is not locked, unless q is over.
func (a *Asker) event(q *Query, ev Event) {
	q.owner.Lock()
	defer q.owner.Unlock()
	if q.open {
		a.report(q, ev)
	}
}

// report reports an event to the owner, which is locked. q is open.
func (a *Asker) report(q *Query, ev Event) {
	if ev.Hint == 0 {
		a.finish(q, ev)
	}
	q.owner.Step(q, ev)
}

// Cancel ends q without an event, and counts that the server has not answered in
// the time that it had. It does nothing if q is over. The owner is locked.
func (a *Asker) Cancel(q *Query) {
	if !q.open {
		return
	}
	a.release(q)
	if !q.probe {
		q.Server.Stats.Timeouts.Add(1)
	}
}

// release gives back what q uses.
func (a *Asker) release(q *Query) {
	q.open = false
	if q.socket != nil {
		a.poller.release(q)
	}
	if q.cancel != nil {
		q.cancel()
	}
}

// finish ends q, and notes what its final event says about the server.
func (a *Asker) finish(q *Query, ev Event) {
	a.release(q)
	if q.probe {
		return // see prober.Step
	}
	now, s := a.config.Clock.Now(), q.Server
	rcode, answered := Answered(ev)
	switch {
	case answered:
		s.answered(now, q.Sent, rcode)
	case ev.Err == ErrTruncated:
		s.hear(now)
	case !Local(ev.Err):
		s.unreachable()
		q.Missed(clock.Never)
	}
}

// Answered reports whether an event is a response to the question, even one that
// does not answer it, and returns its RCODE.
func Answered(ev Event) (rcode wire.RCode, ok bool) {
	if ev.Response != nil {
		return ev.Response.RCode, true
	}
	if refusal := (*message.RCodeError)(nil); errors.As(ev.Err, &refusal) {
		return refusal.RCode, true
	}
	return wire.NoError, errors.Is(ev.Err, message.ErrInvalid)
}

// Missed counts against the server that it has not answered q, if its time is over
// at now and other responses have not come meanwhile. It returns when its time is
// over, or Never if that was counted. The owner is locked.
func (q *Query) Missed(now clock.Moment) clock.Moment {
	if q.missAt <= now && q.missAt != clock.Never {
		q.missAt = clock.Never
		q.Server.miss(q)
	}
	return q.missAt
}

// sockets bounds the queries that are open, so that clients of local names never
// lack a socket.
type sockets struct {
	limit int64
	open  atomic.Int64
}

// newSockets allows want queries, but no more than two fifths of the files that
// the process may have open. With the sockets that the poller keeps, that is half
// of them.
func newSockets(want int) sockets { return sockets{limit: min(int64(want), max(openFiles()/5*2, 1))} }

// take reserves a socket for q and reports whether one was free. The caller must
// call giveBack if so.
//
// Questions that hang are asked again, and then have several. Half of the sockets
// are left to those that are asked for the first time. A probe always gets one:
// each server has one probe, and without it a server would seem dead that there
// are no sockets left for.
func (s *sockets) take(q *Query) bool {
	limit := s.limit
	if q.Again {
		limit /= 2
	}
	if s.open.Add(1) > limit && !q.probe {
		s.open.Add(-1)
		return false
	}
	return true
}

func (s *sockets) giveBack() { s.open.Add(-1) }
