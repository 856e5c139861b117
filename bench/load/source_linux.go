package load

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// bindSource binds the socket to the address and leaves its port to connect,
// which can then share a port among different destinations.
func bindSource(fd int, a netip.Addr) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return err
	}
	return unix.Bind(fd, sockaddr(netip.AddrPortFrom(a, 0)))
}
