//go:build linux

package keep

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What is measured is right, whatever it costs: every write is acknowledged, and
// on the server that took it the first answer shows it.
func TestASmallRunMeasuresEverythingThatIsInstalled(t *testing.T) {
	program := filepath.Join(t.TempDir(), "internaldns")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "../../cmd/internaldns").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := DefaultPlan()
	p.Program, p.Machines, p.Writers, p.Duration, p.Changes = program, 20, []int{1, 4}, 50*time.Millisecond, 20
	r, err := p.Run(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	stores := 2
	if r.Missing != "" {
		stores = 1
	}
	if len(r.Rates) != 2*stores || len(r.Visible) != 2*stores-1 {
		t.Fatalf("%d rates and %d ways to the answers, of %d stores", len(r.Rates), len(r.Visible), stores)
	}
	for _, x := range r.Rates {
		if x.Second <= 0 || x.P50 <= 0 || x.P99 < x.P50 {
			t.Errorf("%+v", x)
		}
	}
	for _, v := range r.Visible {
		if v.Where == "the same server" && v.Late != 0 {
			t.Errorf("with %s, %d of %d acknowledged changes were not in the first answer", v.Store, v.Late, v.Of)
		}
	}
	var b bytes.Buffer
	if err := r.WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## A registry that is kept", "| disk | 4 |", "| disk | the same server |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}
