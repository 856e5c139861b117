//go:build linux

package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// Host is the machine that a run was on.
type Host struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory uint64 `json:"memory_octets"`
	System string `json:"system"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// DescribeHost returns this machine.
func DescribeHost() Host {
	h := Host{CPU: runtime.GOARCH, Cores: runtime.NumCPU(), Memory: ProcField("/proc/meminfo", "MemTotal:"), Go: runtime.Version()}
	if _, model, ok := strings.Cut(lineOf("/proc/cpuinfo", "model name"), ":"); ok {
		h.CPU = strings.TrimSpace(model)
	}
	_, system, _ := strings.Cut(lineOf("/etc/os-release", "PRETTY_NAME"), "=")
	h.System = strings.Trim(strings.TrimSpace(system), `"`)
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	return h
}

// lineOf returns the rest of the first line of the file that begins with the
// word; "" if there is none.
func lineOf(file, word string) string {
	b, _ := os.ReadFile(file)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, word); ok {
			return rest
		}
	}
	return ""
}

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

// Program returns the path of internaldns: the program, unless that is "". Then it
// is built from the checkout into dir.
func Program(ctx context.Context, program, dir string) (string, error) {
	if program != "" {
		return filepath.Abs(program)
	}
	bin := filepath.Join(dir, "internaldns")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", bin, "github.com/internaldns/internaldns/cmd/internaldns")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/internaldns: %w: %s", err, out)
	}
	return bin, nil
}

// WithoutDirectories returns the arguments of a command with the names of files
// only: their directories say nothing about a measurement.
func WithoutDirectories(args []string) []string {
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
