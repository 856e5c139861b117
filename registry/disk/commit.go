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
