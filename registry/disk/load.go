package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
)

// progressEvery is how often Load logs its progress.
const progressEvery = 2 * time.Second

// Load locks the directory, makes it if it is not there, and puts what is stored
// in it into the store, which must be empty: all of it, with its indexes, or
// nothing. Leases that ended since are left out. The error lists everything that is
// wrong with the database.
//
// A database that can be read but not written is loaded, and Status says so.
func (k *Keeper) Load(ctx context.Context) (err error) {
	begun := time.Now()
	if err := makeDir(k.dir); err != nil {
		return err
	}
	if k.lock, err = lockDir(k.dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	os.Remove(k.path + newSuffix) // of a process that did not finish it
	if _, err := os.Stat(k.path); errors.Is(err, fs.ErrNotExist) {
		if err := create(k.path); err != nil {
			return fmt.Errorf("make a database at %s: %w", k.path, err)
		}
		k.log.Info("database made")
	}
	c, readOnly, err := k.read(ctx)
	if err != nil {
		return unreadable(k.path, err)
	}
	ended, err := k.replay(c, time.Now())
	if err != nil {
		return unreadable(k.path, err)
	}
	if readOnly != nil {
		k.failed(readOnly, nil)
	} else {
		k.settle(ended, nil) // sets the status if it fails, and Run tries again
	}
	k.mu.Lock()
	k.refused = nil
	k.status.Octets = c.octets
	k.mu.Unlock()
	k.log.Info("registry loaded",
		zap.Int("apps", len(c.facts.Apps)), zap.Int("machines", len(c.facts.Machines)), zap.Int("leases", len(c.leases)),
		zap.Int("ended", len(k.expiredInMemory)), zap.Uint64("index", k.store.Snapshot().Index), zap.Duration("took", time.Since(begun)))
	return nil
}

// unreadable adds to err what to do about a database that cannot be loaded.
func unreadable(path string, err error) error {
	if _, refused := errors.AsType[registry.Faults](err); refused || isDamage(err) {
		return fmt.Errorf("the database %s is damaged:\n%w\nNothing of it is served. internaldns data check shows all that is wrong; restore a backup, or move the file away to start with an empty registry", path, err)
	}
	return fmt.Errorf("read %s: %w", path, err)
}

// read reads the database. readOnly is why it cannot be written, or nil.
func (k *Keeper) read(ctx context.Context) (c *contents, readOnly, err error) {
	f, err := os.OpenFile(k.path, os.O_RDWR, 0)
	switch {
	case err == nil:
		// The last writes of a process that was killed may be in the page cache
		// alone. They must not be taken for durable.
		readOnly = f.Sync()
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, err
	default:
		readOnly = err
		if f, err = os.Open(k.path); err != nil {
			return nil, nil, err
		}
	}
	defer f.Close()
	if readOnly != nil {
		dropPageCache(f)
	}
	last := time.Now()
	c, err = read(f, readOptions{progress: func(records, of uint64) error {
		if time.Since(last) >= progressEvery {
			last = time.Now()
			k.log.Info("reading the database", zap.Uint64("records", records), zap.Uint64("of", of))
		}
		return ctx.Err()
	}})
	return c, readOnly, err
}

// replay puts c into the empty store, without the leases that have ended, and their
// machines. It returns the records that the database must still lose for that.
func (k *Keeper) replay(c *contents, now time.Time) (ended []record, err error) {
	// A clock that was set back gives no lease more time.
	latest := now
	if c.clock.After(now) {
		latest = c.clock
	}
	for key, l := range c.leases {
		if !l.Expires.After(latest) {
			k.expiredInMemory[key] = true
		}
	}
	// The process before may have ended these leases in memory alone, each in a
	// commit of its own. Its indexes must not be used for anything else.
	index := c.index + uint64(len(k.expiredInMemory))
	ended = c.remove(k.expiredInMemory)
	for key, l := range c.leases {
		l.Expires = now.Add(min(l.Expires.Sub(latest), l.TTL))
		k.leases.set(key, &l)
	}
	k.visible, k.durable = c.state, c.state
	k.mu.Lock()
	k.status.Index, k.status.Leases = index, len(c.leases)
	k.mu.Unlock()
	if index == 0 {
		return nil, nil
	}
	k.log.Info("indexing the registry", zap.Int("machines", len(c.facts.Machines)))
	events := make([]registry.Event, 0, c.facts.Len())
	for fact := range c.facts.All() {
		events = append(events, registry.Put(fact))
	}
	tx := k.store.Begin()
	if _, err := tx.ApplyAt(index, events); err != nil {
		tx.Abort()
		return nil, err
	}
	tx.Commit()
	return ended, nil
}

const (
	// firstRetry is how long the database is left alone after a failure. The time
	// doubles with every further failure, up to lastRetry, until a write is made.
	// If a write is refused meanwhile, the database is tried again after
	// writeRetry at most.
	firstRetry = 250 * time.Millisecond
	writeRetry = time.Second
	lastRetry  = 5 * time.Second
)

// failed closes the database. It must not be synced again: the kernel may have
// dropped what it could not write, and reports that only once. maybe, unless nil, is
// what the file may hold instead of k.durable.
func (k *Keeper) failed(err error, maybe *state) {
	if k.db != nil {
		if err := k.db.close(err); err != nil {
			k.log.Error("the database cannot be closed", zap.Error(err))
		}
		k.db = nil
	}
	k.maybeCommitted = maybe
	k.tried = time.Now()
	k.backoff = max(firstRetry, min(2*k.backoff, lastRetry), k.took) // at most half the time is spent trying
	k.mu.Lock()
	defer k.mu.Unlock()
	s := &k.status
	if s.Writable || s.NotSince.IsZero() {
		s.NotSince = time.Now()
	}
	if s.Writable || s.LastError != err.Error() {
		k.log.Error("the database cannot be written; writes are refused, queries are answered", zap.Error(err))
	}
	s.Writable, s.LastError, s.cause = false, err.Error(), refusal(err)
}

// mayRecover reports whether it is time to try the database again. wanted reports
// that there are writes.
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

// recover opens the database again. It makes memory hold what the database holds,
// and makes a commit, which shows that the database can be written.
func (k *Keeper) recover() {
	begun := time.Now()
	c, err := k.reread()
	if err != nil {
		k.failed(err, k.maybeCommitted)
	} else {
		k.durable, k.maybeCommitted = c.state, nil
		err = k.reconcile(c)
	}
	k.took = time.Since(begun)
	if err == nil {
		k.log.Info("the database can be written again")
	}
}

// reread reads what the file holds on the disk. Facts are in the result only if
// memory differs.
func (k *Keeper) reread() (*contents, error) {
	f, err := os.Open(k.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	dropPageCache(f)
	c, err := read(f, readOptions{skim: true})
	if err != nil {
		return nil, fmt.Errorf("read again after a failure: %w", err)
	}
	if !c.same(k.durable) && (k.maybeCommitted == nil || !c.same(*k.maybeCommitted)) {
		return nil, fmt.Errorf("it holds commit %d with %d records, and the last one written was %d with %d: another process changed it",
			c.index, c.records, k.durable.index, k.durable.records)
	}
	if c.same(k.visible) && len(k.expiredInMemory) == 0 {
		return c, nil
	}
	return read(f, readOptions{})
}

// reconcile makes memory hold what c does, and the database, which holds c, lose
// what has expired in memory.
func (k *Keeper) reconcile(c *contents) error {
	if c.skimmed {
		return k.settle(nil, nil)
	}
	ended := c.remove(k.expiredInMemory)
	if err := k.settle(ended, k.store.Snapshot().Diff(&c.facts)); err != nil {
		return err
	}
	k.adopt(c.leases, time.Now())
	return nil
}

// settle opens the database, which holds k.durable, and applies events to memory and
// changed to the database in one commit. On an error the database is closed and
// memory as it was.
func (k *Keeper) settle(changed []record, events []registry.Event) error {
	now := time.Now()
	db, err := openDatabase(k.path, k.durable)
	if err != nil {
		k.failed(err, nil)
		return err
	}
	k.db = db
	tx := k.store.Begin()
	old := tx.Snapshot()
	index := max(old.Index, k.durable.index)
	if len(events) > 0 {
		index++
	}
	if index > old.Index {
		if _, err := tx.ApplyAt(index, events); err != nil {
			tx.Abort()
			err = fmt.Errorf("read again after a failure: %w", err)
			k.failed(err, nil)
			return err
		}
	}
	next, err := k.persist(changed, index, now)
	if err != nil {
		tx.Abort()
		k.failed(err, next)
		return err
	}
	tx.Commit()
	clear(k.expiredInMemory)
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
		if old := k.leases.at[key]; old != nil && old.TTL == l.TTL && old.Expires.UnixNano() == l.Expires.UnixNano() {
			continue // the lease in memory has a monotonic clock
		}
		l.Expires = now.Add(min(l.Expires.Sub(now), l.TTL))
		k.leases.set(key, &l)
	}
	k.status.Leases = len(k.leases.at)
}

// expireInMemory ends leases while the database cannot be written. The database
// follows when it can. It reports whether there may be more.
func (k *Keeper) expireInMemory(now time.Time) (more bool) {
	staged := stage(&k.leases)
	keys := k.leases.over(now, staged)
	if len(keys) == 0 {
		return false
	}
	tx := k.store.Begin()
	expire(tx, staged, keys)
	tx.Commit()
	for _, key := range keys {
		k.expiredInMemory[key] = true
	}
	k.log.Warn("leases ended in memory; the database follows when it can be written", zap.Int("machines", len(keys)))
	k.mu.Lock()
	defer k.mu.Unlock()
	staged.take()
	k.status.Leases = len(k.leases.at)
	return true
}

// remove takes machines and their leases out of c. It returns the deletions of
// their records.
func (c *contents) remove(keys map[registry.MachineKey]bool) (deleted []record) {
	if len(keys) == 0 {
		return nil
	}
	kept := c.facts.Machines[:0]
	for _, m := range c.facts.Machines {
		if keys[m.MachineKey()] {
			deleted = append(deleted, record{bMachines, machineKey(m), nil})
		} else {
			kept = append(kept, m)
		}
	}
	clear(c.facts.Machines[len(kept):])
	c.facts.Machines = kept
	for key := range keys {
		if _, ok := c.leases[key]; ok {
			delete(c.leases, key)
			deleted = append(deleted, leaseRecord(key, nil))
		}
	}
	return deleted
}
