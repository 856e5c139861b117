package disk

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
)

// maxExpired bounds the leases that end in one commit.
const maxExpired = 1000

// commit makes the writes of a group, and ends the leases that are over, in one
// transaction. It reports whether there is more to do.
func (k *Keeper) commit(group []*write, now time.Time) (more bool) {
	tx := k.store.Begin()
	staged := stage(&k.leases)
	base := tx.Snapshot()
	var changed []record
	for i, w := range group {
		if len(changed) >= maxRecords {
			k.pending, group = group[i:], group[:i]
			break
		}
		w.dirty = tx.Snapshot() != base || len(staged.order) > 0
		changed = append(changed, w.make(tx, staged, now)...)
	}
	expired := k.leases.over(now, staged, maxExpired)
	changed = append(changed, expire(tx, staged, expired)...)
	changed = append(changed, staged.records()...)

	if len(changed) == 0 {
		tx.Abort()
		k.answer(group)
		return len(group) > 0
	}
	held := k.db.state
	next, err := k.persist(changed, tx.Snapshot().Index, now)
	if err != nil {
		tx.Abort()
		k.failed(err, held, next)
		k.refuse(group, k.unavailable())
		return true // the leases that are over
	}
	tx.Commit()
	k.committed(staged, now)
	k.backoff = 0
	if len(expired) > 0 {
		k.log.Info("leases ended", zap.Int("machines", len(expired)), zap.Uint64("index", next.index))
	}
	k.answer(group)
	return true
}

// make decides and applies a write within a transaction. What it changes is
// returned, and its leases are staged.
func (w *write) make(tx *registry.Tx, staged *stagedLeases, now time.Time) []record {
	if w.err = w.ctx.Err(); w.err != nil {
		return nil // nobody waits for it
	}
	write, changes, err := w.apply(tx)
	if err != nil {
		w.err = err
		return nil
	}
	staged.write(write, now)
	w.index = changes.Index
	return records(changes)
}

var errDecide = errors.New("the decision about a write panicked")

// apply calls decide and does what it says. A panic, which leaves the transaction
// as it was, is for the goroutine that wants the write.
func (w *write) apply(tx *registry.Tx) (write registry.Write, changes *registry.Changes, err error) {
	defer func() {
		if r := recover(); r != nil {
			w.panicked, err = r, errDecide
		}
	}()
	if write, err = w.decide(tx.Snapshot()); err == nil {
		changes, err = tx.Apply(write.Events)
	}
	return write, changes, err
}

// expire deletes machines within a transaction.
func expire(tx *registry.Tx, staged *stagedLeases, keys []registry.MachineKey) []record {
	if len(keys) == 0 {
		return nil
	}
	events := make([]registry.Event, len(keys))
	for i, key := range keys {
		events[i] = deletion(key)
		staged.set(key, nil)
	}
	changes, err := tx.Apply(events)
	if err != nil {
		panic(err) // there is nothing in a deletion to be refused
	}
	return records(changes)
}

// committed notes that a transaction is durable, and that readers see it.
func (k *Keeper) committed(staged *stagedLeases, begun time.Time) {
	k.shown, k.known = k.db.state, k.db.state
	octets := k.db.octets()
	k.mu.Lock()
	defer k.mu.Unlock()
	staged.take()
	s := &k.status
	s.Writable, s.NotSince, s.LastError, s.cause = true, time.Time{}, "", nil
	s.Index, s.Octets, s.Leases = k.known.index, octets, len(k.leases.at)
	s.Commits++
	s.LastSync, s.LastSyncSeconds = time.Now(), time.Since(begun).Seconds()
}

// answer tells the writers of a group what came of it.
func (k *Keeper) answer(group []*write) {
	made := 0
	for _, w := range group {
		if w.err == nil {
			made++
		}
	}
	k.mu.Lock()
	k.status.Writes += uint64(made)
	k.mu.Unlock()
	for _, w := range group {
		close(w.done)
	}
}

// refuse tells the writers of a group that it could not be made durable. Those
// that were refused for a better reason, which is one whatever became of the
// others, are told that.
func (k *Keeper) refuse(group []*write, err error) {
	failures := 0
	for _, w := range group {
		if w.err == nil || w.dirty {
			w.index, w.err = 0, err
			failures++
		}
	}
	k.mu.Lock()
	k.status.Failures += uint64(failures)
	k.mu.Unlock()
	for _, w := range group {
		close(w.done)
	}
}

// unavailable returns the error for writes while the database is not open.
func (k *Keeper) unavailable() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status.cause
}

// refusal returns err as one of the errors of registry.Keeper.
func refusal(err error) error {
	if full(err) {
		return fmt.Errorf("%w: %v", registry.ErrFull, err)
	}
	return fmt.Errorf("%w: %v", registry.ErrUnavailable, err)
}

// full reports whether err says that there is no room. bbolt wraps some errors
// as text.
func full(err error) bool {
	for _, no := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, no) || strings.Contains(err.Error(), no.Error()) {
			return true
		}
	}
	return false
}

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
