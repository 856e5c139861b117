//go:build linux

package hang

import (
	"strings"
	"testing"
	"time"

	"github.com/internaldns/internaldns/bench/harness"
)

func TestMain(m *testing.M) {
	harness.RunHelper()
	m.Run()
}

// In a small run, queries do hang meanwhile, local names are answered all the
// same, and the second upstream answers in place of the first.
func TestASmallRun(t *testing.T) {
	s := &Scenario{Plan: Plan{Hanging: 100, Rounds: 1, Rate: 200, Duration: 300 * time.Millisecond, Failover: 5}}
	if err := s.Run(t.Context(), harness.NewEnv(t.TempDir(), t.Output())); err != nil {
		t.Fatal(err)
	}
	if len(s.Rounds) != 1 {
		t.Fatalf("%d rounds", len(s.Rounds))
	}
	r := s.Rounds[0]
	if r.Idle.Answered == 0 || r.Hanging.Answered == 0 || r.Idle.Latency.P99 <= 0 || r.Hanging.Latency.P99 <= 0 {
		t.Errorf("%+v", r)
	}
	if r.Least < s.Plan.Hanging/2 || s.FailoverWorst <= 0 || s.FailoverUnknown <= 0 {
		t.Errorf("at least %d hung, fail-over took %v and %v", r.Least, s.FailoverWorst, s.FailoverUnknown)
	}
	var p harness.Page
	s.Report(&p)
	if !strings.Contains(p.String(), "| ratio | ") {
		t.Error(p.String())
	}
}

func TestPlanFaultsAreAllNamed(t *testing.T) {
	err := new(Scenario).Validate()
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, flag := range []string{"hanging:", "rounds:", "failover:", "rate:", "duration:"} {
		if !strings.Contains(err.Error(), flag) {
			t.Errorf("faults do not name %s\n%v", flag, err)
		}
	}
	if err := newScenario().Validate(); err != nil {
		t.Errorf("the published plan has faults: %v", err)
	}
}
