//go:build unix && !linux

package load

import (
	"errors"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// pin returns an error.
func pin(int) error { return errors.New("threads cannot be bound to CPUs on " + runtime.GOOS) }

// poll waits until a socket is ready, or for d. It ignores errors: the next read
// returns them.
func poll(fds []unix.PollFd, d time.Duration) {
	unix.Poll(fds, int((d+time.Millisecond-1)/time.Millisecond))
}

// bindSource leaves the source to the system: elsewhere than on Linux, 127.0.0.1
// is the only address of the loopback network that can be bound to.
func bindSource(int, netip.Addr) error { return nil }
