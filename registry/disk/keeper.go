package disk

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
)

// A Keeper keeps a registry in a directory. It implements registry.Keeper. All
// methods but Load and Run may be called from any goroutine, at any time.
//
//	Write        queue, and wait
//	Run          take what waits, and in one go
//	 └ commit     ├ decide, Tx.Apply   each write on what the ones before left
//	              ├ expire             leases that are over
//	              ├ persist            all of that in one transaction, on disk
//	              ├ Tx.Commit          readers see it
//	              └ answer             the writers are told
//	             or, while the disk fails:
//	   refuse, expireInMemory, and now and then recover
type Keeper struct {
	dir, path string
	store     *registry.Store
	log       *zap.Logger
	wake      chan struct{} // something is queued

	// What Load and Run, which are never at work at once, know.
	lock    *lock
	db      *database                    // nil while it cannot be written
	stuck   *attempt                     // unless nil, a commit that takes too long; there is no db then
	shown   state                        // what memory says, but for the leases that are owed
	known   state                        // what the database holds
	doubt   *state                       // unless nil, what it holds instead, if the last commit failed halfway
	owed    map[registry.MachineKey]bool // leases that ended in memory alone
	backoff time.Duration                // how long after tried to recover
	tried   time.Time                    // when the database last failed
	took    time.Duration                // how long it last took to recover, or to fail
	pending []*write                     // taken, and not yet looked at

	// What tests replace: a disk that fails, or takes its time, before or after
	// it wrote a transaction.
	fault func(written bool) error

	mu     sync.Mutex
	phase  phase    // guarded by mu
	queue  []*write // guarded by mu
	leases leases   // guarded by mu; written by Load and Run alone
	status Status   // guarded by mu
}

// A phase is what part of its life a Keeper is in.
type phase int

const (
	phaseNew phase = iota
	phaseLoaded
	phaseOver
)

const (
	// maxQueue bounds the writes that wait. They are answered by the thousand
	// in a second, so whoever finds it full is one of too many anyway.
	maxQueue = 4096

	// maxGroup bounds the writes of one commit, and maxRecords is from how many
	// records on no more writes join it. Both keep the first of them from
	// waiting long for the others.
	maxGroup   = 512
	maxRecords = 10_000
)

// New returns a Keeper of the registry in dir, which Load makes if it is not
// there. It will write to store, and nobody else should.
func New(dir string, store *registry.Store, log *zap.Logger) *Keeper {
	path := filepath.Join(dir, fileName)
	return &Keeper{
		dir: dir, path: path, store: store,
		log:    log.With(zap.String("path", path)),
		wake:   make(chan struct{}, 1),
		owed:   make(map[registry.MachineKey]bool),
		fault:  func(bool) error { return nil },
		status: Status{Path: path, LastError: errNotLoaded.Error()},
	}
}

var (
	errNotLoaded = errors.New("the registry is not loaded yet")
	errOver      = errors.New("the server is stopping")
	errQueueFull = errors.New("too many writes are waiting")
)

// A write is a call of Write.
type write struct {
	ctx    context.Context
	decide func(*registry.Snapshot) (registry.Write, error)

	done     chan struct{} // closed when the rest is set
	index    uint64
	err      error
	panicked any

	// dirty says that decide was told of what other writes of the same commit
	// did.
	dirty bool
}

// Write implements registry.Keeper. Between Load and Run it waits for Run. When
// ctx ends it returns at once, while decide may be about to be called, once.
func (k *Keeper) Write(ctx context.Context, decide func(*registry.Snapshot) (registry.Write, error)) (uint64, error) {
	w := &write{ctx: ctx, decide: decide, done: make(chan struct{})}
	if err := k.enqueue(w); err != nil {
		return 0, fmt.Errorf("%w: %v", registry.ErrUnavailable, err)
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if w.panicked != nil {
		panic(w.panicked) // decide's
	}
	return w.index, w.err
}

func (k *Keeper) enqueue(w *write) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.phase == phaseNew:
		return errNotLoaded
	case k.phase == phaseOver:
		return errOver
	case len(k.queue) >= maxQueue:
		return errQueueFull
	}
	k.queue = append(k.queue, w)
	select {
	case k.wake <- struct{}{}:
	default: // Run knows
	}
	return nil
}

