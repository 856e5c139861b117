package forward

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A parcel is a socket of an express, and the question it carries.
type parcel struct {
	e     *express
	fd    int
	v6    bool
	sa4   unix.SockaddrInet4
	sa6   unix.SockaddrInet6
	timer *time.Timer // ends the wait; never stopped before it was set

	mu      sync.Mutex
	fl      *flight // guarded by mu, as all that follows; nil: none
	ask     ask
	sent    query
	room    [maxQuery]byte // of sent
	until   moment         // when fl is promoted
	doubted bool           // something else than the response has come
	gone    bool           // the socket is no longer the express's
}

// send connects the socket, which gives it a port, and sends the question.
func (p *parcel) send(addr netip.AddrPort) bool {
	var sa unix.Sockaddr = &p.sa4
	if p.v6 {
		p.sa6.Addr, p.sa6.Port = addr.Addr().As16(), int(addr.Port())
		sa = &p.sa6
	} else {
		p.sa4.Addr, p.sa4.Port = addr.Addr().Unmap().As4(), int(addr.Port())
	}
	if unix.Connect(p.fd, sa) != nil {
		return false
	}
	n, err := unix.Write(p.fd, p.sent.msg)
	return err == nil && n == len(p.sent.msg)
}

// receive takes what has come to the socket, until it is the response.
func (p *parcel) receive(buf []byte) {
	p.mu.Lock()
	for p.fl != nil {
		n, err := unix.Read(p.fd, buf)
		if err == unix.EAGAIN || err == unix.EINTR {
			break
		}
		if resp := p.judge(buf[:max(n, 0)], err); resp != nil {
			p.arrived(resp)
			return
		}
	}
	p.mu.Unlock()
}

// judge returns what is kept of a message that has come, if it is the response,
// and promotes the flight if there is anything that takes more than to wait on.
func (p *parcel) judge(msg []byte, err error) *response {
	if err != nil {
		err = os.NewSyscallError("read", err)
		p.promote(func(context.Context, func(hint)) (*response, error) { return nil, err })
		return nil
	}
	match := p.sent.match(msg, false)
	switch match {
	case matches:
		if truncated(msg) || len(msg) == udpRoom {
			a, q, f := p.ask, p.fl.q, p.e.f
			p.promote(func(ctx context.Context, _ func(hint)) (*response, error) { return f.retryTCP(ctx, a, q) })
			return nil
		}
		resp, wellFormed, err := p.e.f.read(msg, &p.sent, p.fl.q)
		switch {
		case err != nil:
			p.promote(func(context.Context, func(hint)) (*response, error) { return nil, err })
			return nil
		case wellFormed:
			return resp
		}
		match = MismatchForm
	case bareError:
		p.promoteOpen(hintEDNS)
		return nil
	}
	p.ask.up.stats.mismatches[match].Add(1)
	p.doubted = true
	if match == MismatchCase {
		p.promoteOpen(hintCase)
	} else {
		p.promoteOpen()
	}
	return nil
}

// arrived ends the flight with resp. It unlocks p.
func (p *parcel) arrived(resp *response) {
	f, u, fl := p.e.f, p.ask.up, p.take()
	p.e.put(p)
	p.mu.Unlock()
	took := time.Duration(f.now() - fl.began)
	u.stats.response(resp.rcode, took)
	u.rtt.add(took)
	f.hear(u)
	fl.land(resp)
	f.flights.wg.Done()
}

// take returns the flight, and leaves the parcel without one. p is locked.
func (p *parcel) take() *flight {
	fl := p.fl
	p.fl = nil
	if p.timer != nil {
		p.timer.Stop()
	}
	return fl
}

// late promotes the flight if its time is up.
func (p *parcel) late() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fl != nil && p.e.f.now() >= p.until {
		p.promoteOpen()
	}
}

// promoteOpen promotes the flight, whose response may still come, and gives it
// the hints. p is locked.
func (p *parcel) promoteOpen(hints ...hint) {
	p.e.forget(p)
	f, a, q := p.e.f, p.ask, p.fl.q
	wrong := 0
	if p.doubted {
		wrong = 1
	}
	sent := &p.sent // and p is nobody else's now
	file := os.NewFile(uintptr(p.fd), "upstream")
	p.promote(func(ctx context.Context, hinted func(hint)) (*response, error) {
		defer f.sockets.giveBack()
		conn, err := net.FileConn(file)
		err = errors.Join(err, file.Close())
		if err != nil {
			return nil, err
		}
		for _, h := range hints {
			hinted(h)
		}
		return f.awaitUDP(ctx, conn.(*net.UDPConn), a, sent, q, wrong, hinted)
	})
}

// promote makes the flight a goroutine, of whose first exchange rest is what
// remains. p is locked.
func (p *parcel) promote(rest rest) {
	a, fl := p.ask, p.take()
	p.e.discard(p)
	go func() {
		defer fl.f.flights.wg.Done()
		fl.resume(a, rest)
	}()
}

// disconnect takes the socket's port and peer from it (connect(2), AF_UNSPEC).
func disconnect(fd int) error {
	unspec := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	if _, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&unspec)), unsafe.Sizeof(unspec)); errno != 0 {
		return errno
	}
	return nil
}
