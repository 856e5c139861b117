package dnsload

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFilesAreWrittenAndNotEmpty(t *testing.T) {
	dir := t.TempDir()
	args := []string{"--machines", "100", "--count", "50"}
	for _, kind := range []string{"registry", "master", "queries"} {
		args = append(args, "--"+kind, filepath.Join(dir, kind))
	}
	cmd := datasetCommand("bench dataset")
	cmd.SetArgs(args)
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"registry", "master", "queries"} {
		if info, err := os.Stat(filepath.Join(dir, kind)); err != nil || info.Size() < 1000 {
			t.Errorf("%s: %v, %v", kind, info, err)
		}
	}
}

func TestFaultyFlagsOfADatasetAreAllNamedAndNoFileIsWritten(t *testing.T) {
	dir := t.TempDir()
	for args, want := range map[string]string{
		"--network -1":                 "network: ",
		"--network 1":                  "network: ",
		"--count 0 --query-skew 4":     "count: |skew: ",
		"--stopped 2 --nxdomain 2":     "stopped, gone: |nxdomain: ",
		"--networks 0 --machines -100": "networks: |machines: ",
	} {
		cmd := datasetCommand("bench dataset")
		cmd.SetOut(t.Output())
		cmd.SetErr(t.Output())
		flags := strings.Fields(args)
		for _, kind := range []string{"registry", "master", "queries"} {
			flags = append(flags, "--"+kind, filepath.Join(dir, kind))
		}
		cmd.SetArgs(flags)
		err := cmd.Execute()
		for _, fault := range strings.Split(want, "|") {
			if err == nil || !strings.Contains("\n"+err.Error(), "\n"+fault) {
				t.Errorf("%s: %v, want %s", args, err, fault)
			}
		}
		if err != nil && strings.Count(err.Error(), "\n") != strings.Count(want, "|") {
			t.Errorf("%s: %v, want only %s", args, err, want)
		}
		if files, _ := os.ReadDir(dir); len(files) > 0 {
			t.Errorf("%s: %s was written", args, files[0].Name())
		}
	}
}
