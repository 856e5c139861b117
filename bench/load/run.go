package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/internaldns/internaldns/bench/dataset"
)

// A carrier moves messages over sockets. It calls generator.arrived for every
// message that comes.
type carrier interface {
	// receive takes the messages that have come, without waiting, and reports
	// whether there were any.
	receive() (bool, error)
	// send sends at most n queries without waiting, and returns how many it sent.
	send(n int) (int, error)
	// rest waits until a message may have come, or for that long.
	rest(time.Duration)
	// outstanding returns the number of queries that wait for a response.
	outstanding() int
	// expire gives up the queries that were due before that time.
	expire(before int64)
	close()
}

// generator is one run.
type generator struct {
	Options
	pace
	tally

	carrier     carrier
	next        uint32        // the query to send next
	made        dataset.Query // the last query that Ask made
	untilSample int           // responses until one has its answers compared
	examples    []example

	started time.Time
	now     int64 // ns since started, read in each turn of the loop and for each batch
	stopped atomic.Bool
}

// batch is the number of messages that one system call moves. A larger one saves
// nothing measurable, and the server would get its queries in larger bursts.
const batch = 64

// Run sends queries and returns the result. A run that is cancelled returns its
// result until then, and the error of ctx.
func Run(ctx context.Context, o Options) (Result, error) {
	o = o.WithDefaults()
	if err := o.Validate(); err != nil {
		return Result{}, err
	}
	var (
		g    *generator
		err  error
		done = make(chan struct{})
	)
	go func() { // on a thread of its own, whose affinity ends with it
		defer close(done)
		runtime.LockOSThread()
		if o.Pin {
			if err = pin(o.CPU); err != nil {
				return
			}
		}
		if g, err = newGenerator(o); err != nil {
			return
		}
		defer g.carrier.close()
		defer context.AfterFunc(ctx, func() { g.stopped.Store(true) })()
		if err = g.run(); err == nil {
			err = ctx.Err()
		}
	}()
	<-done
	if g == nil {
		return Result{}, err
	}
	return g.result(), err
}

func newGenerator(o Options) (*generator, error) {
	g := &generator{
		Options: o,
		pace:    newPace(&o),
		tally: tally{
			latency:  newHistogram(),
			begin:    int64(o.Warmup),
			end:      int64(o.Warmup + o.Duration),
			deadline: int64(o.Deadline),
		},
		untilSample: 1,
	}
	var err error
	switch o.Transport {
	case UDP:
		g.carrier, err = newUDPCarrier(g)
	case TCP, TCPOnce:
		g.carrier, err = newTCPCarrier(g)
	}
	if err != nil {
		return nil, fmt.Errorf("open sockets to %v: %w", o.Server, err)
	}
	g.started = time.Now()
	return g, nil
}

// spin is how long the generator polls for responses before its thread sleeps, in
// ns. Waking a thread costs about as much.
const spin = 50_000

// run warms up, measures, and waits for the last responses.
func (g *generator) run() error {
	idleSince := int64(-1)
	began, ended := false, false
	for !g.stopped.Load() {
		g.tick()
		if !began && g.now >= g.begin {
			began = true
			call(g.Begin)
		}
		if !ended && g.now >= g.end {
			ended = true
			call(g.End)
		}
		if ended && (g.carrier.outstanding() == 0 || g.now > g.end+int64(g.Timeout)) {
			break
		}
		busy, err := g.turn(!ended)
		if err != nil {
			return err
		}
		if busy {
			idleSince = -1
			continue
		}
		if idleSince < 0 {
			idleSince = g.now
		}
		if left := g.pace.wait(g.now); !g.Pin && (left > spin || ended) && g.now-idleSince > spin {
			g.carrier.rest(time.Duration(min(left, int64(time.Millisecond))))
		}
	}
	g.carrier.expire(math.MaxInt64)
	if g.pace.open() && !g.Flood {
		if due := g.pace.due(g.end-1, 0, 1<<30); due > 0 && due < 1<<30 {
			g.Unsent = uint64(due)
		}
	}
	return nil
}

// turn is one turn of the loop: it receives, sends what is due, and gives up what
// is too old. It reports whether anything was received or sent.
func (g *generator) turn(sending bool) (bool, error) {
	busy, err := g.carrier.receive()
	if err != nil {
		return false, fmt.Errorf("receive from %v: %w", g.Server, err)
	}
	if sending {
		if due := g.pace.due(g.now, g.carrier.outstanding(), batch); due > 0 {
			n, err := g.carrier.send(due)
			if err != nil {
				return false, fmt.Errorf("send to %v: %w", g.Server, err)
			}
			g.pace.sent += uint64(n)
			busy = busy || n > 0
		}
	}
	g.carrier.expire(g.now - int64(g.Timeout))
	if g.Beside != nil {
		worked, err := g.Beside()
		return busy || worked, err
	}
	return busy, nil
}

// tick reads the clock.
func (g *generator) tick() { g.now = int64(time.Since(g.started)) }

// nextQuery returns the number of the query to send next.
func (g *generator) nextQuery() uint32 {
	n := g.next
	g.next++
	if int(g.next) == len(g.Queries) {
		g.next = 0
	}
	return n
}

// query returns the query of that number. It is valid until the next call.
func (g *generator) query(n uint32) *dataset.Query {
	if g.Ask == nil {
		return &g.Queries[n]
	}
	g.Ask(n, &g.made)
	return &g.made
}

// undo goes back by n queries, which could not be sent.
func (g *generator) undo(n int) {
	if g.Ask != nil {
		g.next -= uint32(n)
		return
	}
	g.next = uint32((int(g.next) - n%len(g.Queries) + len(g.Queries)) % len(g.Queries))
}

func call(f func()) {
	if f != nil {
		f()
	}
}

var (
	// errRefused is returned for a connected UDP socket to a port at which no server
	// listens.
	errRefused = errors.New("no server listens there")

	// errHungUp ends a run that would do nothing but open connections.
	errHungUp = errors.New("the server ends connections without answering")
)
