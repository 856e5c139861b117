// Package affinity binds threads to CPUs, where the system can.
package affinity

import (
	"errors"
	"os/exec"
	"runtime"
)

// ErrUnsupported says that this system cannot bind threads to CPUs.
var ErrUnsupported = errors.New("threads cannot be bound to CPUs on " + runtime.GOOS)

// Start starts the command with all its threads on that CPU, or anywhere if
// cpu is negative.
func Start(cmd *exec.Cmd, cpu int) error {
	if cpu < 0 {
		return cmd.Start()
	}
	// A child inherits the affinity of the thread that forks it.
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := Pin(cpu); err != nil {
			done <- err
			return
		}
		done <- cmd.Start()
	}()
	return <-done
}
