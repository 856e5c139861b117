package forward

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/resolver/forward/message"
	"github.com/internaldns/internaldns/zone/wire"
)

// An ask is one question put to one upstream in one way.
type ask struct {
	up        *upstream
	transport metrics.Transport
	edns      bool // with an OPT record
	mixed     bool // in random letter case
	again     bool // only because nothing has happened for long
	probe     bool // to see whether it lives
}

// A hint is what the messages that came so far make likely, while the true
// response is still waited for.
type hint uint8

const (
	hintForged hint = iota // someone guesses: ask over TCP
	hintCase               // letter case is not kept: make sure over TCP
	hintEDNS               // EDNS is not understood: ask without
)

// forgedHint is how many messages that do not match make it likely that someone
// guesses: more than late and doubled responses ever are.
const forgedHint = 8

// An exchanger puts q to an upstream as a says, once, and returns what is kept of
// the response. It waits for one that matches until ctx is done, and may call
// hinted meanwhile. Fields of a that the transport has no use for are ignored.
type exchanger func(ctx context.Context, a ask, q message.Question, hinted func(hint)) (*message.Response, error)

// errNoAnswer is an exchange whose time ended without a response.
var errNoAnswer = errors.New("no response in time")

// ours reports whether err is for want of something on our side. Then it says
// nothing about the upstream, nor about the question.
func ours(err error) bool {
	if errors.Is(err, errNoSocket) {
		return true
	}
	for _, errno := range [...]syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EAGAIN} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// exchange is the exchanger over real sockets.
func (f *Forwarder) exchange(ctx context.Context, a ask, q message.Question, hinted func(hint)) (*message.Response, error) {
	switch a.transport {
	case metrics.OverUDP:
		return f.exchangeUDP(ctx, a, q, hinted)
	case metrics.OverTCP:
		return f.exchangeTCP(ctx, a, q)
	}
	return f.exchangeTLS(ctx, a, q)
}

// put is the exchange that everyone uses: it counts, and keeps book of how the
// upstream is doing.
func (f *Forwarder) put(ctx context.Context, a ask, q message.Question, hinted func(hint)) (*message.Response, error) {
	a.up.stats.Request(a.transport)
	return f.account(a, q, f.now(), func() (*message.Response, error) { return f.exchanger(ctx, a, q, hinted) })
}

// account keeps book of what an exchange, of a question sent then, comes to.
func (f *Forwarder) account(a ask, q message.Question, sent moment, exchange func() (*message.Response, error)) (*message.Response, error) {
	u := a.up
	late := time.AfterFunc(time.Duration(sent.After(u.patience())-f.now()), func() {
		if u.miss(q, sent) {
			f.lookAfter(u)
		}
	})
	r, err := exchange()
	inTime := late.Stop()
	took := time.Duration(f.now() - sent)
	failed := new(message.RCodeError)
	switch {
	case err == nil:
		u.stats.Response(uint16(r.RCode), took)
	case errors.As(err, &failed):
		u.stats.Response(uint16(failed.RCode), took)
	case errors.Is(err, message.ErrInvalid):
		u.stats.Response(uint16(wire.NoError), took)
	case ours(err):
		return nil, err
	case errors.Is(err, errNoAnswer):
		u.stats.Timeouts.Add(1)
		return nil, err
	default:
		u.stats.Errors.Add(1)
		u.why.Store(wire.EDENetwork)
		if inTime && u.miss(q, sent) {
			f.lookAfter(u)
		}
		return nil, err
	}
	u.rtt.add(took)
	f.hear(u)
	return r, err
}

// read returns the part of a message that answers q, or the reason why there is
// none. A message that is not well formed does not count.
func (f *Forwarder) read(msg []byte, q message.Question) (r *message.Response, wellFormed bool, err error) {
	r, err = message.Clean(msg, q, f.config.Local)
	if err == message.ErrMalformed {
		return nil, false, nil
	}
	return r, true, err
}
