package resolver

import (
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/socket"
	"github.com/internaldns/internaldns/zone"
)

// yieldAfter is how long a busy worker runs before it calls the scheduler. After 10
// ms without such a call, the runtime preempts it, and then checks all threads more
// often for some milliseconds. That costs several per cent of a processor each time.
const yieldAfter = 5 * time.Millisecond

// A udpWorker serves one UDP socket.
type udpWorker struct {
	addr     netip.AddrPort
	batch    *socket.Batch
	prefetch zone.Prefetch
	responder

	// The forwarder's goroutines send late responses from the worker's socket.
	lateMu    sync.Mutex
	closed    bool           // guarded by lateMu; another file may have the descriptor
	lateShard *metrics.Shard // guarded by lateMu
}

// newUDPWorker binds a socket to addr.
func (s *Server) newUDPWorker(addr netip.AddrPort) (*udpWorker, error) {
	b, err := socket.NewBatch(addr, s.config.MaxUDPSize)
	if err != nil {
		return nil, err
	}
	w := &udpWorker{addr: addr, batch: b, responder: s.newUDPResponder()}
	if s.config.Forward != nil {
		w.lateShard = s.config.Metrics.NewShard(metrics.UDP)
	}
	return w, nil
}

// close closes the socket. serve must have returned.
func (w *udpWorker) close() {
	w.lateMu.Lock()
	defer w.lateMu.Unlock()
	w.closed = true
	w.batch.Close()
}

// serve answers datagrams until batch.Stop is called, and then those that the socket
// has already received. It returns nil then, and otherwise the socket's error.
func (w *udpWorker) serve() error {
	yielded := time.Now()
	for {
		first, n, err := w.batch.Recv()
		if err == socket.ErrStopped {
			return nil
		}
		if err != nil {
			return err
		}
		w.now = w.batch.Received
		w.prefetchBatch(first, n)
		for i := first; i < n; i++ {
			w.answer(i)
		}
		w.forget()
		for range w.batch.Send() {
			w.shard.Drop(metrics.DropSend)
		}
		for range w.batch.TakeStale() {
			w.shard.Drop(metrics.DropStale)
		}
		w.shard.Flush(time.Since(w.batch.Received))
		if w.batch.Received.Sub(yielded) >= yieldAfter {
			yielded = w.batch.Received
			runtime.Gosched()
		}
	}
}

// prefetchBatch fetches from memory what the answers to the batch need, for all its
// queries at once. It does so only in a registry so large that this saves time.
func (w *udpWorker) prefetchBatch(first, n int) {
	table := w.zone.Table()
	if n-first < 2 || !table.Large() {
		return
	}
	for i := first; i < n; i++ {
		d := w.batch.Datagram(i)
		if !w.view.Is(table, d.Src.Addr(), d.Dst) {
			w.view = table.For(d.Src.Addr(), d.Dst)
		}
		w.prefetch.Add(&w.view, d.Msg)
	}
	w.prefetch.Read()
}

// answer responds to the i-th datagram of the batch.
func (w *udpWorker) answer(i int) {
	d := w.batch.Datagram(i)
	switch {
	case d.Src.Port() == 0:
		w.shard.Drop(metrics.DropSource)
	case d.Cut:
		w.shard.Drop(metrics.DropCut)
	default:
		out := w.respond(d.Src.Addr(), d.Dst, d.Msg, w.batch.Out())
		if w.missed {
			out = w.submit(d.Src.Addr(), d.Msg, out, w.later(i, d))
		}
		if len(out) > 0 {
			w.batch.Reply(i, out)
		}
	}
}
