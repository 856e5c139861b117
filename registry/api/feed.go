package api

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/internaldns/internaldns/registry"
)

// A Feed remembers the last commits of a store, for those who watch it. The zero
// Feed is that of a store which is empty.
//
// It is bounded: whoever is so late that the feed has forgotten what comes next
// has to list everything again.
type Feed struct {
	mu      sync.Mutex
	commits []*registry.Changes // by index; those before start are forgotten
	start   int
	objects int           // in the commits that are remembered
	floor   uint64        // the index of the last commit that is forgotten
	last    uint64        // the index of the last commit
	wake    chan struct{} // closed by the next commit; nil if nobody waits for it

	apps atomic.Uint64 // how many commits added or removed apps
}

const (
	// maxCommits and maxObjects bound what a feed remembers. A machine that is
	// only in the feed any more takes about 650 octets, so that it is some 10 MB
	// at most.
	maxCommits = 4096
	maxObjects = 16384

	// maxChanged is how many objects a commit may change to be remembered: as an
	// event they are some 400 kB, which every watcher has in memory until it is
	// sent. Who has missed more than that is as quick to list everything.
	maxChanged = 2048
)

// Note tells the feed of a commit. It is for the store's commit hook: it never
// waits for those who watch, and what it does for a commit does not depend on
// how many they are or how large the commit is.
func (f *Feed) Note(snap *registry.Snapshot, changes *registry.Changes) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = changes.Index
	if slices.ContainsFunc(changes.Others, func(ch registry.Change) bool { return ch.Fact().Key().Kind == registry.KindApp }) {
		f.apps.Add(1)
	}
	f.commits = append(f.commits, changes)
	f.objects += changes.Len()
	tooLarge := changes.Len() > maxChanged
	for f.start < len(f.commits) && (tooLarge || len(f.commits)-f.start > maxCommits || f.objects > maxObjects) {
		oldest := f.commits[f.start]
		f.commits[f.start] = nil
		f.start++
		f.objects -= oldest.Len()
		f.floor = oldest.Index
	}
	if f.start > maxCommits { // make room at the front, once for many commits
		f.commits = append(make([]*registry.Changes, 0, 2*maxCommits), f.commits[f.start:]...)
		f.start = 0
	}
	if f.wake != nil {
		close(f.wake)
		f.wake = nil
	}
}

// next returns a channel that the next commit closes.
func (f *Feed) next() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nextLocked()
}

func (f *Feed) nextLocked() <-chan struct{} {
	if f.wake == nil {
		f.wake = make(chan struct{})
	}
	return f.wake
}

// after returns the first commits after the one of that index, at most n. If
// there are none, more is closed by the next one. The index may be that of a
// commit which is shown already and about to be noted.
//
// It reports false if what comes next is forgotten, or if there was no commit of
// that index, as when a store is loaded at a later one, or has got several
// commits of another node as one: what was deleted in between is not in it.
func (f *Feed) after(index uint64, n int) (commits []*registry.Changes, more <-chan struct{}, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := f.commits[f.start:]
	i, noted := slices.BinarySearchFunc(kept, index, func(c *registry.Changes, index uint64) int { return cmp.Compare(c.Index, index) })
	switch {
	case noted:
		i++
	case index == f.floor, index > f.last:
	default:
		return nil, nil, false
	}
	if i == len(kept) {
		return nil, f.nextLocked(), true
	}
	return slices.Clone(kept[i:min(len(kept), i+n)]), nil, true
}

// now returns the index of the last commit.
func (f *Feed) now() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}
