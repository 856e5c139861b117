package affinity

import (
	"bytes"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

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
