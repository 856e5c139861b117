// Package checkout tells a benchmark's command where it was started from, for the
// records that it writes.
package checkout

import (
	"context"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// Root returns the directory of the checkout that the working directory is in.
func Root(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/internaldns/internaldns").Output()
	return strings.TrimSpace(string(out)), err
}

// Commit returns the commit that the checkout is at, or else the one that the
// program was built from, or "".
func Commit(ctx context.Context) string {
	if root, err := Root(ctx); err == nil {
		cmd := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD")
		cmd.Dir = root
		if out, err := cmd.Output(); err == nil {
			return strings.TrimSpace(string(out))
		}
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return ""
}

// WithoutPaths returns arguments of a command without their directories: where
// things lie on one machine is of no use on another.
func WithoutPaths(args []string) []string {
	var out []string
	for _, a := range args {
		if flag, path, ok := strings.Cut(a, "="); ok && filepath.IsAbs(path) {
			a = flag + "=" + filepath.Base(path)
		} else if filepath.IsAbs(a) {
			a = filepath.Base(a)
		}
		out = append(out, a)
	}
	return out
}
