package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/internaldns/internaldns/internal/filewatch"
	"github.com/internaldns/internaldns/registry"
)

// A rig is a source that follows a file in a synctest bubble. Time is fake, and so are
// the modification times.
type rig struct {
	t     *testing.T
	path  string
	store *registry.Store
	src   *Source
	log   *observer.ObservedLogs

	commits []*registry.Changes
	stop    func()
}

// inRig calls f in a bubble, with a source that has loaded content.
func inRig(t *testing.T, content string, f func(r *rig)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, filepath.Join(dir, "registry.json"))
		r.put(content)
		if err := r.src.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.run()
		f(r)
		r.stop()
	})
}

func newRig(t *testing.T, path string) *rig {
	r := &rig{t: t, path: path}
	r.store = registry.NewStore(func(_ *registry.Snapshot, c *registry.Changes) { r.commits = append(r.commits, c) })
	core, log := observer.New(zapcore.InfoLevel)
	r.log = log
	r.src = NewSource(path, r.store, zap.New(core))
	return r
}

// run starts Run; r.stop ends it.
func (r *rig) run() {
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.src.Run(ctx) }()
	synctest.Wait()
	r.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("Run returned %v after an orderly stop", err)
		}
	}
}

// put replaces the file by one with that content, in one step.
func (r *rig) put(content string) {
	r.t.Helper()
	next := r.path + ".next"
	r.write(next, content)
	if err := os.Rename(next, r.path); err != nil {
		r.t.Fatal(err)
	}
}

// write writes content into a new file or one that exists.
func (r *rig) write(path, content string) {
	r.t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(content), 0o644), os.Chtimes(path, time.Time{}, time.Now())); err != nil {
		r.t.Fatal(err)
	}
}

// pass waits for d and a millisecond.
func (r *rig) pass(d time.Duration) {
	time.Sleep(d + time.Millisecond)
	synctest.Wait()
}

// settle is the time from a change of the file until it is in effect.
const settle = 2 * filewatch.Interval

// replace replaces the file and waits until the change is in effect.
func (r *rig) replace(content string) {
	r.t.Helper()
	r.put(content)
	r.pass(settle)
}

// machines returns the ids of the machines that are not gone.
func (r *rig) machines() string {
	var ids []string
	s := r.store.Snapshot()
	for n := range s.Networks() {
		for m := range s.MachinesIn(n.Network) {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

func (r *rig) wantMachines(want string) {
	r.t.Helper()
	if got := r.machines(); got != want {
		r.t.Errorf("after %v: machines %q, want %q", time.Since(bubbleStart), got, want)
	}
}

// bubbleStart is when time begins in a bubble.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// wantLog compares what was logged since the last call, as "level: message" or,
// of a fault, "object: field: problem".
func (r *rig) wantLog(want ...string) {
	r.t.Helper()
	var got []string
	for _, e := range r.log.TakeAll() {
		m := e.ContextMap()
		switch {
		case m["problem"] != nil:
			got = append(got, fmt.Sprintf("%v: %v: %v", m["object"], m["field"], m["problem"]))
		case m["network"] != nil:
			got = append(got, fmt.Sprintf("%v: %s (%v: %v of %v)", e.Level, e.Message, m["network"], m["lost"], m["of"]))
		default:
			got = append(got, e.Level.String()+": "+e.Message)
		}
	}
	if !slices.Equal(got, want) {
		r.t.Errorf("logged\n %s\nwant\n %s", strings.Join(got, "\n "), strings.Join(want, "\n "))
	}
}

func (r *rig) wantFailures(want uint64, lastError string) {
	r.t.Helper()
	s := r.src.Status()
	if s.Failures != want || !strings.Contains(s.LastError, lastError) || (lastError == "") != (s.LastError == "") {
		r.t.Errorf("%d failures, the last %q; want %d, the last %q", s.Failures, s.LastError, want, lastError)
	}
}

const (
	applied = "info: registry file applied"
	again   = "info: registry file again as it was applied"
	refused = "error: registry file refused; the facts stay as they are"
)

// network18 returns a registry file with started machines of these ids, in one app of
// fdaa:0:18::/48.
func network18(ids ...string) string { return `{"apps": [` + appOf("web", "fdaa:0:18", ids...) + `]}` }

func appOf(name, network string, ids ...string) string {
	var machines []string
	for _, id := range ids {
		machines = append(machines, fmt.Sprintf(`{"id": "%s", "state": "started", "region": "ams", "private_ip": "%s:%x::2"}`, id, network, id))
	}
	return fmt.Sprintf(`{"name": "%s", "network": "%s::/48", "machines": [%s]}`, name, network, strings.Join(machines, ", "))
}

func TestLoadAppliesTheFile(t *testing.T) {
	inRig(t, network18("a", "b"), func(r *rig) {
		r.wantMachines("a b")
		r.wantLog(applied)
		s := r.src.Status()
		if s.LoadedAt.IsZero() || s.CheckedAt.IsZero() {
			t.Errorf("loaded at %v, checked at %v", s.LoadedAt, s.CheckedAt)
		}
		s.LoadedAt, s.CheckedAt = time.Time{}, time.Time{}
		if want := (filewatch.Status{Loads: 1}); s != want {
			t.Errorf("status\n got %+v\nwant %+v", s, want)
		}
	})
}

func TestLoadReturnsWhatIsWrongAndLogsNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "directory.json"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"empty.json": "", "bad.json": `{"apps": [5, 6]}`, "directory.json": "", "missing.json": "",
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, filepath.Join(dir, name))
			want := map[string]string{
				"empty.json":     "the file is empty",
				"bad.json":       "apps[0]: want an object, got a number\napps[1]: want an object, got a number",
				"directory.json": "is not a regular file",
				"missing.json":   "no such file or directory",
			}[name]
			if strings.HasPrefix(want, "apps") || name == "empty.json" {
				r.put(content)
			}
			err := r.src.Load(t.Context())
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got error %v, want %s", name, err, want)
			}
			r.wantLog()
			r.wantFailures(1, want)
		})
	}
}

