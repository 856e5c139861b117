package affinity

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Pin binds the calling thread to that CPU. The goroutine should be locked to
// the thread, and stay so until it ends.
func Pin(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("bind to CPU %d: %w", cpu, err)
	}
	return nil
}

// PinProcess binds all threads of this process to that CPU, and with them those
// that they start, until restore is called.
func PinProcess(cpu int) (restore func(), err error) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return nil, fmt.Errorf("read affinity: %w", err)
	}
	var set unix.CPUSet
	set.Set(cpu)
	if err := pinThreads(&set); err != nil {
		return nil, errors.Join(fmt.Errorf("bind to CPU %d: %w", cpu, err), pinThreads(&before))
	}
	return func() { pinThreads(&before) }, nil
}

// pinThreads binds until it meets no thread that is not bound yet: one that was
// started meanwhile may be as its creator was.
func pinThreads(set *unix.CPUSet) error {
	for found := true; found; {
		found = false
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, t := range tasks {
			id, err := strconv.Atoi(t.Name())
			if err != nil {
				return err
			}
			var now unix.CPUSet
			if unix.SchedGetaffinity(id, &now) != nil || now == *set {
				continue // ended, or done
			}
			if err := unix.SchedSetaffinity(id, set); err != nil && err != unix.ESRCH {
				return err
			}
			found = true
		}
	}
	return nil
}

// CPUs returns the CPUs that the calling thread may run on.
func CPUs() []int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil
	}
	var cpus []int
	for cpu := range 1024 {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus
}
