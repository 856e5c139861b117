package resolver

import (
	"runtime"
	"testing"
	"time"
)

// connectGoroutine is connect for tcpGoroutines. The function that it returns
// starts the server, if it does not run.
func (r *testServer) connectGoroutine(t testing.TB) (client *stream, serve func() (why string)) {
	t.Helper()
	g, closed := r.tcp.(*tcpGoroutines), r.closed()
	last, _ := g.state()
	client = dialTCP(t, r.Addrs()[0])
	return client, func() string {
		if r.cancel == nil {
			r.run()
		}
		for end := time.Now().Add(patience); ; runtime.Gosched() {
			if number, open := g.state(); number > last && !open {
				return r.closed().since(closed)
			}
			if time.Now().After(end) {
				t.Error("no connection was closed")
				return ""
			}
		}
	}
}

// state returns the number of the latest connection, and whether any is open.
func (g *tcpGoroutines) state() (last uint64, open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.worker.last, g.worker.idle.first != nil
}

func (g *tcpGoroutines) stocked() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.worker.stock)
}

// breakListener makes the first listener fail. If it were closed, the server would
// take that for the order to stop, so it gets a deadline in the past.
func (g *tcpGoroutines) breakListener() { g.listeners[0].SetDeadline(time.Unix(1, 0)) }
