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

	mu sync.Mutex // one writer
}

// NewStore returns an empty store. publish, unless nil, is called for every
// commit, one at a time and in order, before Snapshot returns the commit: what
// publish makes visible is seen by everyone who has read the commit from the
// store. It must not write to the store.
func NewStore(publish func(*Snapshot, *Changes)) *Store {
	db, err := memdb.NewMemDB(schema())
	if err != nil {
		panic(fmt.Sprintf("registry schema: %v", err))
	}
	nothing := func(*Snapshot, *Changes) {}
	if publish == nil {
		publish = nothing
	}
	// Nobody watches for changes through memdb, and a snapshot of a database is
	// one that does not track them.
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

// Apply makes all of the changes in one commit, or none of them: then the error
// is Faults, all that are found. Names in events must be in lower case (Fold).
//
// The order of events does not matter: deletes come first, and whatever is
// deleted or replaced makes room for all that is put, so objects may exchange
// their addresses, ids and names. Of several puts under one key the last counts.
// The machines put under one app and id (one that is not gone, and any number
// that are) replace all that were there.
//
// Events that change nothing make no commit, and the Changes returned are empty
// and carry the index of the last one.
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

// A Tx is a row of commits that become visible together, or not at all, so that
// they can be made durable in between. It belongs to one goroutine, and other
// writers wait until it is committed or aborted; readers do not.
type Tx struct {
	store   *Store
	last    *Snapshot
	commits []commit
}

type commit struct {
	snap    *Snapshot
	changes *Changes
}

// Begin starts a transaction. It must be ended by Commit or Abort.
func (s *Store) Begin() *Tx {
	s.mu.Lock()
	return &Tx{store: s, last: s.current.Load()}
}

// Snapshot returns the registry as the transaction has left it so far.
func (tx *Tx) Snapshot() *Snapshot { return tx.last }

// Apply is Store.Apply within the transaction. When it fails, what the
// transaction did before stays as it is.
func (tx *Tx) Apply(events []Event) (*Changes, error) {
	changes, err := tx.apply(tx.last.Index+1, events)
	if err == nil && changes.Len() == 0 {
		changes.Index = tx.last.Index
	}
	return changes, err
}

// ApplyAt is Apply for a source that numbers its changes itself. The commit gets
// the given index, which must be above the last one, even if it changes nothing.
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
	p := newPlan(tx.last)
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

// Abort ends the transaction without a trace.
func (tx *Tx) Abort() { tx.store.mu.Unlock() }
