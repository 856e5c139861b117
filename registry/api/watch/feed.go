package watch

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/internaldns/internaldns/registry"
)

// A Feed remembers the last commits of a store. The zero Feed is that of an empty
// store. Its methods may be called from any goroutine.
type Feed struct {
	mu      sync.Mutex
	commits []*registry.Changes // by index; those before start are forgotten
	start   int
	objects int           // in the commits that are remembered
	floor   uint64        // the index of the last commit that is forgotten
	last    uint64        // the index of the last commit
	wake    chan struct{} // closed by the next commit; nil if no goroutine waits for it

	apps atomic.Uint64
}

const (
	// MaxCommits and maxObjects bound what a feed remembers. A machine that only
	// the feed still holds takes about 650 octets, so a feed takes some 10 MB at
	// most.
	MaxCommits = 4096
	maxObjects = 16384

	// MaxChanged is how many objects a commit may change to be remembered: as an
	// event they are some 400 kB, which every client's stream holds in memory
	// until it is sent. A client that has missed more than that lists everything
	// as fast.
	MaxChanged = 2048
)

// Note adds a commit. It is for the store's commit hook: it never waits for
// clients, and takes the same time however many they are and however large the
// commit is.
func (f *Feed) Note(_ *registry.Snapshot, changes *registry.Changes) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = changes.Index
	if slices.ContainsFunc(changes.Others, func(ch registry.Change) bool { return ch.Fact().Key().Kind == registry.KindApp }) {
		f.apps.Add(1)
	}
	f.commits = append(f.commits, changes)
	f.objects += changes.Len()
	tooLarge := changes.Len() > MaxChanged
	for f.start < len(f.commits) && (tooLarge || len(f.commits)-f.start > MaxCommits || f.objects > maxObjects) {
		oldest := f.commits[f.start]
		f.commits[f.start] = nil
		f.start++
		f.objects -= oldest.Len()
		f.floor = oldest.Index
	}
	if f.start > MaxCommits { // make room at the front, once for many commits
		f.commits = append(make([]*registry.Changes, 0, 2*MaxCommits), f.commits[f.start:]...)
		f.start = 0
	}
	if f.wake != nil {
		close(f.wake)
		f.wake = nil
	}
}

// Apps returns how many commits have added or removed apps.
func (f *Feed) Apps() uint64 { return f.apps.Load() }

// Next returns a channel that the next commit closes.
func (f *Feed) Next() <-chan struct{} {
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
// commit which is visible already and about to be noted.
//
// It reports false if the commits that follow are forgotten, or if there was no
// commit of that index. That is so if a store is loaded at a later index, or has
// got several commits of another node as one, which does not show what was
// deleted in between.
func (f *Feed) after(index uint64, n int) (commits []*registry.Changes, more <-chan struct{}, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	remembered := f.commits[f.start:]
	i, noted := slices.BinarySearchFunc(remembered, index, func(c *registry.Changes, index uint64) int { return cmp.Compare(c.Index, index) })
	switch {
	case noted:
		i++
	case index == f.floor, index > f.last:
	default:
		return nil, nil, false
	}
	if i == len(remembered) {
		return nil, f.nextLocked(), true
	}
	return slices.Clone(remembered[i:min(len(remembered), i+n)]), nil, true
}

// lastIndex returns the index of the last commit.
func (f *Feed) lastIndex() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}
