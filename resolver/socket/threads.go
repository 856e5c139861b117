package socket

import (
	"runtime"
	"sync"
)

// AnsweringThreads are the threads that answer queries. The kernel runs them
// before the other threads of the program. Without this, a query that arrives
// during a garbage collection waits some milliseconds: the collector takes every
// idle processor, and answering threads are idle most of the time.
type AnsweringThreads struct {
	mu      sync.Mutex
	missing int          // guarded by mu; goroutines that have not called Join
	ids     map[int]bool // guarded by mu; the threads of those that have
}

// NewAnsweringThreads expects size goroutines to call Join.
func NewAnsweringThreads(size int) *AnsweringThreads {
	return &AnsweringThreads{missing: size, ids: make(map[int]bool, size)}
}

// Join binds the calling goroutine to its thread and requests short time slices
// for it. The last of the expected calls makes all other threads of the program
// nicer. Threads that start later are nicer too: the runtime starts them from a
// thread that no goroutine is bound to. Join of nil does nothing.
func (t *AnsweringThreads) Join() {
	if t == nil {
		return
	}
	runtime.LockOSThread()
	requestShortSlices()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ids[threadID()] = true
	if t.missing--; t.missing == 0 {
		reniceOthers(t.ids)
	}
}
