package resolver

import (
	"net/netip"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setUDPOptions prepares a UDP socket before it is bound. wildcard says that it
// will be bound to no address in particular, and must learn of each datagram
// which one was asked.
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

// setFreebind lets a socket be bound to an address that is on no interface yet.
func setFreebind(fd int, network string) error {
	if strings.HasSuffix(network, "6") {
		return os.NewSyscallError("setsockopt IPV6_FREEBIND", unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1))
	}
	return os.NewSyscallError("setsockopt IP_FREEBIND", unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1))
}

// addrOf returns the address in a sockaddr of either family.
func addrOf(name *unix.RawSockaddrInet6) netip.Addr {
	if name.Family == unix.AF_INET {
		// A sockaddr_in: the address stands where IPv6 has its flow label.
		return netip.AddrFrom4(*(*[4]byte)(unsafe.Pointer(&name.Flowinfo)))
	}
	return netip.AddrFrom16(name.Addr)
}
