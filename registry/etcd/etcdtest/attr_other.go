//go:build !linux

package etcdtest

import "syscall"

// attr returns nothing here: a server may outlive a test that is killed.
func attr() *syscall.SysProcAttr { return nil }
