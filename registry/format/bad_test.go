package format

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/registry"
)

var update = flag.Bool("update", false, "write the messages in testdata/bad as they are now")

// Every file in testdata/bad is refused with the message in the .txt beside it.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, path := range files {
		if filepath.Ext(path) == ".txt" {
			continue
		}
		count++
		t.Run(filepath.Base(path), func(t *testing.T) {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			facts, err := Parse(path, bytes.NewReader(content), nil)
			if err == nil {
				t.Fatalf("accepted, as %+v", facts)
			}
			if _, ok := err.(registry.Faults); !ok {
				t.Errorf("got an error of type %T, want registry.Faults", err)
			}
			if facts != nil {
				t.Errorf("got facts beside the faults: %+v", facts)
			}
			golden := path + ".txt"
			got := err.Error() + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("message\n got %swant %s", indent(got), indent(string(want)))
			}
		})
	}
	if count < 35 {
		t.Errorf("found %d bad files, want at least 35", count)
	}
}

func indent(s string) string { return strings.ReplaceAll(s, "\n", "\n     ") }
