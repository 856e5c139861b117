package socket

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// niceBy is added to the niceness of threads that do not answer. An answering
// thread then gets three times their share of a contended processor, and runs at
// once when a query arrives.
//
// Measured on two processors, while the garbage of 200,000 machines is collected: with
// 0, a query waits 29 ms (p99) and one in 25 is lost; with 5, 8 to 13 ms and none. With
// more, queries gain little, and an update of the registry takes 36 to 260 ms (p99)
// instead of 5 ms during a flood of queries.
const niceBy = 5

// slice is the time slice that an answering thread requests: the shortest that
// Linux grants. A batch takes far less, and a thread with a short slice need not
// wait for the end of another thread's, which can be milliseconds away. Of the threads
// that woke to answer during an update, one in ten had waited 80 to 110 µs for a
// processor; with this slice, 27 µs.
const slice = 100 * time.Microsecond

// requestShortSlices requests short time slices for the calling thread
// (sched_setattr(2), Linux 6.12). Older kernels ignore the request.
func requestShortSlices() {
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil || attr.Policy != unix.SCHED_NORMAL {
		return
	}
	attr.Runtime = uint64(slice)
	unix.SchedSetAttr(0, attr, 0)
}

func threadID() int { return unix.Gettid() }

// reniceOthers makes all threads of the program nicer except the given ones, of
// which the caller's is one. That needs no privilege. If it fails, queries wait
// longer during other work.
//
// A new thread inherits the niceness of the thread that starts it, and appears in
// /proc up to 2 ms later. So reniceOthers searches until two searches in a row, 2
// ms apart, find no thread to change.
func reniceOthers(answering map[int]bool) {
	nice, err := niceOf(0)
	if err != nil {
		return
	}
	nice = min(nice+niceBy, 19)
	const (
		searches = 100 // usually three are enough
		startup  = 2 * time.Millisecond
	)
	unchanged := 0
	for search := 0; search < searches && unchanged < 2; search++ {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return
		}
		changed := false
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err != nil || answering[id] {
				continue
			}
			if now, err := niceOf(id); err == nil && now < nice {
				changed = unix.Setpriority(unix.PRIO_PROCESS, id, nice) == nil || changed
			}
		}
		if unchanged++; changed {
			unchanged = 0
		}
		time.Sleep(startup)
	}
}

// niceOf returns the niceness of a thread, from -20 to 19. Thread 0 is the
// caller's.
func niceOf(thread int) (int, error) {
	n, err := unix.Getpriority(unix.PRIO_PROCESS, thread)
	return 20 - n, err // the system call returns 1 to 40
}
