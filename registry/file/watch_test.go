package file

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
)

// patience is how long a test waits for an event, which takes far less.
const patience = 20 * time.Second

// must fails the test on any error of a step.
func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func put(t testing.TB, path, content string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

// configMap fills a directory as Kubernetes does for a ConfigMap: the file is a link
// through ..data, which is a link to the directory of one version.
func configMap(t testing.TB, dir string) {
	t.Helper()
	must(t, os.Mkdir(filepath.Join(dir, "..v1"), 0o755), os.Symlink("..v1", filepath.Join(dir, "..data")),
		os.Symlink(filepath.Join("..data", "registry.json"), filepath.Join(dir, "registry.json")))
	put(t, filepath.Join(dir, "..v1", "registry.json"), "1")
}

// swap replaces the version of a ConfigMap in the way of Kubernetes.
func swap(t testing.TB, dir, content string) {
	t.Helper()
	must(t, os.Mkdir(filepath.Join(dir, "..v2"), 0o755))
	put(t, filepath.Join(dir, "..v2", "registry.json"), content)
	must(t, os.Symlink("..v2", filepath.Join(dir, "..data_tmp")),
		os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")),
		os.RemoveAll(filepath.Join(dir, "..v1")))
}

// All steps on a real file in real time: load, follow, read, apply.
func TestRunAppliesTheNextVersionOfAConfigMap(t *testing.T) {
	dir := t.TempDir()
	configMap(t, dir)
	put(t, filepath.Join(dir, "registry.json"), network18("a"))
	commits := make(chan *registry.Snapshot, 10)
	store := registry.NewStore(func(s *registry.Snapshot, _ *registry.Changes) { commits <- s })
	s := NewSource(filepath.Join(dir, "registry.json"), store, zap.NewNop())
	must(t, s.Load(t.Context()))
	<-commits

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	swap(t, dir, network18("a", "b"))
	select {
	case c := <-commits:
		if c.Machine("b") == nil {
			t.Error("the machine of the next version is not there")
		}
	case <-time.After(patience):
		t.Error("the next version was not applied")
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run returned %v after an orderly stop", err)
	}
}
