//go:build unix && !linux

package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// poll waits until a socket is ready, or for that long. An error is as good as
// readiness: the next read says what is the matter.
func poll(fds []unix.PollFd, d time.Duration) {
	unix.Poll(fds, int((d+time.Millisecond-1)/time.Millisecond))
}
