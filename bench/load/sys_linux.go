package load

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// pin binds the calling thread to the CPU. The goroutine must be locked to the
// thread until it ends.
func pin(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("bind to CPU %d: %w", cpu, err)
	}
	return nil
}

// poll waits until a socket is ready, or for d. It ignores errors: the next read
// returns them.
func poll(fds []unix.PollFd, d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	unix.Ppoll(fds, &ts, nil)
}

// bindSource binds the socket to the address and leaves the port to connect,
// which can then use one port for different destinations.
func bindSource(fd int, a netip.Addr) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return err
	}
	return unix.Bind(fd, sockaddr(netip.AddrPortFrom(a, 0)))
}
