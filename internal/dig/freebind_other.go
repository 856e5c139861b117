//go:build !linux

package dig

import "syscall"

// freebind does nothing: only Linux can bind a socket to an address that no
// interface has.
func freebind(string, string, syscall.RawConn) error { return nil }
