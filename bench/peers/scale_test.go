//go:build linux

package peers

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/internaldns/internaldns/bench/scale"
)

// Figures of cmd/scale come in files of their own, before or after those of the
// servers: the page has both, and its head is that of the servers.
func TestScaleIsASectionBesideTheServers(t *testing.T) {
	dir := t.TempDir()
	save := func(r *Record, name string) string {
		t.Helper()
		r.Date = r.Date.Add(time.Duration(len(name)) * time.Hour) // names of files are times
		path, err := r.Save(dir)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	servers := sample()
	other := *servers
	other.Series, other.Overload, other.Servers, other.Command, other.Commit = nil, nil, nil, "", ""
	other.Took = time.Hour
	other.Scale = &scale.Record{Date: servers.Date, Commit: "cafe123", Plan: scale.DefaultPlan(), Loads: []scale.Load{{Machines: 4711, Parse: time.Second}}}
	a, b := save(servers, "1"), save(&other, "22")
	for _, paths := range [][]string{{a, b}, {b, a}} {
		rec, err := Open(paths...)
		if err != nil {
			t.Fatal(err)
		}
		var page bytes.Buffer
		if err := rec.WriteReport(&page); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"## Scale", "commit cafe123", "| 4,711 |", "| commit | " + servers.Commit + " |", "`" + servers.Command + "`", "## UDP, 2,000 machines"} {
			if n := strings.Count(page.String(), want); n != 1 {
				t.Errorf("%v: the page has %q %d times, want once", paths, want, n)
			}
		}
		if rec.Took != servers.Took {
			t.Errorf("%v: the head of the page is not that of the servers\n%s", paths, &page)
		}
	}
}
