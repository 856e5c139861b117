//go:build linux

package hang

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A small run measures what it says: queries do hang meanwhile, local names are
// answered all the same, and the second upstream stands in for the first.
func TestASmallRun(t *testing.T) {
	program := filepath.Join(t.TempDir(), "internaldns")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "../../cmd/internaldns").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := &Plan{Program: program, Hanging: 100, Rounds: 1, Rate: 200, Duration: 300 * time.Millisecond, Failover: 5}
	r, err := p.Run(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Idle) != 1 || len(r.Hung) != 1 || r.Idle[0] <= 0 || r.Hung[0] <= 0 || r.Ratio <= 0 {
		t.Errorf("of one round: %+v", r)
	}
	if r.InFlight[0] < p.Hanging/2 || r.FailoverWorst <= 0 || r.FailoverUnknown <= 0 {
		t.Errorf("what hung, and fail-over: %+v", r)
	}
}
