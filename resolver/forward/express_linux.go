package forward

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An express carries the first questions of flights over UDP, as long as nothing
// is out of the ordinary, without a goroutine, a timer or a socket made for each:
// nearly all flights end there. The others are promoted: from then on they are
// goroutines, and their socket a net.Conn (flight.resume).
//
// One goroutine waits for all sockets, with an epoll descriptor that is itself in
// the runtime's poller.
//
// A socket carries one question at a time. After the answer it is disconnected,
// which takes its port away, and connecting it for the next question gives it a
// new random one: the kernel draws one for every question, as it would for a new
// socket, at a third of the price.
type express struct {
	f     *Forwarder
	most  int       // sockets of each family that are kept in idle
	once  sync.Once // the first question makes what follows, and has run begin
	works bool      // there is what is needed
	epoll *os.File
	raw   syscall.RawConn // of epoll

	mu      sync.Mutex
	closed  bool              // guarded by mu; nothing more is carried
	idle    [2][]*parcel      // guarded by mu; sockets without a question, of IPv4 and IPv6
	parcels map[int32]*parcel // guarded by mu; all sockets, by descriptor
}

const (
	// maxIdle is the number of sockets of each family that are kept for the
	// next question, and idlePart the part of those that may be open: one in so
	// many. Making one takes some microseconds.
	maxIdle  = 256
	idlePart = 8

	// expressBatch is the number of sockets that are looked after between two
	// looks for more.
	expressBatch = 128
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

// newExpress returns an express that carries for f. It opens nothing yet.
func newExpress(f *Forwarder) *express {
	return &express{f: f, most: int(min(maxIdle, f.sockets.limit/idlePart)), parcels: make(map[int32]*parcel)}
}

// start has run begin, at the first question. Without the descriptor that takes,
// nothing is carried.
func (e *express) start() {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return
	}
	unix.SetNonblock(fd, true) // or the runtime would wait for it in a thread
	e.epoll = os.NewFile(uintptr(fd), "epoll")
	if e.raw, err = e.epoll.SyscallConn(); err != nil {
		e.epoll.Close()
		return
	}
	if e.works = e.f.flights.goWith(func() { e.run(e.f.ctx) }); !e.works {
		e.epoll.Close()
	}
}

// run takes in what upstreams answer until ctx is done. Then it ends every flight
// that it carries.
func (e *express) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		<-ctx.Done()
		e.close()
	})
	var (
		events [expressBatch]unix.EpollEvent
		ready  [expressBatch]*parcel
		buf    [udpRoom]byte
		n      int
	)
	poll := func(fd uintptr) bool {
		n, _ = unix.EpollWait(int(fd), events[:], 0)
		return n > 0
	}
	for e.raw.Read(poll) == nil {
		e.mu.Lock()
		for i := range n {
			ready[i] = e.parcels[events[i].Fd]
		}
		e.mu.Unlock()
		for _, p := range ready[:n] {
			if p != nil {
				p.receive(buf[:])
			}
		}
	}
}

// close ends run, and every flight that is carried.
func (e *express) close() {
	e.mu.Lock()
	e.closed = true
	var all []*parcel
	for _, p := range e.parcels {
		all = append(all, p)
	}
	e.mu.Unlock()
	for _, p := range all {
		p.mu.Lock()
		fl := p.take()
		e.discard(p)
		p.mu.Unlock()
		if fl != nil {
			e.f.flights.end(fl)
			e.f.flights.wg.Done()
		}
	}
	e.epoll.Close()
}

// carry puts fl's question to u, and reports whether it did. If so, fl ends, or is
// promoted, without the caller.
func (e *express) carry(fl *flight, u *upstream, limit time.Duration) bool {
	if e.once.Do(e.start); !e.works {
		return false
	}
	p := e.get(u.Addr)
	if p == nil {
		return false
	}
	a := ask{up: u, transport: UDP, edns: u.edns(fl.began), mixed: u.mixed(fl.began)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return false
	}
	p.sent.make(p.room[:0], fl.q, a.edns, a.mixed)
	if !p.send(u.Addr) {
		e.discard(p)
		return false // whoever does it the other way learns why
	}
	e.f.budget.earn()
	u.stats.requests[UDP].Add(1)
	p.fl, p.ask, p.until = fl, a, fl.began.after(limit)
	if p.timer == nil {
		p.timer = time.AfterFunc(limit, p.late)
	} else {
		p.timer.Reset(limit)
	}
	return true
}

// get returns a socket that carries nothing, or nil if there can be none.
func (e *express) get(addr netip.AddrPort) *parcel {
	if addr.Addr().Zone() != "" {
		return nil
	}
	family, v6 := unix.AF_INET, 0
	if !addr.Addr().Unmap().Is4() {
		family, v6 = unix.AF_INET6, 1
	}
	e.mu.Lock()
	if idle := e.idle[v6]; len(idle) > 0 && !e.closed {
		p := idle[len(idle)-1]
		e.idle[v6] = idle[:len(idle)-1]
		e.mu.Unlock()
		return p
	}
	closed := e.closed
	e.mu.Unlock()
	if closed || !e.f.sockets.take(ask{}) {
		return nil
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		e.f.sockets.giveBack()
		return nil
	}
	p := &parcel{e: e, fd: fd, v6: v6 == 1}
	e.mu.Lock()
	defer e.mu.Unlock()
	// Told of arrivals only: what an earlier question left in the socket's
	// queue is no reason to wake up.
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(fd)}
	if e.closed || e.control(unix.EPOLL_CTL_ADD, fd, &event) != nil {
		unix.Close(fd)
		e.f.sockets.giveBack()
		return nil
	}
	e.parcels[int32(fd)] = p
	return p
}

func (e *express) control(op, fd int, event *unix.EpollEvent) (err error) {
	if failed := e.raw.Control(func(epoll uintptr) { err = unix.EpollCtl(int(epoll), op, fd, event) }); failed != nil {
		return failed
	}
	return err
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

// put keeps the socket for the next question, without its port. p is locked.
func (e *express) put(p *parcel) {
	if p.doubted || disconnect(p.fd) != nil {
		e.discard(p)
		return
	}
	i := 0
	if p.v6 {
		i = 1
	}
	e.mu.Lock()
	if keep := !e.closed && len(e.idle[i]) < e.most; keep {
		e.idle[i] = append(e.idle[i], p)
		e.mu.Unlock()
		return
	}
	e.mu.Unlock()
	e.discard(p)
}

// disconnect takes the socket's port and peer from it (connect(2), AF_UNSPEC).
func disconnect(fd int) error {
	unspec := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	if _, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&unspec)), unsafe.Sizeof(unspec)); errno != 0 {
		return errno
	}
	return nil
}

// forget makes e no longer responsible for the socket, and reports whether it was.
// p is locked.
func (e *express) forget(p *parcel) bool {
	if p.gone {
		return false
	}
	p.gone = true
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.parcels, int32(p.fd))
	e.control(unix.EPOLL_CTL_DEL, p.fd, new(unix.EpollEvent))
	return true
}

// discard closes the socket, if it is e's. p is locked.
func (e *express) discard(p *parcel) {
	if e.forget(p) {
		unix.Close(p.fd)
		e.f.sockets.giveBack()
	}
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
