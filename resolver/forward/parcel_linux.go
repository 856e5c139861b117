package forward

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
	"unsafe"

	"github.com/internaldns/internaldns/resolver/forward/message"
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
	sent    message.Query
	room    [message.MaxQueryLen]byte // of sent
	until   moment                    // when fl is promoted
	doubted bool                      // something else than the response has come
	gone    bool                      // the socket is no longer the express's
	from    unix.RawSockaddrInet6     // who sent what was read last, of either family
	dropped [1]byte                   // as much as is wanted of what is dropped
}

// maxLeft is how many messages, and errors, an earlier question may leave in the
// socket. After so many, somebody is sending to it who should not know its port.
const maxLeft = 16

// send connects the socket, which gives it a port, and sends the question. What
// has come until then cannot be the response, and is dropped: it was for an
// earlier question, or came in the moment between port and peer, when the kernel
// lets everybody in.
func (p *parcel) send(addr netip.AddrPort) bool {
	if unix.Connect(p.fd, p.setPeer(addr)) != nil || !p.empty() {
		return false
	}
	n, err := unix.Write(p.fd, p.sent.Octets)
	return err == nil && n == len(p.sent.Octets)
}

// setPeer notes whom the question is for, and returns that as the kernel wants it.
func (p *parcel) setPeer(addr netip.AddrPort) unix.Sockaddr {
	if p.v6 {
		p.sa6.Addr, p.sa6.Port = addr.Addr().As16(), int(addr.Port())
		return &p.sa6
	}
	p.sa4.Addr, p.sa4.Port = addr.Addr().Unmap().As4(), int(addr.Port())
	return &p.sa4
}

// empty drops what is in the socket, and reports whether there was an end to it.
func (p *parcel) empty() bool {
	for range maxLeft + 1 {
		if _, _, err := p.read(p.dropped[:]); err == unix.EAGAIN {
			return true
		}
	}
	return false
}

// read reads one message into buf, and reports whether it is from the upstream.
func (p *parcel) read(buf []byte) (n int, fromPeer bool, err error) {
	size := uint32(unix.SizeofSockaddrInet6)
	// The socket does not block, so the scheduler need not know.
	r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(p.fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0,
		uintptr(unsafe.Pointer(&p.from)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, false, errno
	}
	return int(r), p.isPeer(), nil
}

// isPeer reports whether from is whom the question was sent to.
func (p *parcel) isPeer() bool {
	port := int(binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&p.from.Port))[:]))
	if p.v6 {
		return port == p.sa6.Port && p.from.Addr == p.sa6.Addr
	}
	from := (*unix.RawSockaddrInet4)(unsafe.Pointer(&p.from)) // the port is in the same place
	return port == p.sa4.Port && from.Addr == p.sa4.Addr
}

// receive takes what has come to the socket, until it is the response.
func (p *parcel) receive(buf []byte) {
	p.mu.Lock()
	for p.fl != nil {
		n, fromPeer, err := p.read(buf)
		if err == unix.EAGAIN {
			break
		}
		if err == unix.EINTR || err == nil && !fromPeer {
			continue
		}
		if resp := p.judge(buf[:n], err); resp != nil {
			p.arrived(resp)
			return
		}
	}
	p.mu.Unlock()
}

// judge returns what is kept of a message that has come, if it is the response,
// and promotes the flight if there is anything that takes more than to wait on.
func (p *parcel) judge(msg []byte, err error) *message.Response {
	if err != nil {
		err = os.NewSyscallError("read", err)
		p.promote(func(context.Context, func(hint)) (*message.Response, error) { return nil, err })
		return nil
	}
	match := p.sent.Match(msg)
	switch match {
	case message.Matches:
		if message.Truncated(msg) || len(msg) == udpRoom {
			a, q, f := p.ask, p.fl.q, p.e.f
			p.promote(func(ctx context.Context, _ func(hint)) (*message.Response, error) { return f.retryTCP(ctx, a, q) })
			return nil
		}
		resp, wellFormed, err := p.e.f.read(msg, p.fl.q)
		switch {
		case err != nil:
			p.promote(func(context.Context, func(hint)) (*message.Response, error) { return nil, err })
			return nil
		case wellFormed:
			return resp
		}
		match = message.MismatchForm
	case message.BareError:
		p.promoteOpen(hintEDNS)
		return nil
	}
	p.ask.up.stats.Mismatch(int(match))
	p.doubted = true
	if match == message.MismatchCase {
		p.promoteOpen(hintCase)
	} else {
		p.promoteOpen()
	}
	return nil
}

// arrived ends the flight with resp. It unlocks p.
func (p *parcel) arrived(resp *message.Response) {
	f, u, fl := p.e.f, p.ask.up, p.take()
	p.e.put(p)
	p.mu.Unlock()
	took := time.Duration(f.now() - fl.began)
	u.stats.Response(uint16(resp.RCode), took)
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
	p.promote(func(ctx context.Context, hinted func(hint)) (*message.Response, error) {
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
