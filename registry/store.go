package registry

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-memdb"
)

// A Store holds the registry in memory. All methods may be called from any
// goroutine.
type Store struct {
	current atomic.Pointer[Snapshot]
	publish func(*Snapshot, *Changes) // before current has the commit
	notify  func(*Snapshot, *Changes) // after current has the commit

	mu   sync.Mutex // one writer
	plan plan       // guarded by mu; here so that a commit need not allocate it
}

// NewStore returns an empty store. publish, unless nil, is called for every commit,
// one at a time and in order, before Snapshot returns the commit. So all readers
// that get a commit from the store also see what publish has made of it. publish must
// not write to the store.
func NewStore(publish func(*Snapshot, *Changes)) *Store {
	db, err := memdb.NewMemDB(schema())
	if err != nil {
		panic(fmt.Sprintf("registry schema: %v", err))
	}
	nothing := func(*Snapshot, *Changes) {}
	if publish == nil {
		publish = nothing
	}
	// A snapshot of a database does not track changes for watchers, and there are
	// none.
	db = db.Snapshot()
	s := &Store{publish: publish, notify: nothing}
	s.current.Store(&Snapshot{db: db, txn: db.Txn(false), geo: newGeography(nil, nil)})
	return s
}

// Notify sets the function that is called for every commit, one at a time and in
// order, after Snapshot returns the commit and before Apply or Tx.Commit returns.
// It must not write to the store. Notify must be called before the first commit.
func (s *Store) Notify(notify func(*Snapshot, *Changes)) { s.notify = notify }

// Snapshot returns the registry as the last commit left it.
func (s *Store) Snapshot() *Snapshot { return s.current.Load() }

// Apply makes all changes in one commit, or none of them; then the error is Faults,
// with all that are wrong. Names in events must be in lower case (see Fold).
//
// The order of events does not matter: deletions come first, and objects that are
// deleted or replaced make room for all that are put. So objects may exchange their
// addresses, ids and names. Of several puts of one key the last counts. The machines
// put with one app and id (one that is not gone, and any number that are) replace all
// that the registry had.
//
// Events that change nothing make no commit. Then Apply returns Changes without
// objects, with the index of the last commit.
func (s *Store) Apply(events []Event) (*Changes, error) {
	tx := s.Begin()
	changes, err := tx.Apply(events)
	if err != nil {
		tx.Abort()
		return nil, err
	}
	tx.Commit()
	return changes, nil
}

// A Tx is a series of commits that become visible together, or not at all, so that
// they can be made durable in between. It belongs to one goroutine. Other writers
// wait until it is committed or aborted; readers do not wait.
type Tx struct {
	store   *Store
	last    *Snapshot
	commits []commit
}

type commit struct {
	snap    *Snapshot
	changes *Changes
}

// Begin starts a transaction. The caller must end it with Commit or Abort.
func (s *Store) Begin() *Tx {
	s.mu.Lock()
	return &Tx{store: s, last: s.current.Load()}
}

// Snapshot returns the registry as the transaction has left it so far.
func (tx *Tx) Snapshot() *Snapshot { return tx.last }

// Apply is Store.Apply within the transaction. If it fails, the earlier commits of
// the transaction stay.
func (tx *Tx) Apply(events []Event) (*Changes, error) {
	changes, err := tx.apply(tx.last.Index+1, events)
	if err == nil && changes.Len() == 0 {
		changes.Index = tx.last.Index
	}
	return changes, err
}

// ApplyAt is Apply for a source that numbers its changes itself. It always makes a
// commit, of the given index, which must be above the last one.
func (tx *Tx) ApplyAt(index uint64, events []Event) (*Changes, error) {
	if index <= tx.last.Index {
		panic(fmt.Sprintf("registry: commit %d after %d", index, tx.last.Index))
	}
	changes, err := tx.apply(index, events)
	if err == nil && changes.Len() == 0 {
		next := *tx.last
		next.Index = index
		tx.commits, tx.last = append(tx.commits, commit{&next, changes}), &next
	}
	return changes, err
}

// apply makes a commit unless nothing changes.
func (tx *Tx) apply(index uint64, events []Event) (*Changes, error) {
	p := &tx.store.plan
	p.begin(tx.last)
	defer func() { *p = plan{} }() // keeps nothing from being freed
	p.read(events)
	if err := p.check(); err != nil {
		return nil, err
	}
	changes := p.changes(index)
	if changes.Len() == 0 {
		return changes, nil
	}
	next := newWriter(tx.last).write(changes)
	next.lastApp = p.lastApp
	tx.commits, tx.last = append(tx.commits, commit{next, changes}), next
	return changes, nil
}

// Commit makes the transaction's commits visible, one after the other, and ends
// it.
func (tx *Tx) Commit() {
	s := tx.store
	defer s.mu.Unlock()
	for _, c := range tx.commits {
		s.publish(c.snap, c.changes)
		s.current.Store(c.snap)
		s.notify(c.snap, c.changes)
	}
}

// Abort ends the transaction. None of its commits takes effect.
func (tx *Tx) Abort() { tx.store.mu.Unlock() }
