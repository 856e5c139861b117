//go:build unix

package servers

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/internaldns/internaldns/bench/internal/mmsg"
)

const (
	upstreamBatch = 64   // datagrams in one system call, as many as the generator sends
	upstreamSize  = 1024 // octets for a datagram: more than any query and any response

	// lookEvery is how long run waits for a datagram before it checks whether it
	// must end, or let a holder take the Upstream.
	lookEvery = 2 * time.Millisecond
)

// An Upstream is a server that forwarders forward to, over UDP. It answers every
// name of one zone with addresses that follow from the name, so that it stores
// nothing and every response can be checked, and counts the queries.
//
// It is as cheap as it can be, because it works on the generator's CPU: datagrams
// in batches, responses written over the queries. It answers in the background
// (Background), or when its holder calls Turn (Hold): while the generator measures, it
// shares its CPU with no other thread, and no forwarder pays for waking one.
type Upstream struct {
	// Drop, if set before the first datagram, reports whether the query for that
	// name, in wire format, gets no response.
	Drop func(name []byte) bool

	*socket
	mu     sync.Mutex // locked by the holder, or by run
	b      *mmsg.Batch
	counts Counts
}

// Counts are the queries that came since the Upstream was made.
type Counts struct {
	Queries uint64 // all
	Others  uint64 // of those, the ones that are not for an address in the zone
}

// NewUpstream returns an Upstream at an address; with port 0, at a free port of
// it. It must be closed.
func NewUpstream(addr netip.AddrPort) (*Upstream, error) {
	s, err := listen(addr)
	if err != nil {
		return nil, err
	}
	return &Upstream{socket: s, b: mmsg.New(upstreamBatch, upstreamSize, true)}, nil
}

// Addr returns the address that the Upstream answers at.
func (u *Upstream) Addr() netip.AddrPort { return u.addr }

// Background answers queries in the background until stop is called, which closes
// the Upstream and returns the error that its socket failed with.
func (u *Upstream) Background() (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- u.run(ctx) }()
	return func() error {
		cancel()
		err := <-done
		u.Close()
		return err
	}
}

// run answers queries until ctx is done, except while the Upstream is held.
func (u *Upstream) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := u.wait(); err != nil {
			return err
		}
	}
	return nil
}

func (u *Upstream) wait() error {
	defer u.Hold()()
	fds := []unix.PollFd{{Fd: int32(u.fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, int(lookEvery.Milliseconds())); n <= 0 {
		if err == unix.EINTR {
			err = nil
		}
		return err
	}
	_, err := u.Turn()
	return err
}

// Hold waits until the Upstream is not held, and holds it. Until the caller calls
// release, only the caller may call Turn, and should.
func (u *Upstream) Hold() (release func()) {
	u.mu.Lock()
	return u.mu.Unlock
}

// Turn answers the queries that have come, up to a batch, and reports whether
// there were any. It does not wait. The caller holds the Upstream.
func (u *Upstream) Turn() (bool, error) {
	n, err := u.b.Recv(u.fd, upstreamBatch, false)
	switch err {
	case nil:
	case unix.EAGAIN, unix.EINTR:
		return false, nil
	default:
		return false, fmt.Errorf("receive at %v: %w", u.addr, err)
	}
	first := 0 // of those that are to be sent
	for i := range n {
		length, other := u.respond(u.b.Buffer(i), len(u.b.Received(i)))
		u.counts.Queries++
		if other {
			u.counts.Others++
		}
		u.b.SetLen(i, length)
		if length == 0 {
			u.send(u.b, first, i)
			first = i + 1
		}
	}
	u.send(u.b, first, n)
	return true, nil
}

// Counts returns the counts. The caller holds the Upstream.
func (u *Upstream) Counts() Counts { return u.counts }
