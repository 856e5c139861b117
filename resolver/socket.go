package resolver

import (
	"context"
	"net"
	"net/netip"
	"syscall"
)

// listenUDP binds a UDP socket, which on Linux shares its port with the other
// workers'.
func listenUDP(addr netip.AddrPort) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(network, _ string, rc syscall.RawConn) error {
		return control(rc, func(fd int) error { return setUDPOptions(fd, network, addr.Addr().IsUnspecified()) })
	}}
	pc, err := lc.ListenPacket(context.Background(), network("udp", addr.Addr()), addr.String())
	if err != nil {
		return nil, err
	}
	return pc.(*net.UDPConn), nil
}

// listenTCP binds a TCP listener.
func listenTCP(addr netip.AddrPort) (*net.TCPListener, error) {
	lc := net.ListenConfig{
		Control: func(network, _ string, rc syscall.RawConn) error {
			return control(rc, func(fd int) error { return setFreebind(fd, network) })
		},
		KeepAlive: -1, // clients that are gone fall to the idle limit, at four system calls less
	}
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(context.Background(), network("tcp", addr.Addr()), addr.String())
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

// network returns what Go calls the network of listeners at addr. Without the 4,
// a listener at 0.0.0.0 would be one at [::] too.
func network(transport string, addr netip.Addr) string {
	if addr.Is4() {
		return transport + "4"
	}
	return transport
}

// control calls f with the descriptor of rc and joins both kinds of errors.
func control(rc syscall.RawConn, f func(fd int) error) error {
	var err error
	if cerr := rc.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}
