//go:build !linux

package etcdtest

import "syscall"

// attr has nothing to offer here: a server may outlive a test that is killed.
func attr() *syscall.SysProcAttr { return nil }
