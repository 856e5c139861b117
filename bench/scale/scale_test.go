//go:build linux

package scale

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

// smallPlan has all parts of a run, each as short as possible.
func smallPlan() Plan {
	return Plan{
		Machines: 3000, Apps: 300, Smaller: []int{200}, BigApps: []int{300},
		Updates: 100, Batches: []int{1, 50}, AppUpdates: 100,
		Rate: 300, QueryRate: 500, Duration: 300 * time.Millisecond, Rounds: 1, Lasting: 400 * time.Millisecond,
		GC: []string{"100", "off/1.5"}, ServerCPU: -1, LoadCPU: -1, Seed: 1,
	}
}

func TestARunMeasuresEverythingAndGivesItsMemoryBack(t *testing.T) {
	s := &Scenario{Plan: smallPlan()}
	if err := s.Run(t.Context(), harness.NewEnv(t.TempDir(), t.Output())); err != nil {
		t.Fatal(err)
	}

	if len(s.Loads) != 2 || s.Loads[1].Machines != 3000 || s.Loads[1].Apps != 300 {
		t.Fatalf("loaded %+v, want registries of 200 and 3,000 machines", s.Loads)
	}
	l := s.Loads[1]
	if l.Parse <= 0 || l.Apply <= 0 || l.Compile <= 0 || l.After.Resident == 0 || l.After.Peak < l.Before.Resident {
		t.Errorf("figures of loading are missing: %+v", l)
	}
	if got := l.PerMachine(); got < 300 || got > 20_000 {
		t.Errorf("a machine takes %.0f octets of heap, which is impossible", got)
	}
	if len(s.Updates) != 4 || len(s.Apps) != 2 || s.Apps[0].Count != 300 {
		t.Errorf("updates are %+v, want 2 kinds in 2 registries; those of an app are %+v, want 300 and 100", s.Updates, s.Apps)
	}
	for _, u := range append(s.Updates, s.Apps[1:]...) {
		if u.Count != 100 || u.Min <= 0 || u.P50 < u.Min || u.P99 < u.P50 || u.Max < u.P99 || u.Window != 10 || u.First <= 0 || u.Last <= 0 || u.Usage.Objects < 100 || u.Usage.CPU <= 0 {
			t.Errorf("single updates: %+v", u)
		}
	}
	for i, size := range []int{1, 50} {
		if b := s.Batches[i]; b.Size != size || b.Updates < size || b.PerSecond() <= 0 {
			t.Errorf("updates in batches of %d: %+v", size, b)
		}
	}
	states := []string{idle, changing, collecting, lasting, idle, changing}
	if len(s.Rounds) != len(states) {
		t.Fatalf("got %d rounds, want %v for 2 settings", len(s.Rounds), states)
	}
	for i, x := range s.Rounds {
		if x.State != states[i] || x.Queries.Answered == 0 || x.Queries.Wrong > 0 {
			t.Errorf("round %d, want %s: %+v", i, states[i], x)
		} else if changes := x.State != idle; changes != (x.Updating != nil) || changes && (x.Updating.Updates == 0 || x.Updating.Latency.P50 <= 0) {
			t.Errorf("round %d, %s: updates %+v", i, x.State, x.Updating)
		}
		if x.State == collecting && x.Usage.Cycles == 0 {
			t.Errorf("round %d has no collection", i)
		}
	}

	if len(s.Deletions) != 2 {
		t.Fatalf("got %d deletions, want 2", len(s.Deletions))
	}
	most, all := s.Deletions[0], s.Deletions[1]
	if most.Before != 3000 || most.Left < 200 || most.Left > 400 || all.Before != most.Left || all.Left != 0 {
		t.Errorf("deleted %+v and %+v, want nine of ten machines, then all", most, all)
	}
	held := l.After.Heap - l.Before.Heap
	if above := all.After.Heap - min(all.After.Heap, l.Before.Heap); above > held/8 {
		t.Errorf("with all machines deleted the heap is %d octets above that of an empty registry; with all machines it was %d", above, held)
	}

	var p harness.Page
	s.Report(&p)
	for _, want := range []string{"### Loading", "### One machine among many", "### Most updates a second", "### Queries while facts change", "### One large app", "### Deletion", "| off/1.5 |", "| 3,000 |"} {
		if !strings.Contains(p.String(), want) {
			t.Errorf("the section has no %q", want)
		}
	}
}

func TestAnUpdateThatIsNotAppliedFailsTheRun(t *testing.T) {
	w := loadedWorld(t)
	picks, err := w.picks(10, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := allShown(w.publisher, picks); err != nil {
		t.Fatalf("before any update: %v", err)
	}
	for _, what := range []string{state, address} {
		before := picks[0].machine
		picks[0].machine.State = "started"
		picks[0].update(what) // and not applied
		if err := allShown(w.publisher, picks); err == nil && before.Started() {
			t.Errorf("an update of %s that was not applied is not noticed", what)
		}
		picks[0].machine = before
	}
}

func TestMachinesOfAppsThatAreAskedForAreNotPicked(t *testing.T) {
	w := loadedWorld(t)
	avoid := map[string]bool{}
	kept := ""
	for a := range w.store.Snapshot().Apps() {
		avoid[a.Name] = true
		kept = a.Name
	}
	delete(avoid, kept)
	picks, err := w.picks(1000, 1, avoid)
	if err != nil {
		t.Fatal(err)
	}
	for i := range picks {
		if app := picks[i].machine.App; app != kept {
			t.Errorf("a machine of %s was picked, and only %s is not asked for", app, kept)
		}
	}
	avoid[kept] = true
	if _, err := w.picks(1000, 1, avoid); err == nil {
		t.Error("no machine can be picked, and there is no error")
	}
}

// loadedWorld returns a world of 200 machines.
func loadedWorld(t testing.TB) *world {
	t.Helper()
	s := &Scenario{Plan: smallPlan()}
	w, err := s.load(t.Context(), harness.NewEnv(t.TempDir(), t.Output()), s.Plan.shape(200))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestPlanFaultsAreAllNamed(t *testing.T) {
	s := Scenario{Plan: Plan{Machines: 10, Smaller: []int{1}, BigApps: []int{1}, Batches: []int{0}, GC: []string{"off"}}}
	err := s.Validate()
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, field := range []string{"machines:", "apps:", "smaller:", "big-apps:", "updates:", "app-updates:", "batches:", "rate, query-rate:", "duration, lasting:", "rounds:", "gc:"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("faults do not name %s\n%v", field, err)
		}
	}
	if err := newScenario().Validate(); err != nil {
		t.Errorf("the published plan has faults: %v", err)
	}
}

func TestSettingsOfTheCollector(t *testing.T) {
	for _, text := range []string{"100", "50", "off/1.3", "100/1.5"} {
		if _, _, err := parseGC(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"", "off", "0", "-1", "x", "100/1", "100/x", "off/"} {
		if _, _, err := parseGC(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}
