// Package clock measures the time of a forwarder, and calls what waits for a
// moment of it.
//
// A Moment is a point in time. Timers is the one heap of everything that waits
// for one: questions that must be asked again, and servers that must be probed.
package clock

import (
	"container/heap"
	"math"
	"sync"
	"time"
)

// A Moment is a point in time, in nanoseconds since its Clock was made. Unlike
// wall-clock time it never jumps.
type Moment int64

// Never is later than any other Moment.
const Never = Moment(math.MaxInt64)

// After returns the moment that is d later.
func (m Moment) After(d time.Duration) Moment { return m + Moment(d) }

// A Clock counts from the moment it was made.
type Clock struct{ start time.Time }

// New returns a Clock that starts now.
func New() Clock { return Clock{time.Now()} }

// Now returns the current moment.
func (c Clock) Now() Moment { return Moment(time.Since(c.start)) }

// At returns the moment of t, which must come from time.Now.
func (c Clock) At(t time.Time) Moment { return Moment(t.Sub(c.start)) }

// A Waiter waits for a Timer.
type Waiter interface {
	// Due is called in a goroutine of Timers, soon after the moment that the
	// timer was set to. The timer is no longer set then. A call can come although
	// the timer was set to another moment while the call began, so a Waiter looks
	// at its own state first.
	Due(now Moment)
}

// A Timer is the one moment that a Waiter waits for. Its zero value is not set.
type Timer struct {
	Waiter Waiter // set before the first call of Set, and never changed

	at   Moment
	slot int // place in the heap, from 1; 0: not set
}

// Timers call Waiters. Its methods may be called from any goroutine.
type Timers struct {
	clock   Clock
	running sync.WaitGroup // calls of fire

	mu      sync.Mutex
	stopped bool        // guarded by mu
	set     timerHeap   // guarded by mu
	wake    *time.Timer // guarded by mu; calls fire
	wakeAt  Moment      // guarded by mu; when wake is due
}

// NewTimers returns Timers that measure with c.
func NewTimers(c Clock) *Timers { return &Timers{clock: c, wakeAt: Never} }

// Set makes t due at a moment, instead of the one that it was set to before.
// Never stops it.
func (ts *Timers) Set(t *Timer, at Moment) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	switch {
	case ts.stopped:
	case t.slot != 0 && at == Never:
		heap.Remove(&ts.set, t.slot-1)
	case t.slot != 0:
		t.at = at
		heap.Fix(&ts.set, t.slot-1)
	case at != Never:
		t.at = at
		heap.Push(&ts.set, t)
	}
	ts.wakeLocked()
}

// wakeLocked sets wake to the first timer. It does not move wake to a later
// moment: waking up once for nothing costs less than to move it every time that
// the first timer is stopped.
func (ts *Timers) wakeLocked() {
	if ts.stopped || len(ts.set) == 0 || ts.set[0].at >= ts.wakeAt {
		return
	}
	ts.wakeAt = ts.set[0].at
	wait := time.Duration(ts.wakeAt - ts.clock.Now())
	if ts.wake == nil {
		ts.wake = time.AfterFunc(wait, ts.fire)
	} else {
		ts.wake.Reset(wait)
	}
}

// fire calls every Waiter that is due.
func (ts *Timers) fire() {
	ts.mu.Lock()
	if ts.stopped {
		ts.mu.Unlock()
		return
	}
	ts.running.Add(1)
	defer ts.running.Done()
	now := ts.clock.Now()
	var due []*Timer
	for len(ts.set) > 0 && ts.set[0].at <= now {
		due = append(due, heap.Pop(&ts.set).(*Timer))
	}
	ts.wakeAt = Never
	ts.wakeLocked()
	ts.mu.Unlock()
	for _, t := range due {
		t.Waiter.Due(now)
	}
}

// Stop waits for the calls of Waiters under way. No more follow.
func (ts *Timers) Stop() {
	ts.mu.Lock()
	ts.stopped = true
	if ts.wake != nil {
		ts.wake.Stop()
	}
	ts.mu.Unlock()
	ts.running.Wait()
}

// A timerHeap has the timer that is due first at index 0. It implements
// heap.Interface.
type timerHeap []*Timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at < h[j].at }

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i+1, j+1
}

func (h *timerHeap) Push(x any) {
	t := x.(*Timer)
	t.slot = len(*h) + 1
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.slot = 0
	return t
}
