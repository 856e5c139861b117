package resolver

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/socket"
	"go.uber.org/zap"
)

// tcpBuffer is the room for queries, and for responses, that a connection begins
// with, in octets: some dozens of queries. It grows for longer ones.
const tcpBuffer = 4096

// A tcpSpawner is a tcpServer that serves each connection in a goroutine of its
// own.
type tcpSpawner struct {
	server    *Server
	listeners []*net.TCPListener
	stock     chan *spawned // to be used again
	wg        sync.WaitGroup

	mu       sync.Mutex
	open     map[*net.TCPConn]time.Time // guarded by mu; when each last had something to do
	stopping bool                       // guarded by mu
	end      time.Time                  // guarded by mu; while stopping, no deadline is later
}

func newTCPSpawner(s *Server) *tcpSpawner {
	return &tcpSpawner{
		server: s,
		stock:  make(chan *spawned, tcpStock),
		open:   make(map[*net.TCPConn]time.Time),
	}
}

func (t *tcpSpawner) add(ln *net.TCPListener, _ netip.AddrPort) error {
	t.listeners = append(t.listeners, ln)
	return nil
}

func (t *tcpSpawner) waiting() int { return 0 }

func (t *tcpSpawner) serve(fail func(error)) {
	for _, ln := range t.listeners {
		t.wg.Go(func() {
			if err := t.accept(ln); err != nil {
				fail(fmt.Errorf("serve TCP at %v: %w", ln.Addr(), err))
			}
		})
	}
	t.wg.Wait()
}

// accept serves the connections of one listener until it is closed. It returns
// nil then.
func (t *tcpSpawner) accept(ln *net.TCPListener) error {
	for {
		conn, err := ln.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case socket.IsTemporary(err):
			t.server.config.Log.Warn("cannot accept TCP connections for now", zap.Error(err))
			time.Sleep(acceptPause)
			continue
		case err != nil:
			return err
		}
		counts := t.server.config.Metrics
		counts.Accepted()
		if !t.admit(conn) {
			conn.Close()
			counts.Closed(metrics.ClosedStop)
			continue
		}
		t.wg.Go(func() {
			why := t.talk(conn)
			if !t.leave(conn) {
				why = metrics.ClosedFull
			}
			conn.Close()
			counts.Closed(why)
		})
	}
}

// admit notes conn as open, unless the server stops. If there may be no more, the
// one that has been idle for longest makes room.
func (t *tcpSpawner) admit(conn *net.TCPConn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopping {
		return false
	}
	if len(t.open) >= t.server.config.TCPConns {
		t.makeRoomLocked()
	}
	t.open[conn] = time.Now()
	return true
}

// makeRoomLocked ends the connection that has been idle for longest.
func (t *tcpSpawner) makeRoomLocked() {
	var idlest *net.TCPConn
	for conn, since := range t.open {
		if idlest == nil || since.Before(t.open[idlest]) {
			idlest = conn
		}
	}
	delete(t.open, idlest)
	idlest.Close()
}

// leave notes that conn has ended, and reports whether it still had its place.
func (t *tcpSpawner) leave(conn *net.TCPConn) (had bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, had = t.open[conn]
	delete(t.open, conn)
	return had
}

func (t *tcpSpawner) close() {
	for _, ln := range t.listeners {
		ln.Close()
	}
}

func (t *tcpSpawner) stop() {
	t.close()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopping, t.end = true, time.Now().Add(tcpGrace)
	for conn := range t.open {
		conn.SetDeadline(t.end)
	}
}

// mayRead gives conn until deadline to bring a query, and mayWrite gives it
// until deadline to take responses, but not longer than stop does. mayRead
// returns until when.

func (t *tcpSpawner) mayRead(conn *net.TCPConn, deadline time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopping && t.end.Before(deadline) {
		deadline = t.end
	}
	conn.SetReadDeadline(deadline)
	return deadline
}

func (t *tcpSpawner) mayWrite(conn *net.TCPConn, deadline time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopping && t.end.Before(deadline) {
		deadline = t.end
	}
	conn.SetWriteDeadline(deadline)
}

// busy notes that conn has something to do, if it still has its place. It is
// called before the client can see what is done: who is answered first is idle
// first, whenever its goroutine goes on.
func (t *tcpSpawner) busy(conn *net.TCPConn, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.open[conn]; ok {
		t.open[conn] = now
	}
}

func (t *tcpSpawner) stopped() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stopping
}
