package socket

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

// Answering threads keep their niceness and request short slices. All other
// threads become nicer, also those that start later. This changes the whole
// process, so the test runs in a process of its own.
func TestOtherThreadsAreNicerThanAnsweringThreads(t *testing.T) {
	const inside = "SOCKET_TEST_THREADS"
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
	v, ids, end := NewAnsweringThreads(size), make(chan int, size), make(chan struct{})
	for range size {
		go func() {
			v.Join()
			ids <- unix.Gettid()
			<-end
		}()
	}
	answering := make(map[int]bool)
	for range size {
		answering[<-ids] = true
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
	if len(answering) != size || len(tasks) < size+later {
		t.Errorf("%d threads answer, of %d", len(answering), len(tasks))
	}
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		if err != nil {
			t.Fatal(err)
		}
		want := before
		if !answering[id] {
			want = min(before+niceBy, 19)
		}
		if got := niceness(t, id); got != want {
			t.Errorf("thread %d, which answers: %v, has niceness %d, want %d", id, answering[id], got, want)
		}
		attr, err := unix.SchedGetAttr(id, 0)
		if err != nil {
			t.Fatal(err)
		}
		if short := attr.Runtime == uint64(slice); short != answering[id] && attr.Runtime != 0 { // 0 before Linux 6.12
			t.Errorf("thread %d, which answers: %v, requests slices of %v", id, answering[id], time.Duration(attr.Runtime))
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
