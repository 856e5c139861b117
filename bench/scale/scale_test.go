//go:build linux

package scale

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// smallPlan has all parts of a run, each as short as can be.
func smallPlan() Plan {
	return Plan{
		Machines: 3000, Apps: 300, Smaller: []int{200}, BigApps: []int{300},
		Updates: 100, Batches: []int{1, 50}, AppUpdates: 100,
		Rate: 300, QueryRate: 500, Duration: 50 * time.Millisecond, Rounds: 1, Lasting: 100 * time.Millisecond,
		Settings:  []Setting{{Percent: 100}, {Percent: -1, Limit: 1.5}},
		ServerCPU: -1, LoadCPU: -1,
		Seed: 1,
	}
}

func TestARunMeasuresEverythingAndGivesItsMemoryBack(t *testing.T) {
	r := Runner{Plan: smallPlan(), Dir: t.TempDir(), Progress: func(line string) { t.Log(line) }}
	rec, err := r.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	if len(rec.Loads) != 2 || rec.Loads[1].Machines != 3000 || rec.Loads[1].Apps != 300 {
		t.Fatalf("registries of 200 and 3,000 machines were to be loaded, got %+v", rec.Loads)
	}
	l := rec.Loads[1]
	if l.Parse <= 0 || l.Apply <= 0 || l.Compile <= 0 || l.After.Resident == 0 || l.After.Peak < l.Before.Resident {
		t.Errorf("figures of loading are missing: %+v", l)
	}
	if got := l.PerMachine(); got < 300 || got > 20_000 {
		t.Errorf("a machine takes %.0f octets of heap, which cannot be", got)
	}
	if len(rec.Updates) != 4 {
		t.Errorf("got %d rows of single updates, want 2 kinds in 2 registries", len(rec.Updates))
	}
	for _, u := range rec.Updates {
		if u.Count != 100 || u.Fastest <= 0 || u.Latency.P50 < u.Fastest || u.Latency.P99 < u.Latency.P50 || u.Latency.Max < u.Latency.P99 || u.Objects < 1 {
			t.Errorf("single updates: %+v", u)
		}
	}
	for i, batch := range []int{1, 50} {
		if x := rec.Rates[i]; x.Batch != batch || x.Updates < batch || x.PerSecond() <= 0 {
			t.Errorf("updates in batches of %d: %+v", batch, x)
		}
	}
	states := []State{Idle, Changing, Collecting, Lasting, Idle, Changing}
	if len(rec.Rounds) != len(states) {
		t.Fatalf("got %d rounds, want %v for 2 settings", len(rec.Rounds), states)
	}
	for i, x := range rec.Rounds {
		if x.State != states[i] || x.Queries.Answered == 0 || x.Queries.Wrong > 0 {
			t.Errorf("round %d, to be %s: %+v", i, states[i], x)
		} else if changing := x.State != Idle; changing != (x.Updating != nil) || changing && (x.Updating.Updates == 0 || x.Updating.Latency.P50 <= 0) {
			t.Errorf("round %d, %s: updates %+v", i, x.State, x.Updating)
		}
		if x.State == Collecting && x.GC.Cycles == 0 {
			t.Errorf("round %d was to be one of collections, and has none", i)
		}
	}
	if len(rec.Apps) != 2 || rec.Apps[0].Updates != 300 || rec.Apps[1].Updates != 100 {
		t.Errorf("an app was to be filled with 300 machines and updated 100 times, got %+v", rec.Apps)
	}

	if len(rec.Deletions) != 2 {
		t.Fatalf("got %d deletions, want 2", len(rec.Deletions))
	}
	most, all := rec.Deletions[0], rec.Deletions[1]
	if most.Before != 3000 || most.Left < 200 || most.Left > 400 || all.Before != most.Left || all.Left != 0 {
		t.Errorf("nine of ten machines were to be deleted, then all: %+v, %+v", most, all)
	}
	held := l.After.Heap - l.Before.Heap
	if above := all.After.Heap - min(all.After.Heap, l.Before.Heap); above > held/8 {
		t.Errorf("with all machines deleted the heap is %d octets above that of an empty registry; full it was %d", above, held)
	}

	b, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	var again Record
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	var fresh, read strings.Builder
	if err := rec.WriteMarkdown(&fresh); err != nil {
		t.Fatal(err)
	}
	if err := again.WriteMarkdown(&read); err != nil {
		t.Fatal(err)
	}
	if fresh.String() != read.String() {
		t.Errorf("the section changes when the record is saved and read\n%s\n%s", &fresh, &read)
	}
	for _, want := range []string{"## Scale\n", "### Loading", "### One machine among many", "### Most updates a second", "### Queries while facts change", "### One large app", "### Deletion", "| off/1.5 |"} {
		if !strings.Contains(fresh.String(), want) {
			t.Errorf("the section has no %q", want)
		}
	}
	var text strings.Builder
	if err := rec.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(text.String(), "*`|") || !strings.Contains(text.String(), "3,000") {
		t.Errorf("the text is not for a terminal\n%s", &text)
	}
}

func TestAnUpdateThatIsNotSeenFailsTheRun(t *testing.T) {
	w := loadedWorld(t, 200)
	picks, err := w.picks(10, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := allShown(w.publisher, picks); err != nil {
		t.Fatalf("before any update: %v", err)
	}
	for _, kind := range []Kind{FlipState, MoveAddress} {
		before := picks[0].machine
		picks[0].machine.State = "started"
		picks[0].update(kind) // and never applied
		if err := allShown(w.publisher, picks); err == nil && before.Started() {
			t.Errorf("nobody misses an update of %s that was not applied", kind)
		}
		picks[0].machine = before
	}
}

func TestMachinesOfAppsThatAreAskedForAreNotPicked(t *testing.T) {
	w := loadedWorld(t, 200)
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
		t.Error("there was nothing to pick, and no error")
	}
}

func loadedWorld(t testing.TB, machines int) *world {
	t.Helper()
	plan := smallPlan()
	r := Runner{Plan: plan, Dir: t.TempDir()}
	w, _, err := r.loaded(t.Context(), new(Record), machines)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestPlanFaultsAreAllNamed(t *testing.T) {
	p := Plan{Machines: 10, Smaller: []int{1}, BigApps: []int{1}, Batches: []int{0}}
	err := p.Validate()
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, field := range []string{"machines, apps:", "smaller:", "big-apps:", "updates, app-updates:", "batches:", "rate, query-rate:", "duration, rounds:", "gc:"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("faults do not name %s\n%v", field, err)
		}
	}
	plan := DefaultPlan()
	if err := plan.Validate(); err != nil {
		t.Errorf("the published plan has faults: %v", err)
	}
}

func TestSettingsReadAsTheyAreWritten(t *testing.T) {
	for _, text := range []string{"100", "50", "off/1.3", "100/1.5"} {
		if s, err := ParseSetting(text); err != nil || s.String() != text {
			t.Errorf("%q is read as %+v (%v)", text, s, err)
		}
	}
	for _, text := range []string{"", "off", "0", "-1", "x", "100/1", "100/x", "off/"} {
		if s, err := ParseSetting(text); err == nil {
			t.Errorf("%q is read as %+v", text, s)
		}
	}
}
