package resolver

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/internaldns/internaldns/metrics"
)

const (
	// batchSize is how many datagrams a worker takes and sends in one system
	// call. From 32 on, entering the kernel is a small part of what a datagram
	// costs; larger batches only add to the latency of their first.
	batchSize = 64

	// queryRoom is how many octets of a datagram a worker reads. Queries take
	// 30 to 100; longer datagrams than this are dropped.
	queryRoom = 2048

	// staleAfter is the age at which a query is dropped: resolvers of programs
	// have asked again or given up after 2 s, and answering queries that nobody
	// waits for any more keeps a server from those that somebody does.
	staleAfter = 2 * time.Second

	// drainBatches bounds what is still answered after the order to stop: more
	// than a socket buffer holds.
	drainBatches = 64
)

// A udpWorker serves one UDP socket.
type udpWorker struct {
	conn  *net.UDPConn
	batch *batch // of conn; the platform's
	responder
}

func newUDPWorker(conn *net.UDPConn, local netip.Addr, r responder) (*udpWorker, error) {
	b, err := newBatch(conn, local, r.frame.Limit)
	if err != nil {
		return nil, err
	}
	return &udpWorker{conn: conn, batch: b, responder: r}, nil
}

// serve answers datagrams until stop. It returns nil then, and otherwise the
// error that the socket met.
func (w *udpWorker) serve() error {
	for drained := 0; drained < drainBatches; {
		n, err := w.batch.recv()
		if errors.Is(err, os.ErrDeadlineExceeded) { // stop was called
			drained++
			n, err = w.batch.poll()
			if n == 0 && err == nil {
				return nil
			}
		}
		if err != nil {
			return err
		}
		for range w.batch.stales() {
			w.shard.Drop(metrics.DropStale)
		}
		for i := range n {
			w.answer(i)
		}
		w.rest()
		for range w.batch.send() {
			w.shard.Drop(metrics.DropSend)
		}
		w.shard.Flush(time.Since(w.batch.began))
	}
	return nil
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
		if out := w.respond(d.src.Addr(), d.dst, d.msg, w.batch.out(i)); len(out) > 0 {
			w.batch.reply(i, out)
		}
	}
}

// stop makes serve answer what the socket has already received, and return.
func (w *udpWorker) stop() { w.conn.SetReadDeadline(time.Unix(1, 0)) }

// A datagram is a received one. msg is good until the next recv.
type datagram struct {
	src netip.AddrPort
	dst netip.Addr // the address that was asked
	msg []byte
	cut bool // it was longer than queryRoom
}
