package affinity

import (
	"bytes"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestAllThreadsOfTheProcessKeepToOneCPUUntilRestored(t *testing.T) {
	before := CPUs()
	if len(before) == 0 {
		t.Fatal("no CPU to run on")
	}
	last := before[len(before)-1]
	restore, err := PinProcess(last)
	if err != nil {
		t.Fatal(err)
	}
	defer restore()
	const threads = 8 // of their own, so that some are new
	seen := make(chan []int, threads)
	end := make(chan struct{})
	for range threads {
		go func() {
			runtime.LockOSThread()
			seen <- CPUs()
			<-end
		}()
	}
	for range threads {
		if got := <-seen; !slices.Equal(got, []int{last}) {
			t.Errorf("a thread may run on CPUs %v, want %d alone", got, last)
		}
	}
	close(end)
	restore()
	if got := CPUs(); !slices.Equal(got, before) {
		t.Errorf("restored to CPUs %v, want %v", got, before)
	}
}

func TestAChildRunsOnItsCPUOnly(t *testing.T) {
	cpus := CPUs()
	if len(cpus) == 0 {
		t.Fatal("no CPU to run on")
	}
	last := cpus[len(cpus)-1]
	var out bytes.Buffer
	cmd := exec.Command("cat", "/proc/self/status")
	cmd.Stdout = &out
	if err := Start(cmd, last); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if want := "Cpus_allowed_list:\t" + strconv.Itoa(last) + "\n"; !strings.Contains(out.String(), want) {
		t.Errorf("child's status lacks %q", want)
	}
	if got := CPUs(); len(got) != len(cpus) {
		t.Errorf("the parent is left on CPUs %v of %v", got, cpus)
	}
}
