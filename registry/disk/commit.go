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

// commit makes a group of writes, and ends the leases that are over, in one
// transaction. It reports whether there may be more to do.
func (k *Keeper) commit(now time.Time) (more bool) {
	tx := k.store.Begin()
	staged := stage(&k.leases)
	base := tx.Snapshot()
	var group []*write
	var changed []record
	for len(group) < maxGroup && len(changed) < maxRecords {
		w := k.next()
		if w == nil {
			break
		}
		group = append(group, w)
		w.sawOthers = tx.Snapshot() != base || len(staged.order) > 0
		changed = append(changed, w.make(tx, staged, now)...)
	}
	expired := k.leases.over(now, staged)
	changed = append(changed, expire(tx, staged, expired)...)
	changed = append(changed, staged.records()...)

	if len(changed) == 0 {
		tx.Abort()
		k.answer(group)
		return len(group) > 0
	}
	next, err := k.persist(changed, tx.Snapshot().Index, now)
	if err != nil {
		tx.Abort()
		k.failed(err, next)
		k.refuse(group, k.unavailable())
		return true // for the leases that are over
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

// make decides a write and applies it to tx. It returns the records that the write
// changes, and stages its leases.
func (w *write) make(tx *registry.Tx, staged *stagedLeases, now time.Time) []record {
	if w.err = w.ctx.Err(); w.err != nil {
		return nil // the writer has left
	}
	write, changes, err := w.apply(tx)
	if err != nil {
		w.err = err
		return nil
	}
	staged.write(write, changes, now)
	w.index = changes.Index
	return records(changes)
}

var errDecide = errors.New("the decision about a write panicked")

// apply calls decide and applies the events that it returns. A panic leaves tx as
// it was; Write repeats it in the writer's goroutine.
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

// expire deletes machines from tx, and stages the end of their leases.
func expire(tx *registry.Tx, staged *stagedLeases, keys []registry.MachineKey) []record {
	if len(keys) == 0 {
		return nil
	}
	events := make([]registry.Event, len(keys))
	for i, k := range keys {
		events[i] = registry.Delete(registry.Key{Kind: registry.KindMachine, Network: k.App.Network, Name: k.App.Name, ID: k.ID})
		staged.set(k, nil)
	}
	changes, err := tx.Apply(events)
	if err != nil {
		panic(err) // a deletion is never refused
	}
	return records(changes)
}

// committed notes that a transaction is durable and visible.
func (k *Keeper) committed(staged *stagedLeases, begun time.Time) {
	k.visible, k.durable = k.db.state, k.db.state
	octets := k.db.octets()
	k.mu.Lock()
	defer k.mu.Unlock()
	staged.take()
	s := &k.status
	s.Writable, s.NotSince, s.LastError, s.cause = true, time.Time{}, "", nil
	s.Index, s.Octets, s.Leases = k.durable.index, octets, len(k.leases.at)
	s.Commits++
	s.LastSync, s.LastSyncSeconds = time.Now(), time.Since(begun).Seconds()
}

// answer returns to the writers of a group.
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

// refuse returns err to the writers of a group that could not be made durable. A
// write that was refused before, and saw nothing of the others, keeps its error:
// that is right whatever became of the others.
func (k *Keeper) refuse(group []*write, err error) {
	failures := 0
	for _, w := range group {
		if w.err == nil || w.sawOthers {
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
	// A commit may take maxCommit, and perRecord for each record, before the disk
	// counts as one that does not answer. Disks have been seen to stall for some
	// seconds. A longer wait only delays writers, who must ask again anyway. A
	// record takes some 20 µs by itself.
	maxCommit = 10 * time.Second
	perRecord = 100 * time.Microsecond

	// maxLate bounds how long after its end a lease may wait for a commit. Its
	// machine must be gone from answers within a second.
	maxLate = 800 * time.Millisecond

	// A commit may always take minCommit, and perRecord for each record, whatever
	// leases end. After a pause of the whole process all leases are late, and an
	// import takes some seconds: neither is the disk's fault. Leases that end
	// meanwhile end after the commit, unless they were renewed before.
	minCommit = 200 * time.Millisecond
)

// An attempt is a commit at work in a goroutine of its own, which owns the database
// until done is closed.
type attempt struct {
	db   *database
	done chan struct{} // closed when next and err are set
	next state
	err  error
}

// ended returns done. For nil it returns a channel that is never closed.
func (a *attempt) ended() <-chan struct{} {
	if a == nil {
		return nil
	}
	return a.done
}

var (
	errStuck = errors.New("the disk does not answer")
	errLate  = errors.New("the disk answered too late")
)

// persist makes changes durable. It returns the state that the database has if that
// was done; after an error it may have been done or not. If it takes too long,
// persist returns errStuck and no state, and k.db is nil until the attempt has
// ended (see checkStuck).
func (k *Keeper) persist(changed []record, index uint64, now time.Time) (next *state, err error) {
	a := &attempt{db: k.db, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		if a.next, a.err = a.db.state, k.fault(false); a.err != nil {
			return
		}
		if a.next, a.err = a.db.commit(changed, index, now); a.err == nil {
			a.err = k.fault(true)
		}
	}()
	records := time.Duration(len(changed)) * perRecord
	patience := maxCommit + records
	if end, ok := k.leases.next(); ok {
		patience = min(patience, max(minCommit+records, time.Until(end)+maxLate))
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

// checkStuck closes the database of an attempt that took too long, if it has ended
// now. recover then reads what the database holds.
func (k *Keeper) checkStuck() {
	select {
	case <-k.stuck.ended():
		a := k.stuck
		k.stuck, k.db = nil, a.db
		err := a.err
		if err == nil {
			err = errLate
		}
		k.failed(err, &a.next)
	default:
	}
}
