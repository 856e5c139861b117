package forward

import "sync/atomic"

const (
	// hedgeCost is the number of flights that allow one hedge: so an upstream
	// that gets slow makes the others work a tenth more, not twice as much.
	hedgeCost = 10
	// hedgeBurst is the number of hedges that may be saved up.
	hedgeBurst = 10
)

// A budget bounds hedging to a part of all flights.
type budget struct{ flights atomic.Int64 } // not yet spent on hedges

func newBudget() *budget {
	b := new(budget)
	b.flights.Store(hedgeCost * hedgeBurst)
	return b
}

// earn notes a flight.
func (b *budget) earn() {
	if b.flights.Load() < hedgeCost*hedgeBurst {
		b.flights.Add(1)
	}
}

// take reports whether there may be a hedge, and takes it from the budget.
func (b *budget) take() bool {
	for {
		n := b.flights.Load()
		if n < hedgeCost {
			return false
		}
		if b.flights.CompareAndSwap(n, n-hedgeCost) {
			return true
		}
	}
}
