//go:build unix

package upstream

import (
	"math"

	"golang.org/x/sys/unix"
)

// openFiles returns how many files the process may have open.
func openFiles() int64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt64
	}
	return int64(min(uint64(limit.Cur), math.MaxInt64))
}
