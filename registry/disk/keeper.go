package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
)

// A Keeper stores a registry in a directory. It implements registry.Keeper. All
// methods but Load and Run may be called from any goroutine, at any time.
type Keeper struct {
	dir, path string
	store     *registry.Store
	log       *zap.Logger
	queue     chan *write // sent to with mu held, while refused is nil

	// Used by Load and Run alone, which do not run at the same time.
	lock            *os.File                     // the directory, locked; nil before Load
	db              *database                    // nil while it cannot be written
	stuck           *attempt                     // a commit that takes too long, or nil; db is nil then
	visible         state                        // what memory holds, but for expiredInMemory
	durable         state                        // what the database holds
	maybeCommitted  *state                       // what it holds instead if the last commit, which failed, was made; or nil
	expiredInMemory map[registry.MachineKey]bool // machines that the database still has
	backoff         time.Duration                // from tried to the next recover
	tried           time.Time                    // when the database last failed
	took            time.Duration                // how long the last recover took
	woken           *write                       // received from queue before those that are in it; or nil

	// fault is replaced by tests. It is called before and after a transaction is
	// written, may take its time, and its error is that of the commit.
	fault func(written bool) error

	mu      sync.Mutex
	refused error  // why no write is accepted: nil from Load to the end of Run; guarded by mu
	leases  leases // guarded by mu; only Load and Run write it
	status  Status // guarded by mu
}

const (
	// maxQueue bounds the writes that wait. Thousands are made in a second, so a
	// longer queue would only make all writers wait longer.
	maxQueue = 4096

	// maxGroup bounds the writes of one commit. From maxRecords records on, no
	// further write joins it. Both bound how long the first write waits for the
	// others.
	maxGroup   = 512
	maxRecords = 10_000
)

// New returns a Keeper of the registry in dir, which Load makes if it is not
// there. Only the Keeper may write to store.
func New(dir string, store *registry.Store, log *zap.Logger) *Keeper {
	path := filepath.Join(dir, fileName)
	return &Keeper{
		dir: dir, path: path, store: store,
		log:             log.With(zap.String("path", path)),
		queue:           make(chan *write, maxQueue),
		expiredInMemory: make(map[registry.MachineKey]bool),
		fault:           func(bool) error { return nil },
		refused:         errNotLoaded,
		status:          Status{Path: path, LastError: errNotLoaded.Error()},
	}
}

var (
	errNotLoaded = errors.New("the registry is not loaded yet")
	errOver      = errors.New("the server is stopping")
	errQueueFull = errors.New("too many writes are waiting")
)

// A Status says how a Keeper is doing.
type Status struct {
	Path   string `json:"path"`   // of the database
	Octets int64  `json:"octets"` // size of the file, free pages included

	// Index is that of the last durable commit.
	Index uint64 `json:"index"`
	// Writes counts the writes that were made, those that changed nothing included.
	// Commits counts the transactions that they took, each with its own sync.
	// Failures counts the writes that were not made because the database could not
	// be written.
	Writes   uint64 `json:"writes"`
	Commits  uint64 `json:"commits"`
	Failures uint64 `json:"failures"`

	// Writable reports whether writes are made. If not, NotSince is since when not,
	// and LastError why.
	Writable  bool      `json:"writable"`
	NotSince  time.Time `json:"not_writable_since,omitzero"`
	LastError string    `json:"last_error,omitempty"`

	Leases int `json:"leases"` // machines with a lease

	// LastSync is when the last transaction was durable, and LastSyncSeconds how
	// long it took, the decisions of its writes included.
	LastSync        time.Time `json:"last_sync,omitzero"`
	LastSyncSeconds float64   `json:"last_sync_seconds"`

	cause error // LastError as an error of registry.Keeper
}

// Status returns how the Keeper is doing.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}

// A write is one call of Write.
type write struct {
	ctx    context.Context
	decide func(*registry.Snapshot) (registry.Write, error)

	done     chan struct{} // closed when the fields below are set
	index    uint64
	err      error
	panicked any // what decide panicked with

	// sawOthers reports that decide was given a registry that other writes of the
	// same commit had changed.
	sawOthers bool
}

// Write implements registry.Keeper. Between Load and Run it waits for Run. When
// ctx ends it returns at once; decide may still be called afterwards, once.
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
		panic(w.panicked)
	}
	return w.index, w.err
}

func (k *Keeper) enqueue(w *write) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refused != nil {
		return k.refused
	}
	select {
	case k.queue <- w:
		return nil
	default:
		return errQueueFull
	}
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

// Run makes writes and ends leases until ctx is done. Then it finishes the writes
// that it has accepted, closes the database and returns. A Keeper runs once, after
// Load.
func (k *Keeper) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		if k.turn() {
			continue
		}
		timer.Reset(k.idle())
		select {
		case <-ctx.Done():
		case k.woken = <-k.queue:
		case <-timer.C:
		case <-k.stuck.ended():
		}
	}
	k.mu.Lock()
	k.refused = errOver
	k.mu.Unlock()
	for k.turn() {
	}
	k.mu.Lock()
	k.status.Writable, k.status.NotSince, k.status.LastError = false, time.Now(), errOver.Error()
	k.mu.Unlock()
	if k.stuck != nil {
		return errors.New("the disk does not answer; its last commit may be made or not")
	}
	return k.close()
}

// turn does what is due now. It reports whether there may be more.
func (k *Keeper) turn() (more bool) {
	now := time.Now()
	k.checkStuck()
	if k.db == nil && k.mayRecover(now, k.woken != nil || len(k.queue) > 0) {
		k.recover()
	}
	if k.db != nil {
		return k.commit(now)
	}
	var group []*write
	for w := k.next(); w != nil; w = k.next() {
		group = append(group, w)
	}
	k.refuse(group, k.unavailable())
	return k.expireInMemory(now)
}

// next returns the next write that waits, or nil.
func (k *Keeper) next() *write {
	if w := k.woken; w != nil {
		k.woken = nil
		return w
	}
	select {
	case w := <-k.queue:
		return w
	default:
		return nil
	}
}

// idle returns how long nothing is due, unless a write comes.
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

// close closes the database and unlocks the directory.
func (k *Keeper) close() (err error) {
	if k.db != nil {
		err = k.db.close(nil)
		k.db = nil
	}
	if k.lock == nil {
		return err
	}
	return errors.Join(err, k.lock.Close())
}
