package disk

import (
	"errors"
	"time"
)

const (
	// maxCommit and perRecord bound how long a commit may take before the disk
	// counts as one that does not answer. Disks have been seen to stall for some
	// seconds; more only keeps writers waiting for what they will have to ask
	// again. A record takes some 20 µs by itself.
	maxCommit = 10 * time.Second
	perRecord = 200 * time.Microsecond

	// maxLate bounds how long after its end a lease may wait for a commit. Its
	// machine must be gone from answers within a second.
	maxLate = 800 * time.Millisecond

	// minCommit and minRecord are what a commit has in any case: after a pause of
	// the whole process all leases are late, and that is not the disk's fault; nor is
	// it that an import takes some seconds. Leases that end meanwhile do so after it,
	// unless they were renewed while it was made: giving up would let those end, too.
	minCommit = 200 * time.Millisecond
	minRecord = 50 * time.Microsecond
)

// An attempt is a commit at work in a goroutine of its own, which has the
// database until it is done.
type attempt struct {
	db   *database
	done chan struct{} // closed when the rest is set
	next state
	err  error
}

// ended returns what is closed when the attempt has ended; for nil, what never
// is.
func (a *attempt) ended() <-chan struct{} {
	if a == nil {
		return nil
	}
	return a.done
}

var errStuck = errors.New("the disk does not answer")

// persist makes changes durable. If that takes too long it returns errStuck, and
// there is no database until the attempt has ended. Without an error, or with
// another, next is what the database holds if the commit was made.
func (k *Keeper) persist(changed []record, index uint64, now time.Time) (next *state, err error) {
	a := &attempt{db: k.db, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		defer faultsArePanics()()
		if a.next, a.err = a.db.state, k.fault(false); a.err != nil {
			return
		}
		if a.next, a.err = a.db.commit(changed, index, now); a.err == nil {
			a.err = k.fault(true)
		}
	}()
	patience := maxCommit + time.Duration(len(changed))*perRecord
	if end, ok := k.leases.next(); ok {
		patience = min(patience, max(minCommit+time.Duration(len(changed))*minRecord, time.Until(end)+maxLate))
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-a.done:
		return &a.next, a.err
	case <-timer.C:
		k.stuck, k.db = a, nil
		return nil, errStuck
	}
}

// stuckNoMore closes the database of an attempt that has ended at last. What it
// holds then is found out by recover.
func (k *Keeper) stuckNoMore() {
	select {
	case <-k.stuck.ended():
		a := k.stuck
		k.stuck = nil
		k.db = a.db
		err := a.err
		if err == nil {
			err = errLate
		}
		k.failed(err, k.known, &a.next)
	default:
	}
}

var errLate = errors.New("the disk answered too late")
