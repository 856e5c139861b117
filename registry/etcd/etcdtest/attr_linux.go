package etcdtest

import "syscall"

// attr has a server not outlive a test that is killed.
func attr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
