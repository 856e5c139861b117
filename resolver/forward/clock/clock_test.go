package clock

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// A waiter notes when it was called.
type waiter struct {
	clock Clock
	timer Timer
	calls chan Moment
}

func (w *waiter) Due(Moment) { w.calls <- w.clock.Now() }

func newWaiter(c Clock) *waiter {
	w := &waiter{clock: c, calls: make(chan Moment, 100)}
	w.timer.Waiter = w
	return w
}

// Timers that are set, moved and stopped at random are called at the moment they
// were set to last, once, and not otherwise.
func TestTimersAreCalledAtTheirLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		ts := NewTimers(c)
		defer ts.Stop()
		r := rand.New(rand.NewPCG(1, 2))
		const n = 300
		var waiters [n]*waiter
		var want [n]Moment
		for i := range waiters {
			waiters[i] = newWaiter(c)
		}
		for range 10 * n {
			i := r.IntN(n)
			want[i] = Moment(time.Second).After(time.Duration(r.IntN(2000)) * time.Millisecond)
			if r.IntN(5) == 0 {
				want[i] = Never
			}
			ts.Set(&waiters[i].timer, want[i])
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		for i, w := range waiters {
			switch {
			case len(w.calls) > 1:
				t.Errorf("timer %d was called %d times", i, len(w.calls))
			case want[i] == Never && len(w.calls) != 0:
				t.Errorf("timer %d was stopped, and called", i)
			case want[i] != Never && len(w.calls) == 0:
				t.Errorf("timer %d was not called", i)
			case want[i] != Never:
				if got := <-w.calls; got != want[i] {
					t.Errorf("timer %d was called at %v, want %v", i, time.Duration(got), time.Duration(want[i]))
				}
			}
		}
	})
}

// A timer that is set from its own call is called again, and a moment that has
// passed counts as now.
func TestATimerCanBeSetFromItsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		ts := NewTimers(c)
		defer ts.Stop()
		w := newWaiter(c)
		time.Sleep(time.Second)
		ts.Set(&w.timer, 0)
		for want := Moment(time.Second); want < Moment(time.Minute); want = want.After(time.Second) {
			if got := <-w.calls; got != want {
				t.Fatalf("called at %v, want %v", time.Duration(got), time.Duration(want))
			}
			ts.Set(&w.timer, want.After(time.Second))
		}
	})
}

func TestNoTimerIsCalledAfterStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		ts := NewTimers(c)
		before, after := newWaiter(c), newWaiter(c)
		ts.Set(&before.timer, Moment(time.Second))
		ts.Stop()
		ts.Set(&after.timer, Moment(time.Second))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(before.calls)+len(after.calls) != 0 {
			t.Error("a timer was called after Stop")
		}
	})
}

// Setting a timer must not touch the heap of the program: it happens twice for
// each forwarded question.
func TestSetAllocs(t *testing.T) {
	ts := NewTimers(New())
	defer ts.Stop()
	w := newWaiter(ts.clock)
	got := testing.AllocsPerRun(1000, func() {
		ts.Set(&w.timer, Moment(time.Hour))
		ts.Set(&w.timer, Never)
	})
	if got != 0 {
		t.Errorf("%v allocs, want 0", got)
	}
}
