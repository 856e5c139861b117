//go:build linux

package keep

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/internaldns/internaldns/bench/harness"
)

// Every write is acknowledged, and on the server that took it the first answer
// shows it.
func TestASmallRunMeasuresEverythingThatIsInstalled(t *testing.T) {
	s := newScenario()
	s.Plan.Machines, s.Plan.Writers, s.Plan.Duration, s.Plan.Changes = 20, []int{1, 4}, 50*time.Millisecond, 20
	env := harness.NewEnv(t.TempDir(), t.Output())
	if err := s.Run(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	stores := 2
	if _, err := exec.LookPath("etcd"); err != nil {
		stores = 1
		if len(env.Notes) != 1 {
			t.Errorf("notes %q do not say that etcd is missing", env.Notes)
		}
	}
	if len(s.Rates) != 2*stores || len(s.Visible) != 2*stores-1 {
		t.Fatalf("%d rates and %d ways to the answers, of %d stores", len(s.Rates), len(s.Visible), stores)
	}
	for _, x := range s.Rates {
		if x.Second <= 0 || x.P50 <= 0 || x.P99 < x.P50 {
			t.Errorf("%+v", x)
		}
	}
	for _, v := range s.Visible {
		if v.Where == "the same server" && v.Late != 0 {
			t.Errorf("with %s, %d of %d acknowledged changes were not in the first answer", v.Store, v.Late, v.Of)
		}
	}
	var p harness.Page
	s.Report(&p)
	for _, want := range []string{"| disk | 4 |", "| disk | the same server |"} {
		if !strings.Contains(p.String(), want) {
			t.Errorf("no %q in\n%s", want, p.String())
		}
	}
}

func TestPlanFaultsAreAllNamed(t *testing.T) {
	err := new(Scenario).Validate()
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, flag := range []string{"machines:", "writers:", "duration:", "changes:"} {
		if !strings.Contains(err.Error(), flag) {
			t.Errorf("faults do not name %s\n%v", flag, err)
		}
	}
	if err := newScenario().Validate(); err != nil {
		t.Errorf("the published plan has faults: %v", err)
	}
}
