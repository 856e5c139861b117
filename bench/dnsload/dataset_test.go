package dnsload

import (
	"os"
	"path/filepath"
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
