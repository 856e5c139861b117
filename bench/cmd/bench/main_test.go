//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/bench/harness"
)

func TestMain(m *testing.M) {
	harness.RunHelper()
	os.Exit(m.Run())
}

// run runs the command and returns its standard output and standard error.
func run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := command()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), errs.String(), err
}

func TestEstimatesMeasureNothing(t *testing.T) {
	for _, scenario := range []string{"peers", "scale", "keep", "hang"} {
		dir := t.TempDir()
		out, _, err := run(t, scenario, "--estimate", "--out", dir)
		if err != nil || !strings.HasPrefix(out, "about ") {
			t.Errorf("%s: %v: %q", scenario, err, out)
		}
		if files, _ := os.ReadDir(dir); len(files) > 0 {
			t.Errorf("%s wrote %v", scenario, files[0].Name())
		}
	}
}

func TestFaultsOfThePlanAreErrors(t *testing.T) {
	for args, want := range map[string]string{
		"peers --peers nosuch": "nosuch", "scale --gc off --apps 0": "gc: ", "keep --writers 0": "writers", "keep --machines 0 --changes -1": "changes: must be 1 or more, got -1",
		"hang --rounds 0": "rounds", "hang --rate -2 --duration 0s": "duration: must be positive, got 0s", "nosuch": "nosuch", "report nosuch.json": "nosuch.json",
	} {
		if _, stderr, err := run(t, strings.Fields(args)...); err == nil || !strings.Contains(stderr, want) {
			t.Errorf("%s: %v: %q", args, err, stderr)
		}
	}
}

func TestHelpNamesServersPartsAndExamples(t *testing.T) {
	out, _, err := run(t, "peers", "--help")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"echo, internaldns, knot", "sets, costs, tcp, forward, overload", "Examples:", "--rounds", "--out"} {
		if !strings.Contains(out, want) {
			t.Errorf("help lacks %q:\n%s", want, out)
		}
	}
}

// A run prints its figures and saves them; the page has the newest of each
// scenario.
func TestAScenarioSavesFiguresThatReportReads(t *testing.T) {
	dir := t.TempDir()
	small := strings.Fields("--machines 500 --apps 50 --smaller 100 --big-apps 100 --app-updates 20 --updates 20 --batches 5 --rate 200 --query-rate 300 --duration 100ms --rounds 1 --lasting 200ms --gc 100")
	for _, note := range []string{"Measured first.", "Measured again."} {
		out, stderr, err := run(t, append([]string{"scale", "--out", dir, "--note", note}, small...)...)
		if err != nil {
			t.Fatalf("%v\n%s", err, stderr)
		}
		if !strings.Contains(strings.SplitN(stderr, "\n", 2)[0], "this takes about ") {
			t.Errorf("the estimate does not come first\n%s", stderr)
		}
		if !strings.Contains(out, "## Scale") || !strings.Contains(out, "### Queries while facts change") || !strings.Contains(out, "- "+note) {
			t.Errorf("the figures are not complete\n%s", out)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*-scale.json"))
		if err != nil || len(files) != 1 {
			t.Fatalf("saved %v (%v), want one file", files, err)
		}
		if err := os.Rename(files[0], filepath.Join(dir, note)); err != nil { // two runs can be in one second
			t.Fatal(err)
		}
	}
	if _, stderr, err := run(t, "report", "--out", dir, filepath.Join(dir, "Measured again."), filepath.Join(dir, "Measured first.")); err != nil {
		t.Fatal(err, stderr)
	}
	page, err := os.ReadFile(filepath.Join(dir, "RESULTS.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# Results\n", "## Scale", "| 500 |", "- Measured again."} {
		if strings.Count(string(page), want) != 1 && want != "| 500 |" || !strings.Contains(string(page), want) {
			t.Errorf("the page has no %q, or several\n%s", want, page)
		}
	}
	if strings.Contains(string(page), "Measured first.") {
		t.Error("the page has figures of an older run")
	}
}
