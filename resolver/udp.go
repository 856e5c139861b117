package resolver

import (
	"net/netip"
	"runtime"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/socket"
	"github.com/internaldns/internaldns/zone"
)

const (
	// yieldAfter is how long a busy worker goes on before it calls the
	// scheduler. After 10 ms without, the runtime interrupts it, and watches
	// all threads closely for a while, which costs several per cent of a
	// processor each time.
	yieldAfter = 5 * time.Millisecond
)

// A udpWorker serves one UDP socket.
type udpWorker struct {
	addr     netip.AddrPort
	batch    *socket.Batch
	outbox   outbox
	prefetch zone.Prefetch
	responder
}

// newUDPWorker binds a socket to addr. late counts the responses that come late;
// it may be nil if forwarding is off.
func newUDPWorker(addr netip.AddrPort, r responder, late *metrics.Shard) (*udpWorker, error) {
	b, err := socket.NewBatch(addr, r.frame.Limit)
	if err != nil {
		return nil, err
	}
	return &udpWorker{addr: addr, batch: b, outbox: outbox{shard: late}, responder: r}, nil
}

// serve answers datagrams until stop, and then what the socket has already
// received. It returns nil then, and otherwise the error that the socket met.
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
		w.rest()
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

// prefetchBatch reads what the answers to the batch will be made of, for all of its
// queries at once, if the registry is so large that it is worth it.
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
			out = w.handOver(d.Src.Addr(), d.Msg, out, w.later(i, d))
		}
		if len(out) > 0 {
			w.batch.Reply(i, out)
		}
	}
}
