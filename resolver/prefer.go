package resolver

import (
	"runtime"
	"sync"
)

// A vanguard are the threads that answer queries. Whatever else the program does
// steps behind them: the garbage collector, for one, takes every processor that
// it finds idle, and who answers queries is idle most of the time, so that a query
// which comes meanwhile would wait its turn for some milliseconds.
type vanguard struct {
	mu      sync.Mutex
	missing int          // guarded by mu; goroutines that have not joined
	threads map[int]bool // guarded by mu
}

func newVanguard(size int) *vanguard {
	return &vanguard{missing: size, threads: make(map[int]bool, size)}
}

// join binds the calling goroutine, which is one of the vanguard's, to its thread.
// When all have joined, the other threads step behind. So do those that come
// later: the runtime starts them from a thread that no goroutine is bound to.
func (v *vanguard) join() {
	if v == nil {
		return
	}
	runtime.LockOSThread()
	hurry()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.threads[threadID()] = true
	if v.missing--; v.missing == 0 {
		stepBehind(v.threads)
	}
}
