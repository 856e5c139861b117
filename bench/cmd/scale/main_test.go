//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/bench/peers"
)

// TestMain is also the process that asks, which the command starts from its own
// executable.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "ask" {
		main()
		return
	}
	os.Exit(m.Run())
}

// small are flags for a run of seconds.
var small = strings.Fields("--machines 500 --apps 50 --smaller 100 --big-apps 100 --app-updates 20 --updates 20 --batches 5 --rate 200 --query-rate 300 --duration 30ms --rounds 1 --lasting 60ms --server-cpu -1 --load-cpu -1 --gc 100")

func TestTheCommandSavesFiguresThatReportReads(t *testing.T) {
	dir := t.TempDir()
	cmd := command()
	var out, progress bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&progress)
	cmd.SetArgs(append([]string{"--out", dir, "--note", "Measured by a test."}, small...))
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	if !strings.HasPrefix(progress.String(), "this takes about ") {
		t.Errorf("the estimate does not come first\n%s", &progress)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("saved %v (%v), want one file", files, err)
	}
	rec, err := peers.Open(files...)
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	if err := rec.WriteReport(&page); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## Scale", "| 500 |", "- Measured by a test."} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page has no %q\n%s", want, &page)
		}
	}
	if !strings.Contains(out.String(), "Queries while facts change") {
		t.Errorf("the tables are not complete\n%s", &out)
	}
}

func TestEstimateMeasuresNothing(t *testing.T) {
	dir := t.TempDir()
	cmd := command()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"--estimate", "--out", dir})
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "about ") || !strings.Contains(out.String(), "of memory") {
		t.Errorf("the estimate is %q", &out)
	}
	if files, _ := os.ReadDir(dir); len(files) > 0 {
		t.Errorf("%v was written", files[0].Name())
	}
}
