//go:build !unix

package api

import (
	"io/fs"
	"syscall"
)

func chmodSocket(syscall.RawConn, fs.FileMode) error { return nil }
