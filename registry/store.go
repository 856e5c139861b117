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
	current  atomic.Pointer[Snapshot]
	onCommit func(*Snapshot, *Changes)

	mu      sync.Mutex // one writer
	db      *memdb.MemDB
	lastApp uint32 // the last app number given; guarded by mu
}

// NewStore returns an empty store. onCommit, unless nil, is called for every
// commit that changed something, one at a time and in order, before Apply
// returns. It must not call Apply.
func NewStore(onCommit func(*Snapshot, *Changes)) *Store {
	db, err := memdb.NewMemDB(schema())
	if err != nil {
		panic(fmt.Sprintf("registry schema: %v", err))
	}
	if onCommit == nil {
		onCommit = func(*Snapshot, *Changes) {}
	}
	// Nobody watches for changes through memdb, and a snapshot of a database is
	// one that does not track them.
	db = db.Snapshot()
	s := &Store{db: db, onCommit: onCommit}
	s.current.Store(&Snapshot{txn: db.Txn(false), geo: newGeography(nil, nil)})
	return s
}

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
	s.mu.Lock()
	defer s.mu.Unlock()

	old := s.current.Load()
	p := newPlan(old, s.lastApp)
	p.read(events)
	p.check()
	if err := p.faults.Err(); err != nil {
		return nil, err
	}
	changes := p.changes(old.Index + 1)
	if changes.Empty() {
		changes.Index = old.Index
		return changes, nil
	}
	w := newWriter(s.db.Txn(true), old)
	defer w.txn.Abort()
	w.write(changes)
	writeAll(w, tRegions, p.regions.list)
	writeAll(w, tRTTs, p.rtts.list)
	w.txn.Commit()
	s.lastApp = p.lastApp

	next := &Snapshot{Index: changes.Index, txn: s.db.Txn(false), geo: old.geo, stats: w.stats}
	if changes.Geography {
		next.geo = newGeography(collect(next.Regions()), collect(next.RTTs()))
	}
	s.current.Store(next)
	s.onCommit(next, changes)
	return changes, nil
}

func collect[T any](seq func(func(*T) bool)) []T {
	var out []T
	for v := range seq {
		out = append(out, *v)
	}
	return out
}
