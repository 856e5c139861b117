package socket

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// listenUDP binds a UDP socket to addr. On Linux several sockets can share the
// address.
func listenUDP(addr netip.AddrPort) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(network, _ string, rc syscall.RawConn) error {
		return Control(rc, func(fd int) error { return setUDPOptions(fd, network, addr.Addr().IsUnspecified()) })
	}}
	pc, err := lc.ListenPacket(context.Background(), networkName("udp", addr.Addr()), addr.String())
	if err != nil {
		return nil, err
	}
	return pc.(*net.UDPConn), nil
}

// ListenTCP binds a TCP listener to addr. On Linux addr need not be on an
// interface yet.
func ListenTCP(addr netip.AddrPort) (*net.TCPListener, error) {
	lc := net.ListenConfig{
		Control:   Freebind,
		KeepAlive: -1, // the idle limit of the server closes dead connections; this saves four system calls
	}
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(context.Background(), networkName("tcp", addr.Addr()), addr.String())
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

// Freebind allows a socket to be bound to an address that is on no interface
// yet. It is a Control function of net.ListenConfig and net.Dialer, and does
// nothing on systems other than Linux.
func Freebind(network, _ string, rc syscall.RawConn) error {
	return Control(rc, func(fd int) error { return setFreebind(fd, network) })
}

// networkName returns Go's name of the network for listeners at addr. Without the
// 4, a listener at 0.0.0.0 would also listen at [::].
func networkName(transport string, addr netip.Addr) string {
	if addr.Is4() {
		return transport + "4"
	}
	return transport
}

// Control calls f with the descriptor of rc. It returns the error of f, or the
// error of rc if f was not called.
func Control(rc syscall.RawConn, f func(fd int) error) error {
	var err error
	if controlErr := rc.Control(func(fd uintptr) { err = f(int(fd)) }); controlErr != nil {
		return controlErr
	}
	return err
}

// IsTemporary reports whether accept(2) failed for a reason that may pass: the
// system lacks descriptors or memory, or the client has already closed.
func IsTemporary(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EPERM,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