// Lease implements registry.Keeper.
func (k *Keeper) Lease(key registry.MachineKey) (registry.Lease, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l := k.leases.at[key]; l != nil {
		return l.Lease, true
	}
	return registry.Lease{}, false
}

// Run makes the writes, and ends leases, until ctx is done. It then finishes
// what was accepted, closes the database and returns. A Keeper runs once, after
// Load.
func (k *Keeper) Run(ctx context.Context) error {
	defer faultsArePanics()()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		if k.turn() {
			continue
		}
		timer.Reset(k.idle())
		select {
		case <-ctx.Done():
		case <-k.wake:
		case <-timer.C:
		case <-k.stuck.ended():
		}
	}
	k.mu.Lock()
	k.phase = phaseOver // nothing more is accepted
	k.mu.Unlock()
	for k.turn() {
	}
	k.mu.Lock()
	k.status.Writable, k.status.NotSince, k.status.LastError = false, time.Now(), errOver.Error()
	k.mu.Unlock()
	if k.stuck != nil {
		return errors.New("the disk does not answer; what it was given last may be made or not")
	}
	return k.close()
}

// turn does what is due now. It reports whether there may be more.
func (k *Keeper) turn() (more bool) {
	group := k.take()
	now := time.Now()
	k.stuckNoMore()
	if k.db == nil && k.mayRecover(now, len(group) > 0) {
		k.recover()
	}
	if k.db == nil {
		k.refuse(group, k.unavailable())
		return k.expireInMemory(now) || len(group) > 0
	}
	return k.commit(group, now)
}

// take returns the writes to be made next.
func (k *Keeper) take() []*write {
	if group := k.pending; len(group) > 0 {
		k.pending = nil
		return group
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	n := min(len(k.queue), maxGroup)
	group := k.queue[:n:n]
	if k.queue = k.queue[n:]; len(k.queue) == 0 {
		k.queue = nil
	}
	return group
}

// idle returns how long there is nothing to do unless somebody writes.
func (k *Keeper) idle() time.Duration {
	wait := time.Hour
	k.mu.Lock()
	if at, ok := k.leases.next(); ok {
		wait = time.Until(at)
	}
	k.mu.Unlock()
	if k.db == nil && k.stuck == nil {
		wait = min(wait, time.Until(k.tried.Add(k.backoff)))
	}
	return max(wait, 0)
}

// close ends a Keeper that is loaded.
func (k *Keeper) close() (err error) {
	if k.db != nil {
		err = k.db.close(nil)
		k.db = nil
	}
	if k.lock == nil {
		return err
	}
	return errors.Join(err, k.lock.release())
}

// A Status says how a Keeper is doing.
type Status struct {
	Path   string `json:"path"`   // of the database
	Octets int64  `json:"octets"` // that the file has, free pages included

	// Index is that of the last commit that is durable.
	Index uint64 `json:"index"`
	// Writes counts those that were made, also those that changed nothing;
	// Commits the transactions that it took, each with its own sync; Failures
	// the writes that were not made because the database could not be written.
	Writes   uint64 `json:"writes"`
	Commits  uint64 `json:"commits"`
	Failures uint64 `json:"failures"`

	// Writable tells whether writes are made. If they are not, NotSince tells
	// since when, and LastError why.
	Writable  bool      `json:"writable"`
	NotSince  time.Time `json:"not_writable_since,omitzero"`
	LastError string    `json:"last_error,omitempty"`

	Leases int `json:"leases"` // machines that have one

	// LastSync is when the last transaction was durable, and LastSyncSeconds how
	// long it took, with the decisions of its writes.
	LastSync        time.Time `json:"last_sync,omitzero"`
	LastSyncSeconds float64   `json:"last_sync_seconds"`

	cause error // of LastError, for writers
}

// Status returns how the Keeper is doing.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}
