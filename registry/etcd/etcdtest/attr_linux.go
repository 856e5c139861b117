package etcdtest

import "syscall"

// attr makes the kernel kill a server when the test that started it ends.
func attr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
