package disk

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/format1.db again; never do so after a version was released with it")

// A database that an older version wrote is read: its records, and the objects in
// them, which need the dictionary of that version. format1.txt describes what must be
// in it.
func TestADatabaseOfFormat1IsReadForEver(t *testing.T) {
	database, text := filepath.Join("testdata", "format1.db"), filepath.Join("testdata", "format1.txt")
	if *update {
		dir, want := sampleDir(t, 10)
		if _, err := Backup(dir, database, nil); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(text, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	octets, err := os.ReadFile(database)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(text)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeDir(t, dir, octets)
	if _, err := Check(dir, nil); err != nil {
		t.Error(err)
	}
	s := load(t, dir)
	defer s.close()
	if got := describe(s.store.Snapshot()); got != string(want) {
		t.Errorf("it holds\n%swant\n%s", got, want)
	}
}
