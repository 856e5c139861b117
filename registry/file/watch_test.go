package file

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
)

// patience is how long a test waits for what must happen: far longer than it
// takes.
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

// configMap lays a directory out as Kubernetes mounts a ConfigMap: the file is a
// link through ..data, which is a link to the directory of one version.
func configMap(t testing.TB, dir string) {
	t.Helper()
	must(t, os.Mkdir(filepath.Join(dir, "..v1"), 0o755), os.Symlink("..v1", filepath.Join(dir, "..data")),
		os.Symlink(filepath.Join("..data", "registry.json"), filepath.Join(dir, "registry.json")))
	put(t, filepath.Join(dir, "..v1", "registry.json"), "1")
}

// swap gives a ConfigMap its second version, as Kubernetes does it.
func swap(t testing.TB, dir, content string) {
	t.Helper()
	must(t, os.Mkdir(filepath.Join(dir, "..v2"), 0o755))
	put(t, filepath.Join(dir, "..v2", "registry.json"), content)
	must(t, os.Symlink("..v2", filepath.Join(dir, "..data_tmp")),
		os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")),
		os.RemoveAll(filepath.Join(dir, "..v1")))
}

func TestWatchSeesChange(t *testing.T) {
	plain := func(t testing.TB, dir string) { put(t, filepath.Join(dir, "registry.json"), "1") }
	for _, tt := range []struct {
		name           string
		before, change func(t testing.TB, dir string)
	}{
		{"written in place", plain, func(t testing.TB, dir string) { put(t, filepath.Join(dir, "registry.json"), "2") }},
		{"another renamed over it", plain, func(t testing.TB, dir string) {
			put(t, filepath.Join(dir, "next"), "2")
			must(t, os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "registry.json")))
		}},
		{"removed", plain, func(t testing.TB, dir string) { must(t, os.Remove(filepath.Join(dir, "registry.json"))) }},
		{"made", func(testing.TB, string) {}, plain},
		{"a ConfigMap's next version", configMap, func(t testing.TB, dir string) { swap(t, dir, "2") }},
		{"a link to it changed", func(t testing.TB, dir string) {
			plain(t, dir)
			must(t, os.Rename(filepath.Join(dir, "registry.json"), filepath.Join(dir, "a")), os.Symlink("a", filepath.Join(dir, "registry.json")))
		}, func(t testing.TB, dir string) {
			must(t, os.Remove(filepath.Join(dir, "registry.json")), os.Symlink("b", filepath.Join(dir, "registry.json")))
		}},
		{"written behind a link", func(t testing.TB, dir string) {
			must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
			put(t, filepath.Join(dir, "sub", "a"), "1")
			must(t, os.Symlink(filepath.Join(dir, "sub", "a"), filepath.Join(dir, "registry.json")))
		}, func(t testing.TB, dir string) { put(t, filepath.Join(dir, "sub", "a"), "2") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			tt.before(t, dir)
			w, err := watchFile(filepath.Join(dir, "registry.json"))
			must(t, err)
			defer w.close()
			w.arm()
			tt.change(t, dir)
			select {
			case <-w.changed():
			case <-time.After(patience):
				t.Error("not seen")
			}
		})
	}
}

// After a change of links the watch must be on the new way, not the old one.
func TestWatchFollowsWhereLinksLeadNow(t *testing.T) {
	dir := t.TempDir()
	configMap(t, dir)
	w, err := watchFile(filepath.Join(dir, "registry.json"))
	must(t, err)
	defer w.close()
	w.arm()
	swap(t, dir, "2")
	<-w.changed()
	w.arm()
	put(t, filepath.Join(dir, "..v2", "registry.json"), "3")
	select {
	case <-w.changed():
	case <-time.After(patience):
		t.Error("a change behind the new link was not seen")
	}
}

func TestEntriesTo(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	at := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	must(t, os.MkdirAll(at("real", "deep"), 0o755), os.Symlink("real", at("dirlink")), os.Symlink("loop2", at("loop1")),
		os.Symlink("loop1", at("loop2")), os.Symlink("../real/./file", at("real", "up")), os.Symlink(at("real", "file"), at("absolute")),
		os.Symlink("nowhere", at("dangling")), os.Symlink("deep/../file", at("real", "around")))
	put(t, at("real", "file"), "")
	for _, tt := range []struct {
		path string
		want []string
	}{
		{"real/file", []string{"real/file"}},
		{"dirlink/file", []string{"dirlink", "real/file"}},
		{"dirlink/up", []string{"dirlink", "real/up", "real/file"}},
		{"real/around", []string{"real/around", "real/file"}},
		{"absolute", []string{"absolute", "real/file"}},
		{"dangling", []string{"dangling", "nowhere"}},
		{"missing", []string{"missing"}},
		{"missing/below/it", []string{"missing"}},
		{"real/file/below", []string{"real/file/below"}},
	} {
		got := entriesTo(at(tt.path))
		for i := range got {
			got[i] = strings.TrimPrefix(got[i], dir+"/")
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("entries to %s are %q, want %q", tt.path, got, tt.want)
		}
	}
	if got := len(entriesTo(at("loop1"))); got != maxLinks+1 {
		t.Errorf("a loop of links gives %d entries, want it given up after %d", got, maxLinks)
	}
}

// The whole of it, on a real file in real time: load, watch, read, apply.
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
