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

// progressEvery is how often Load says how far it is.
const progressEvery = 2 * time.Second

// Load takes the directory, making it if it is not there, and brings what it
// keeps into the store, which must be empty: all of it, with the indexes that it
// had, or nothing. Leases that ended while nobody watched are left out. The error
// says everything that is wrong with the database.
//
// A database that can be read and not written is loaded all the same, and
// Status says so.
func (k *Keeper) Load(ctx context.Context) (err error) {
	defer faultsArePanics()()
	begun := time.Now()
	if err := makeDir(k.dir); err != nil {
		return err
	}
	if k.lock, err = acquire(k.dir); err != nil {
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
	now := time.Now()
	ended, err := k.replay(c, now)
	if err != nil {
		return unreadable(k.path, err)
	}
	if readOnly != nil {
		k.failed(readOnly, c.state, nil)
	} else {
		k.settle(c.state, ended, nil) // if that fails it says so, and Run tries again
	}
	k.mu.Lock()
	k.phase = phaseLoaded
	k.status.Octets = c.octets
	k.mu.Unlock()
	k.log.Info("registry loaded",
		zap.Int("apps", len(c.facts.Apps)), zap.Int("machines", len(c.facts.Machines)), zap.Int("leases", len(c.leases)),
		zap.Int("ended", len(k.owed)), zap.Uint64("index", k.store.Snapshot().Index), zap.Duration("took", time.Since(begun)))
	return nil
}

// unreadable says what to do about a database that cannot be loaded.
func unreadable(path string, err error) error {
	_, damaged := errors.AsType[Faults](err)
	_, refused := errors.AsType[registry.Faults](err)
	if damaged || refused {
		return fmt.Errorf("the database %s is damaged:\n%w\nNothing of it is served. internaldns data check shows all that is wrong; restore a backup, or move the file away to begin anew", path, err)
	}
	return fmt.Errorf("read %s: %w", path, err)
}

// read reads the database. readOnly says why it cannot be written, if so.
func (k *Keeper) read(ctx context.Context) (c *contents, readOnly, err error) {
	f, err := os.OpenFile(k.path, os.O_RDWR, 0)
	if err == nil {
		// What a process wrote that was killed may be in the kernel alone. It
		// must not be taken for durable.
		readOnly = f.Sync()
	} else if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	} else {
		readOnly = err
		if f, err = os.Open(k.path); err != nil {
			return nil, nil, err
		}
	}
	defer f.Close()
	if readOnly != nil {
		forget(f)
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

// replay gives c to the store and keeps its leases. It returns what the leases
// that ended, which are owed then, change in the database.
func (k *Keeper) replay(c *contents, now time.Time) (ended []record, err error) {
	// A clock that was set back gives no lease more time.
	shown := now
	if c.clock.After(now) {
		shown = c.clock
	}
	for key, l := range c.leases {
		if !l.Expires.After(shown) {
			k.owed[key] = true
		}
	}
	index := c.index + uint64(len(k.owed)) // above any that was shown when they ended in memory alone
	ended = c.without(k.owed)
	for key, l := range c.leases {
		l.Expires = now.Add(min(l.Expires.Sub(shown), l.TTL))
		k.leases.set(key, &l)
	}
	k.shown, k.known = c.state, c.state
	k.mu.Lock()
	k.status.Index, k.status.Leases = index, len(c.leases)
	k.mu.Unlock()
	if index == 0 {
		return nil, nil
	}
	k.log.Info("taking in the registry", zap.Int("machines", len(c.facts.Machines)))
	tx := k.store.Begin()
	if _, err := tx.ApplyAt(index, events(&c.facts)); err != nil {
		tx.Abort()
		return nil, err
	}
	tx.Commit()
	return ended, nil
}

// events returns those that put f.
func events(f *registry.Facts) []registry.Event {
	list := make([]registry.Event, 0, f.Len())
	for fact := range f.All() {
		list = append(list, registry.Put(fact))
	}
	return list
}

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
	c, err := read(f, readOptions{skim: true})
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
	return read(f, readOptions{})
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
