package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/registry"
)

func TestABackupIsARegistryOfItsOwn(t *testing.T) {
	dir, want := sampleDir(t, 40)
	elsewhere := t.TempDir()
	file := filepath.Join(elsewhere, fileName)
	r, err := Backup(dir, file, nil)
	if err != nil || r.Machines == 0 || r.Leases != 1 {
		t.Fatalf("Backup says %+v, %v", r, err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup has mode %v, %v; want 0600", info.Mode(), err)
	}
	s := serve(t, elsewhere)
	if got := describe(s.store.Snapshot()); got != want {
		t.Errorf("the backup holds\n%swant\n%s", got, want)
	}
	s.put(t, putMachine(99, "started")) // in the copy alone
	if s := load(t, dir); s.has(99) {
		t.Error("a write to the backup is in the source")
	} else {
		s.close()
	}
	// The next backup replaces this one.
	s.stop(t)
	if _, err := Backup(dir, file, nil); err != nil {
		t.Error(err)
	}
	if s := serve(t, elsewhere); s.has(99) {
		t.Error("the second backup did not replace the first")
	}
}

func TestABackupThatFailsLeavesWhatIsThere(t *testing.T) {
	dir, _ := sampleDir(t, 10)
	for _, tt := range []struct{ name, file, want string }{
		{"onto itself", filepath.Join(dir, ".", fileName), "is the database itself"},
		{"onto a directory", t.TempDir(), "is no file"},
		{"into a directory that is not there", filepath.Join(t.TempDir(), "a", "b"), "no such file"},
	} {
		if _, err := Backup(dir, tt.file, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("a backup %s ends with %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := Check(dir, nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, fileName+newSuffix)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is left behind, %v", err)
	}
}

func TestCompactKeepsAllAndGivesRoomBack(t *testing.T) {
	dir, _ := sampleDir(t, 2000)
	s := serve(t, dir)
	var gone []registry.Event
	for n := 100; n < 2000; n++ {
		gone = append(gone, registry.Delete(registry.Key{Kind: registry.KindMachine, Network: network, Name: "web", ID: machine(n, "").ID}))
	}
	s.put(t, gone...)
	want := describe(s.store.Snapshot())
	s.stop(t)
	before, after, err := Compact(dir, nil)
	if err != nil || after.Octets >= before.Octets || before.Index != after.Index {
		t.Errorf("Compact says %+v and %+v, %v", before, after, err)
	}
	s = serve(t, dir)
	if got := describe(s.store.Snapshot()); got != want {
		t.Errorf("afterwards there is\n%swant\n%s", got, want)
	}
}

// The tools refuse a directory on which a server runs, and name its process.
func TestToolsStayOutOfADirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir)
	_, check := Check(dir, nil)
	_, _, compact := Compact(dir, nil)
	_, backup := Backup(dir, filepath.Join(t.TempDir(), "copy"), nil)
	for name, err := range map[string]error{"check": check, "compact": compact, "backup": backup} {
		if err == nil || !strings.Contains(err.Error(), dir+" is in use by ") {
			t.Errorf("%s ends with %v", name, err)
		}
	}
	if !strings.Contains(backup.Error(), "internaldns export") {
		t.Errorf("Backup does not say what to do instead: %v", backup)
	}
}

func TestFilesAreForTheOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data")
	serve(t, dir)
	for path, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, fileName): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
}

func TestWhatAnUnfinishedStartLeftIsCleared(t *testing.T) {
	dir := t.TempDir()
	half := filepath.Join(dir, fileName+newSuffix)
	if err := os.WriteFile(half, []byte("half of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, dir)
	s.put(t, app)
	if _, err := os.Stat(half); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there, %v", err)
	}
}
