//go:build unix

package api

import (
	"io/fs"
	"syscall"
)

// chmodSocket sets the mode of a socket that is not bound yet. On Linux, the file that
// bind makes gets that mode.
func chmodSocket(raw syscall.RawConn, mode fs.FileMode) error {
	var err error
	if e := raw.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), uint32(mode.Perm())) }); e != nil {
		return e
	}
	if err == syscall.EINVAL {
		return nil // systems other than Linux
	}
	return err
}
