package disk

import (
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
)

const (
	// firstRetry and lastRetry bound how long a database that failed is left
	// alone; the time doubles with every failure until a write was made.
	// lastRetry is the longest that writes stay refused when the disk is back and
	// nobody writes; a writer has the database tried after writeRetry already.
	firstRetry = 250 * time.Millisecond
	writeRetry = time.Second
	lastRetry  = 5 * time.Second
)

// failed closes the database, which is not to be synced again as it is: what the
// kernel could not write it may have given up, and says so once only. held is
// what the file held before, and next, unless nil, what it may hold now.
func (k *Keeper) failed(err error, held state, next *state) {
	if k.db != nil {
		if err := k.db.close(err); err != nil {
			k.log.Error("the database cannot be closed", zap.Error(err))
		}
		k.db = nil
	}
	k.known, k.doubt = held, next
	k.tried = time.Now()
	k.backoff = max(firstRetry, min(2*k.backoff, lastRetry), k.took) // at most half the time is spent trying
	k.mu.Lock()
	defer k.mu.Unlock()
	s := &k.status
	if s.Writable || s.NotSince.IsZero() {
		s.NotSince = time.Now()
	}
	if s.Writable || s.LastError != err.Error() {
		k.log.Error("the database cannot be written; writes are refused, answers go on", zap.Error(err))
	}
	s.Writable, s.LastError, s.cause = false, err.Error(), refusal(err)
}

// mayRecover reports whether it is time to try the database again.
func (k *Keeper) mayRecover(now time.Time, wanted bool) bool {
	if k.stuck != nil {
		return false
	}
	wait := k.backoff
	if wanted {
		wait = max(min(wait, writeRetry), k.took)
	}
	return !now.Before(k.tried.Add(wait))
}

// recover opens the database again, has memory and it say the same, and shows by
// a commit that it can be written.
func (k *Keeper) recover() {
	begun := time.Now()
	held, next := k.known, k.doubt
	c, err := k.reread()
	if err != nil {
		k.failed(err, held, next)
	} else {
		err = k.reconcile(c)
	}
	k.took = time.Since(begun)
	if err == nil {
		k.log.Info("the database can be written again")
	}
}

// reread reads what the file really holds: not what the kernel remembers of it.
func (k *Keeper) reread() (*contents, error) {
	f, err := os.Open(k.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	forget(f)
	c, err := (&scan{file: f, skim: true}).read()
	if err != nil {
		return nil, fmt.Errorf("what is in it after a failure: %w", err)
	}
	if !c.state.same(k.known) && (k.doubt == nil || !c.state.same(*k.doubt)) {
		return nil, fmt.Errorf("it holds commit %d with %d records, and not commit %d with %d that was written: somebody else changed it",
			c.index, c.state.records, k.known.index, k.known.records)
	}
	if c.state.same(k.shown) && len(k.owed) == 0 {
		return c, nil
	}
	return (&scan{file: f}).read()
}

// reconcile makes memory say what c does, and the database, which holds c, that
// leases have ended in the meantime. Without facts, c is what memory says.
func (k *Keeper) reconcile(c *contents) error {
	if c.skimmed {
		return k.settle(c.state, nil, nil)
	}
	ended := c.without(k.owed)
	if err := k.settle(c.state, ended, k.store.Snapshot().Diff(&c.facts)); err != nil {
		return err
	}
	k.adopt(c.leases, time.Now())
	return nil
}

// settle opens the database, which holds what held says, and applies events to
// memory and changed to the database, together. On an error the database is
// closed and memory as it was.
func (k *Keeper) settle(held state, changed []record, events []registry.Event) error {
	now := time.Now()
	db, err := openDatabase(k.path, held)
	if err != nil {
		k.failed(err, held, nil)
		return err
	}
	k.db = db
	tx := k.store.Begin()
	old := tx.Snapshot()
	index := max(old.Index, held.index)
	if len(events) > 0 {
		index++
	}
	if index > old.Index {
		if _, err := tx.ApplyAt(index, events); err != nil {
			tx.Abort()
			err = fmt.Errorf("what is in it after a failure: %w", err)
			k.failed(err, held, nil)
			return err
		}
	}
	next, err := k.persist(changed, index, now)
	if err != nil {
		tx.Abort()
		k.failed(err, held, next)
		return err
	}
	tx.Commit()
	k.doubt = nil
	clear(k.owed)
	k.committed(stage(&k.leases), now)
	return nil
}

// adopt makes the leases those that the database holds.
func (k *Keeper) adopt(stored map[registry.MachineKey]registry.Lease, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for key := range k.leases.at {
		if _, ok := stored[key]; !ok {
			k.leases.set(key, nil)
		}
	}
	for key, l := range stored {
		if known := k.leases.at[key]; known != nil && known.TTL == l.TTL && known.Expires.UnixNano() == l.Expires.UnixNano() {
			continue // and what is in memory does not follow the wall clock
		}
		l.Expires = now.Add(min(l.Expires.Sub(now), l.TTL))
		k.leases.set(key, &l)
	}
	k.status.Leases = len(k.leases.at)
}

// expireInMemory ends leases while the database cannot be written. It will
// follow later. It reports whether there may be more.
func (k *Keeper) expireInMemory(now time.Time) (more bool) {
	staged := stage(&k.leases)
	keys := k.leases.over(now, staged, maxExpired)
	if len(keys) == 0 {
		return false
	}
	tx := k.store.Begin()
	expire(tx, staged, keys)
	tx.Commit()
	for _, key := range keys {
		k.owed[key] = true
	}
	k.log.Warn("leases ended, which the database does not know yet", zap.Int("machines", len(keys)))
	k.mu.Lock()
	defer k.mu.Unlock()
	staged.take()
	k.status.Leases = len(k.leases.at)
	return true
}

// without takes machines and their leases out of c, and returns what that
// changes in the database.
func (c *contents) without(owed map[registry.MachineKey]bool) (changed []record) {
	if len(owed) == 0 {
		return nil
	}
	kept := c.facts.Machines[:0]
	for _, m := range c.facts.Machines {
		if owed[keyOf(m)] {
			changed = append(changed, record{bMachines, machineKey(m), nil})
		} else {
			kept = append(kept, m)
		}
	}
	clear(c.facts.Machines[len(kept):])
	c.facts.Machines = kept
	for key := range owed {
		if _, ok := c.leases[key]; ok {
			delete(c.leases, key)
			changed = append(changed, leaseRecord(key, nil))
		}
	}
	return changed
}
