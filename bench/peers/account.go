//go:build linux

package peers

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// pids returns the server's process and all its descendants.
func (pr *process) pids() []int {
	children := map[int][]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if parent, ok := parentOf(pid); ok {
			children[parent] = append(children[parent], pid)
		}
	}
	all := []int{pr.cmd.Process.Pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// parentOf reads field 4 of /proc/PID/stat. The name in field 2 can hold
// anything, so fields are counted from its last parenthesis.
func parentOf(pid int) (int, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 2 {
		return 0, false
	}
	parent, err := strconv.Atoi(fields[1])
	return parent, err == nil
}

// cpuTime returns the CPU time, in user and kernel mode, that all threads of
// the processes took so far, ended threads included. A process that has ended
// counts as nothing.
func cpuTime(pids []int) time.Duration {
	var sum time.Duration
	for _, pid := range pids {
		const cpuclockSched = 2 // the whole process, in ns: CPUCLOCK_SCHED of the kernel
		var ts unix.Timespec
		if err := unix.ClockGettime(int32(^pid)<<3|cpuclockSched, &ts); err == nil {
			sum += time.Duration(ts.Nano())
		}
	}
	return sum
}

// memory returns the octets of main memory that the processes hold. What they
// share is divided among those who share it (Pss of smaps_rollup), so that
// servers that fork are not charged twice.
func memory(pids []int) uint64 {
	var sum uint64
	for _, pid := range pids {
		sum += kilobytes(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:") << 10
	}
	return sum
}

// kilobytes returns the number behind the word in a file of /proc, 0 if there
// is none.
func kilobytes(file, word string) uint64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, word); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return n
		}
	}
	return 0
}

// pin binds every thread of the processes to the CPU.
func pin(pids []int, cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	for _, pid := range pids {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		for _, task := range tasks {
			tid, err := strconv.Atoi(filepath.Base(task))
			if err != nil {
				continue
			}
			if err := unix.SchedSetaffinity(tid, &set); err != nil && err != unix.ESRCH {
				return fmt.Errorf("bind thread %d to CPU %d: %w", tid, cpu, err)
			}
		}
	}
	return nil
}

// goroutines returns what the server's metrics say of its goroutines, or -1.
func (pr *process) goroutines() int {
	if !pr.peer.Admin {
		return -1
	}
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + pr.site.Admin.String() + "/metrics")
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(io.LimitReader(resp.Body, 16<<20))
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			n, err := strconv.ParseFloat(rest, 64)
			if err != nil {
				return -1
			}
			return int(n)
		}
	}
	return -1
}
