package resolver

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The threads that answer are as nice as before and take short turns, and all
// others are nicer, also those that start later. It is a matter of the whole process, so the test has one of
// its own.
func TestWhateverDoesNotAnswerStepsBehind(t *testing.T) {
	const inside = "RESOLVER_TEST_PREFER"
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	before := niceness(t, unix.Gettid())
	const size = 3
	v, ids, end := newVanguard(size), make(chan int, size), make(chan struct{})
	for range size {
		go func() {
			v.join()
			ids <- unix.Gettid()
			<-end
		}()
	}
	vanguard := make(map[int]bool)
	for range size {
		vanguard[<-ids] = true
	}
	const later = 20
	for range later {
		go func() {
			runtime.LockOSThread() // so each has a thread of its own
			ids <- unix.Gettid()
			<-end
		}()
	}
	for range later {
		<-ids
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	if len(vanguard) != size || len(tasks) < size+later {
		t.Errorf("%d threads answer, of %d", len(vanguard), len(tasks))
	}
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		if err != nil {
			t.Fatal(err)
		}
		want := before
		if !vanguard[id] {
			want = min(before+behind, 19)
		}
		if got := niceness(t, id); got != want {
			t.Errorf("thread %d, which answers: %v, has niceness %d, want %d", id, vanguard[id], got, want)
		}
		attr, err := unix.SchedGetAttr(id, 0)
		if err != nil {
			t.Fatal(err)
		}
		if short := attr.Runtime == uint64(turn); short != vanguard[id] && attr.Runtime != 0 { // 0 before Linux 6.12
			t.Errorf("thread %d, which answers: %v, asks for turns of %v", id, vanguard[id], time.Duration(attr.Runtime))
		}
	}
	close(end)
}

func niceness(t *testing.T, thread int) int {
	t.Helper()
	n, err := niceOf(thread)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
