//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/internaldns/internaldns/bench/load"
	"github.com/internaldns/internaldns/bench/peers"
)

func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := command()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestTheEstimateIsPrintedWithoutMeasuring(t *testing.T) {
	out, err := run(t, "--estimate", "--parts", "sets", "--sets", "2000", "--rounds", "1", "--peers", "echo")
	if err != nil || !strings.HasPrefix(out, "about ") {
		t.Errorf("%v: %q", err, out)
	}
}

func TestFaultsOfThePlanAreErrors(t *testing.T) {
	if out, err := run(t, "--peers", "nobody"); err == nil || !strings.Contains(out, "nobody") {
		t.Errorf("%v: %q", err, out)
	}
}

func TestHelpNamesServersPartsAndExamples(t *testing.T) {
	out, err := run(t, "--help")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range append(append(peers.Names(), peers.Parts()...), "Examples:", "--rounds") {
		if !strings.Contains(out, want) {
			t.Errorf("help lacks %q", want)
		}
	}
}

func TestPageAndChartAreWrittenFromSavedFigures(t *testing.T) {
	dir := t.TempDir()
	rec := peers.Record{Date: time.Unix(0, 0), Series: []peers.Series{{
		Key: "udp-2000", Machines: 2000, Started: []peers.Started{{Peer: "echo"}},
		Rounds: []peers.Measurement{{Peer: "echo", CPU: time.Second, Peak: load.Result{Elapsed: time.Second, Counts: load.Counts{Received: 1000}}}},
	}}}
	path, err := rec.Save(dir)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, "report", "--out", dir, path); err != nil {
		t.Fatal(err, out)
	}
	for _, name := range []string{"RESULTS.md", "results.svg"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() < 500 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
}
