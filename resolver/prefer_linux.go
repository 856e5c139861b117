package resolver

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// behind is how much nicer other threads are than those that answer, which then
// have three times their share of a processor that both want, and the turn at
// once when a query comes. More would have updates of the registry wait long in a
// flood of queries, and hardly help queries any more.
const behind = 5

func threadID() int { return unix.Gettid() }

// stepBehind makes all threads of the program nicer but the given ones. That
// needs no privilege, and where it fails, nothing is lost but the favour.
func stepBehind(vanguard map[int]bool) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return
	}
	nice := 20 - raw // as the system call has it
	for _, t := range tasks {
		if id, err := strconv.Atoi(t.Name()); err == nil && !vanguard[id] {
			unix.Setpriority(unix.PRIO_PROCESS, id, min(nice+behind, 19))
		}
	}
}
