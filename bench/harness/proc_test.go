//go:build linux

package harness

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// lastCPU returns the last CPU that this program may use.
func lastCPU(t *testing.T) int {
	t.Helper()
	for cpu := 1023; cpu >= 0; cpu-- {
		if everyCPU.IsSet(cpu) {
			return cpu
		}
	}
	t.Fatal("no CPU to run on")
	return 0
}

func TestAllThreadsOfAProcessAreBoundUntilTheyAreReleased(t *testing.T) {
	last := lastCPU(t)
	if err := Bind(os.Getpid(), last); err != nil {
		t.Fatal(err)
	}
	defer Bind(os.Getpid(), -1)
	const threads = 8 // one for each goroutine, so that some are new
	seen := make(chan bool, threads)
	end := make(chan struct{})
	for range threads {
		go func() {
			runtime.LockOSThread()
			seen <- affinity(0) == cpuSet(last)
			<-end
		}()
	}
	for range threads {
		if !<-seen {
			t.Errorf("a thread may run on another CPU than %d", last)
		}
	}
	close(end)
	if err := Bind(os.Getpid(), -1); err != nil {
		t.Fatal(err)
	}
	if affinity(0) != everyCPU {
		t.Error("the thread is not released to every CPU")
	}
}

func TestAChildRunsOnItsCPUOnly(t *testing.T) {
	last := lastCPU(t)
	var out bytes.Buffer
	cmd := exec.Command("cat", "/proc/self/status")
	cmd.Stdout = &out
	if err := startOn(last, cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if want := "Cpus_allowed_list:\t" + strconv.Itoa(last) + "\n"; !strings.Contains(out.String(), want) {
		t.Errorf("the child's status lacks %q", want)
	}
	if affinity(0) != everyCPU {
		t.Error("this program is bound too")
	}
}

// Threads that a server in this process has reniced do not start nicer children.
func TestAChildHasTheNicenessOfTheProgram(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may lower the niceness of a thread")
	}
	out := make(chan string)
	go func() {
		runtime.LockOSThread() // never unlocked: the niceness ends with the thread
		unix.Setpriority(unix.PRIO_PROCESS, 0, startNice+3)
		var b bytes.Buffer
		cmd := exec.Command("nice")
		cmd.Stdout = &b
		if err := startOn(-1, cmd); err == nil {
			cmd.Wait()
		}
		out <- strings.TrimSpace(b.String())
	}()
	if got := <-out; got != strconv.Itoa(startNice) {
		t.Errorf("the niceness of the child is %q, want %d", got, startNice)
	}
}

func TestAProcessIsStoppedWithItsChildren(t *testing.T) {
	dir := t.TempDir()
	ready := func() error {
		b, err := os.ReadFile(dir + "/output")
		if err == nil && !strings.Contains(string(b), "started") {
			err = errors.New("it has not started")
		}
		return err
	}
	p, err := Start(t.Context(), dir, -1, []string{"/bin/sh", "-c", "sleep 1000 & echo started; wait"}, ready)
	if err != nil {
		t.Fatal(err)
	}
	pids := p.PIDs()
	if len(pids) != 2 || Memory(pids...) == 0 {
		t.Errorf("processes %v hold %d octets", pids, Memory(pids...))
	}
	p.Stop()
	for _, pid := range pids {
		// The kernel ends a killed process when it next runs, and another process
		// than this one waits for a child.
		for state := "?"; state != "" && !strings.Contains(state, "Z"); runtime.Gosched() {
			state = lineOf("/proc/"+strconv.Itoa(pid)+"/status", "State:")
		}
	}
}
