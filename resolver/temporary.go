package resolver

import (
	"errors"
	"syscall"
)

// isTemporary reports whether accepting may succeed later: the system is out of
// something, or the client is gone already.
func isTemporary(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EPERM,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
