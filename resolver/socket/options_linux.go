package socket

import (
	"net/netip"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setUDPOptions prepares a UDP socket before it is bound. wildcard says that it
// will be bound to no particular address, so that it must report the destination
// address of each datagram.
func setUDPOptions(fd int, network string, wildcard bool) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return os.NewSyscallError("setsockopt SO_REUSEPORT", err)
	}
	if wildcard && strings.HasSuffix(network, "6") {
		if err := unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_RECVPKTINFO, 1); err != nil {
			return os.NewSyscallError("setsockopt IPV6_RECVPKTINFO", err)
		}
	} else if wildcard {
		if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_PKTINFO, 1); err != nil {
			return os.NewSyscallError("setsockopt IP_PKTINFO", err)
		}
	}
	return setFreebind(fd, network)
}

func setFreebind(fd int, network string) error {
	if strings.HasSuffix(network, "6") {
		return os.NewSyscallError("setsockopt IPV6_FREEBIND", unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1))
	}
	return os.NewSyscallError("setsockopt IP_FREEBIND", unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1))
}

// AddrOf returns the address in a sockaddr of either family.
func AddrOf(name *unix.RawSockaddrInet6) netip.Addr {
	if name.Family == unix.AF_INET {
		// This is a sockaddr_in: its address is at the offset of the IPv6 flow label.
		return netip.AddrFrom4(*(*[4]byte)(unsafe.Pointer(&name.Flowinfo)))
	}
	return netip.AddrFrom16(name.Addr)
}
