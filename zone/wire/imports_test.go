package wire

import (
	"os/exec"
	"strings"
	"testing"
)

// The package depends on little of the standard library, and nothing else.
func TestDependsOnTheStandardLibraryWithoutFmt(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command to list dependencies with")
	}
	out, err := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}} {{.Standard}}", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	deps := strings.Split(strings.TrimSpace(string(out)), "\n")
	self := deps[len(deps)-1] // dependencies come first
	if !strings.Contains(self, "/zone/wire ") {
		t.Fatalf("go list ends with %q, want this package", self)
	}
	for _, dep := range deps[:len(deps)-1] {
		path, standard, _ := strings.Cut(dep, " ")
		if standard != "true" || path == "fmt" {
			t.Errorf("zone/wire depends on %s", path)
		}
	}
}
