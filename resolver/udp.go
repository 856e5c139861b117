package resolver

import (
	"errors"
	"net/netip"
	"runtime"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/zone"
)

const (
	// batchSize is how many datagrams a worker takes and sends in one system
	// call. From 32 on, entering the kernel is a small part of what a datagram
	// costs; larger batches only add to the latency of their first, and to the
	// memory that a batch walks through.
	batchSize = 32

	// queryRoom is how many octets of a datagram a worker reads. Queries take
	// 30 to 100; longer datagrams than this are dropped. 31 cache lines, an odd
	// number, let the rooms of a batch begin in different sets of the cache.
	queryRoom = 1984

	// staleAfter is the age at which a query is dropped: resolvers of programs
	// have asked again or given up after 2 s, and answering queries that nobody
	// waits for any more keeps a server from those that somebody does.
	staleAfter = 2 * time.Second

	// yieldAfter is how long a busy worker goes on before it calls the
	// scheduler. After 10 ms without, the runtime interrupts it, and watches
	// all threads closely for a while, which costs several per cent of a
	// processor each time.
	yieldAfter = 5 * time.Millisecond

	// drainBatches bounds what is still answered after the order to stop: more
	// than a socket buffer holds.
	drainBatches = 64
)

// errStopped is what recv returns when everything that had come before stop was
// taken.
var errStopped = errors.New("stopped")

// A udpWorker serves one UDP socket.
type udpWorker struct {
	addr     netip.AddrPort
	batch    *batch // of the platform
	outbox   outbox
	prefetch zone.Prefetch
	responder
}

// newUDPWorker binds a socket to addr. late counts the responses that come late;
// it may be nil if forwarding is off.
func newUDPWorker(addr netip.AddrPort, r responder, late *metrics.Shard) (*udpWorker, error) {
	b, err := newBatch(addr, r.frame.Limit)
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
		first, n, err := w.batch.recv()
		if err == errStopped {
			return nil
		}
		if err != nil {
			return err
		}
		w.now = w.batch.received
		w.prefetchBatch(first, n)
		for i := first; i < n; i++ {
			w.answer(i)
		}
		w.rest()
		for range w.batch.send() {
			w.shard.Drop(metrics.DropSend)
		}
		for range w.batch.stales() {
			w.shard.Drop(metrics.DropStale)
		}
		w.shard.Flush(time.Since(w.batch.received))
		if w.batch.received.Sub(yielded) >= yieldAfter {
			yielded = w.batch.received
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
		d := w.batch.datagram(i)
		if !w.view.Is(table, d.src.Addr(), d.dst) {
			w.view = table.For(d.src.Addr(), d.dst)
		}
		w.prefetch.Add(&w.view, d.msg)
	}
	w.prefetch.Read()
}

// answer responds to the i-th datagram of the batch.
func (w *udpWorker) answer(i int) {
	d := w.batch.datagram(i)
	switch {
	case d.src.Port() == 0:
		w.shard.Drop(metrics.DropSource)
	case d.cut:
		w.shard.Drop(metrics.DropCut)
	default:
		out := w.respond(d.src.Addr(), d.dst, d.msg, w.batch.out())
		if w.missed {
			out = w.handOver(d.src.Addr(), d.msg, out, w.later(i, d))
		}
		if len(out) > 0 {
			w.batch.reply(i, out)
		}
	}
}

// A datagram is a received one. msg is good until the next recv.
type datagram struct {
	src netip.AddrPort
	dst netip.Addr // the address that was asked
	msg []byte
	cut bool // it was longer than queryRoom
}
