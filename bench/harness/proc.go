//go:build linux

package harness

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// descendants returns the process and all its descendants.
func descendants(pid int) []int {
	children := map[int][]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// The parent is field 4 of /proc/PID/stat. The name in field 2 can hold
		// anything, so fields are counted from its last parenthesis.
		b, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])); len(fields) > 1 {
			if parent, err := strconv.Atoi(fields[1]); err == nil {
				children[parent] = append(children[parent], child)
			}
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// CPUTime returns the CPU time, in user and kernel mode, that all threads of the
// processes have used, threads that have ended included. A process that has ended
// counts as 0.
func CPUTime(pids ...int) time.Duration {
	var sum time.Duration
	for _, pid := range pids {
		const cpuclockSched = 2 // CPUCLOCK_SCHED of the kernel: the whole process, in ns
		var ts unix.Timespec
		if err := unix.ClockGettime(int32(^pid)<<3|cpuclockSched, &ts); err == nil {
			sum += time.Duration(ts.Nano())
		}
	}
	return sum
}

// Memory returns the octets of main memory that the processes hold. What several
// processes share is divided among them (Pss of smaps_rollup), so that a server
// that forks is not charged twice.
func Memory(pids ...int) uint64 {
	var sum uint64
	for _, pid := range pids {
		sum += ProcField(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
	}
	return sum
}

// ProcField returns the octets that a file of /proc gives in kB behind the word;
// 0 if there are none.
func ProcField(file, word string) uint64 {
	n, _ := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(lineOf(file, word)), "kB")), 10, 64)
	return n << 10
}

// everyCPU is the set of CPUs that this program was started with.
var everyCPU = affinity(0)

func affinity(tid int) (set unix.CPUSet) {
	unix.SchedGetaffinity(tid, &set)
	return set
}

// cpuSet returns the set of one CPU, or every CPU if cpu is negative.
func cpuSet(cpu int) unix.CPUSet {
	if cpu < 0 {
		return everyCPU
	}
	var set unix.CPUSet
	set.Set(cpu)
	return set
}

// Bind binds all threads of the process to the CPU, and with them those that they
// start. A negative cpu releases them to every CPU.
func Bind(pid, cpu int) error {
	set := cpuSet(cpu)
	// A thread that was started meanwhile may have its creator's old affinity, so
	// threads are listed until none had to be bound.
	for bound := true; bound; {
		bound = false
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		if err != nil {
			return err
		}
		for _, task := range tasks {
			tid, _ := strconv.Atoi(filepath.Base(task))
			if now := affinity(tid); now == set || now.Count() == 0 {
				continue // bound already, or ended
			}
			if err := unix.SchedSetaffinity(tid, &set); err != nil && err != unix.ESRCH {
				return fmt.Errorf("bind thread %d to CPU %d: %w", tid, cpu, err)
			}
			bound = true
		}
	}
	return nil
}

// bindThread binds the calling thread, to which its goroutine should be locked.
func bindThread(cpu int) error {
	set := cpuSet(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("bind to CPU %d: %w", cpu, err)
	}
	return nil
}
