//go:build linux

package harness

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestCommandsAreShownWithoutDirectories(t *testing.T) {
	for in, want := range map[string]string{
		"--rounds 3 --out=/a/b /c/d.json":                          "--rounds 3 --out=b d.json",
		"--machines 500 --out /home/x/results --program=/home/x":   "--machines 500 --out results --program=x",
		"--note a=b --gc 100/1.2 --crime=../scene --peers=echo,ns": "--note a=b --gc 100/1.2 --crime=../scene --peers=echo,ns",
		"/opt/x/internaldns serve --registry /tmp/a/registry.json --client 127.0.0.0/8=fdaa:0:18::/48,ams --config-dir=/tmp/a/pdns": "internaldns serve --registry registry.json --client 127.0.0.0/8=fdaa:0:18::/48,ams --config-dir=pdns",
	} {
		if got := strings.Join(WithoutDirectories(strings.Fields(in)), " "); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}

func TestTheCheckoutIsTheOneAroundUs(t *testing.T) {
	root, err := Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "bench", "harness", "host.go")); err != nil {
		t.Error(err)
	}
	if got := Commit(t.Context()); !regexp.MustCompile(`^([0-9a-f]{7,40})?$`).MatchString(got) {
		t.Errorf("the commit is %q", got)
	}
}
