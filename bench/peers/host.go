//go:build linux

package peers

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// DescribeHost returns what the kernel says of the machine.
func DescribeHost() Host {
	h := Host{CPU: runtime.GOARCH, Cores: runtime.NumCPU(), Memory: kilobytes("/proc/meminfo", "MemTotal:") << 10, Go: runtime.Version()}
	if model := lineOf("/proc/cpuinfo", "model name", ":"); model != "" {
		h.CPU = model
	}
	h.System = strings.Trim(lineOf("/etc/os-release", "PRETTY_NAME", "="), `"`)
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	return h
}

// lineOf returns what stands behind the separator in the line of the file that
// begins with the word.
func lineOf(file, word, separator string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, word); ok {
			_, value, _ := strings.Cut(rest, separator)
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// moduleVersion returns the version of a module that this program is built with.
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	return ""
}
