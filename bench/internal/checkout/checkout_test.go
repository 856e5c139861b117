package checkout

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestDirectoriesAreLeftOutOfTheCommand(t *testing.T) {
	for in, want := range map[string]string{
		"--rounds 3 --out=/a/b /c/d.json":                          "--rounds 3 --out=b d.json",
		"--machines 500 --out /home/x/results --profiles=/home/x":  "--machines 500 --out results --profiles=x",
		"--note a=b --gc 100/1.2 --crime=../scene --peers=echo,ns": "--note a=b --gc 100/1.2 --crime=../scene --peers=echo,ns",
	} {
		if got := strings.Join(WithoutPaths(strings.Fields(in)), " "); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}

func TestTheCheckoutIsTheOneAroundUs(t *testing.T) {
	root, err := Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "bench", "internal", "checkout", "checkout.go")); err != nil {
		t.Error(err)
	}
	if got := Commit(t.Context()); !regexp.MustCompile(`^([0-9a-f]{7,40})?$`).MatchString(got) {
		t.Errorf("the commit is %q", got)
	}
}
