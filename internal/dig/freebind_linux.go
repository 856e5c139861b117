package dig

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// freebind lets a socket be bound to an address that no interface has. It is a
// net.Dialer's Control function.
func freebind(network, _ string, c syscall.RawConn) error {
	var err error
	ctrlErr := c.Control(func(fd uintptr) {
		if strings.HasSuffix(network, "6") {
			err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
		} else {
			err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
		}
	})
	if ctrlErr != nil {
		return ctrlErr
	}
	return err
}
