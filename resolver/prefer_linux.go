package resolver

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// behind is how much nicer other threads are than those that answer, which then
// have three times their share of a processor that both want, and the turn at
// once when a query comes. More would have updates of the registry wait long in a
// flood of queries, and hardly help queries any more.
const behind = 5

// turn is the turn on the processor that a thread that answers asks for: the
// shortest there is. It takes far less than that for a batch, and a thread that
// asks for a short turn need not wait for the end of another's, which may be some
// milliseconds away.
const turn = 100 * time.Microsecond

// hurry has the calling thread take its turns soon and short (sched_setattr(2),
// Linux 6.12). Older kernels take no notice.
func hurry() {
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil || attr.Policy != unix.SCHED_NORMAL {
		return
	}
	attr.Runtime = uint64(turn)
	unix.SchedSetAttr(0, attr, 0)
}

func threadID() int { return unix.Gettid() }

// stepBehind makes all threads of the program nicer but the given ones, of which
// the caller's is one. That needs no privilege, and where it fails, nothing is
// lost but the favour.
//
// A thread is as nice as the one that starts it was when it began to, and shows
// only some time later. So they are looked for until, twice in a row and with
// more than that time between, there is none.
func stepBehind(vanguard map[int]bool) {
	nice, err := niceOf(0)
	if err != nil {
		return
	}
	nice = min(nice+behind, 19)
	const (
		passes  = 100 // the third is the last, as a rule
		startup = 2 * time.Millisecond
	)
	quiet := 0
	for pass := 0; pass < passes && quiet < 2; pass++ {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return
		}
		found := false
		for _, t := range tasks {
			id, err := strconv.Atoi(t.Name())
			if err != nil || vanguard[id] {
				continue
			}
			if now, err := niceOf(id); err == nil && now < nice {
				found = unix.Setpriority(unix.PRIO_PROCESS, id, nice) == nil || found
			}
		}
		if quiet++; found {
			quiet = 0
		}
		time.Sleep(startup)
	}
}

// niceOf returns how nice a thread is, from -20 to 19; 0 is the caller's.
func niceOf(thread int) (int, error) {
	n, err := unix.Getpriority(unix.PRIO_PROCESS, thread)
	return 20 - n, err // as the system call has it
}