func TestChangedFileIsAppliedAsTheDifference(t *testing.T) {
	file := func(x string) string {
		return `{"apps": [` + appOf("web", "fdaa:0:18", "a", "b", x) + `, ` + appOf("pg", "fdaa:0:19", "d", "e") + `]}`
	}
	inRig(t, file("c"), func(r *rig) {
		r.wantLog(applied)
		r.replace(file("f"))
		r.wantMachines("a b d e f")
		r.wantLog(applied)
		if len(r.commits) != 2 {
			t.Fatalf("%d commits, want one for each file", len(r.commits))
		}
		var changed []string
		for _, c := range r.commits[1].Machines {
			if c.Before != nil {
				changed = append(changed, "-"+c.Before.ID)
			}
			if c.After != nil {
				changed = append(changed, "+"+c.After.ID)
			}
		}
		slices.Sort(changed)
		if got := strings.Join(changed, " "); got != "+f -c" {
			t.Errorf("the commit changed machines %q, want +f -c", got)
		}
	})
}

func TestSameContentIsNotAppliedAgain(t *testing.T) {
	inRig(t, network18("a"), func(r *rig) {
		r.wantLog(applied)
		r.replace(network18("a"))
		r.wantLog()
		if len(r.commits) != 1 {
			t.Errorf("%d commits, want 1", len(r.commits))
		}
	})
}

func TestBadFileChangesNothingAndIsLoggedOnce(t *testing.T) {
	const bad = `{"apps": [{"name": "web", "network": "fdaa:0:18::/48", "machines": [{"id": "a", "state": 5}]}, {"name": "pg"}]}`
	said := []string{
		refused,
		`machine "a" of app "web": state: want a string, got a number`,
		`machine "a" of app "web": region: is missing`,
		`machine "a" of app "web": private_ip: is missing`,
		`app "pg": network: is missing, and no machine names it`,
	}
	inRig(t, network18("a", "b"), func(r *rig) {
		r.wantLog(applied)
		r.replace(bad)
		r.wantLog(said...)
		r.wantFailures(1, "want a string, got a number\n")
		r.wantMachines("a b")

		r.replace(bad) // another file, the same content
		r.pass(time.Minute)
		r.wantLog()
		r.wantFailures(1, "want a string, got a number\n")

		r.src.Reload() // is counted, but its faults have been logged
		synctest.Wait()
		r.pass(settle)
		r.wantLog("error: registry file refused as before; the facts stay as they are")
		r.wantFailures(2, "want a string, got a number\n")

		r.replace(``)
		r.wantLog(refused, ": : the file is empty")
		r.wantFailures(3, "the file is empty")
		r.replace(network18("a", "b")[:100])
		r.wantLog(refused, `machines[0] of app "web": : the file is cut off, in line 1 after 100 octets`)
		r.wantFailures(4, "the file is cut off")
		r.wantMachines("a b")

		r.replace(network18("a", "b"))
		r.wantLog(again)
		r.wantFailures(4, "")
		r.replace(network18("a", "b", "c"))
		r.wantLog(applied)
		r.wantMachines("a b c")
	})
}

func TestMissingFileChangesNothing(t *testing.T) {
	inRig(t, network18("a"), func(r *rig) {
		r.wantLog(applied)
		loaded := r.src.Status().CheckedAt
		if err := os.Rename(r.path, r.path+".away"); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Minute)
		r.wantLog(refused)
		r.wantFailures(1, "no such file or directory")
		r.wantMachines("a")
		if got := r.src.Status().CheckedAt; !got.Equal(loaded) {
			t.Errorf("a missing file was checked at %v, after it was last seen at %v", got, loaded)
		}

		if err := os.Rename(r.path+".away", r.path); err != nil {
			t.Fatal(err)
		}
		r.pass(settle)
		r.wantLog(again)
		r.wantFailures(1, "")
		if got := r.src.Status().CheckedAt; !got.After(loaded) {
			t.Error("the file is back and was not checked")
		}
	})
}

func TestCheckedAtFollowsTheClock(t *testing.T) {
	inRig(t, network18("a"), func(r *rig) {
		r.pass(time.Hour)
		if age := time.Since(r.src.Status().CheckedAt); age > filewatch.Interval {
			t.Errorf("a file that does not change was last checked %v ago, want at most %v", age, filewatch.Interval)
		}
		if got := r.src.Status().Loads; got != 1 {
			t.Errorf("%d loads, want 1", got)
		}
	})
}

// Reload applies what the store lacks, though the file has not changed.
func TestReloadAppliesTheSameFileAgain(t *testing.T) {
	inRig(t, network18("a", "b"), func(r *rig) {
		network, _ := registry.ParseNetwork("fdaa:0:18::/48")
		if _, err := r.store.Apply([]registry.Event{registry.Delete(registry.Key{Kind: registry.KindMachine, Network: network, Name: "web", ID: "a"})}); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Minute)
		r.wantMachines("b")
		r.src.Reload()
		r.pass(settle)
		r.wantMachines("a b")
	})
}

func TestRunEndsWhileItWaits(t *testing.T) {
	inRig(t, network18("a", "b", "c"), func(r *rig) {
		r.put(network18("a"))
		r.pass(filewatch.Interval) // waits for the file to stay the same
		r.stop()
		r.run()
		r.pass(settle) // waits for its second look
		r.stop()
		r.wantMachines("a b c")
		r.wantFailures(0, "")
		r.run()
	})
}
