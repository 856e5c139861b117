package main

import (
	"bufio"
	"bytes"
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
)

// A shell runs every example of every help text, unchanged. The test makes the files and the
// servers that the examples need.
func TestEveryExampleInTheHelpRuns(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	dir := t.TempDir()
	config, err := os.ReadFile("sample/internaldns.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"org.json": sampleJSON, "internaldns.yaml": config, "names.txt": []byte("web.internal AAAA\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	t.Setenv("GORACE", "atexit_sleep_ms=0")

	root := new(program).root()
	const withAPI = "internaldns serve --data d --registry org.json --seed --api 127.0.0.1:4280 --api-local --listen 127.0.0.1:5399 --admin off"
	for _, cmd := range append(root.Commands(), root) {
		lines := examples(cmd)
		if len(lines) == 0 {
			t.Errorf("the help of %s has no example", cmd.Name())
		}
		for _, line := range lines {
			t.Run(line, func(t *testing.T) {
				if serves(line) {
					serveLine(t, line)()
					return
				}
				if strings.Contains(line, " dig ") || strings.Contains(line, " bench ") || strings.Contains(line, " status") || strings.Contains(line, " flush ") {
					defer serveLine(t, "internaldns serve")()
					defer serveLine(t, `internaldns serve --registry org.json --listen "[fdaa::3]:53" --admin off`)()
				}
				switch name := cmd.Name(); {
				case cmd.GroupID == "change" || strings.Contains(line, "internaldns export"):
					defer serveLine(t, withAPI)()
				case name == "data": // while no server uses it
					serveLine(t, withAPI)()
				}
				runLine(t, line)
			})
		}
		// The examples of its subcommands begin with the sample unchanged.
		t.Run(cmd.Name(), func(t *testing.T) {
			if !cmd.HasSubCommands() || cmd == root || cmd.Name() == "completion" {
				return
			}
			t.Chdir(t.TempDir())
			write(t, "org.json", string(sampleJSON))
			stop := serveLine(t, withAPI)
			if cmd.Name() == "data" {
				stop()
			} else {
				defer stop()
			}
			for _, verb := range inOrder(cmd.Commands()) {
				lines := examples(verb)
				if len(lines) == 0 {
					t.Errorf("the help of %s has no example", verb.CommandPath())
				}
				for _, line := range lines {
					runLine(t, line)
				}
			}
		})
	}
}

// inOrder returns the commands in an order in which the objects that they need exist: removals
// come last.
func inOrder(commands []*cobra.Command) []*cobra.Command {
	return slices.SortedStableFunc(slices.Values(commands), func(a, b *cobra.Command) int {
		return cmp.Compare(strings.Count(a.Name(), "rm"), strings.Count(b.Name(), "rm"))
	})
}

// runLine runs a line, which must print something.
func runLine(t *testing.T, line string) {
	t.Helper()
	out, err := exec.Command("sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	for _, bad := range []string{"REFUSED", "NXDOMAIN", "SERVFAIL", "ANSWER: 0", "wrong:"} {
		if strings.Contains(string(out), bad) && !strings.Contains(line, "vault") {
			t.Errorf("%s\nshould have an answer to show, got\n%s", line, out)
		}
	}
}

func serves(line string) bool { return strings.HasPrefix(line, "internaldns serve") }

// examples returns the commands in the examples of cmd.
func examples(cmd *cobra.Command) []string {
	var lines []string
	for line := range strings.Lines(cmd.Example) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

// serveLine runs a line that serves, and returns when the server is ready. The returned
// function stops the server, and fails the test if its exit status is not 0.
func serveLine(t *testing.T, line string) (stop func()) {
	t.Helper()
	cmd := exec.Command("sh", "-c", "exec "+line)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	lines := bufio.NewScanner(stderr)
	serving := false
	for !serving && lines.Scan() {
		log.WriteString(lines.Text() + "\n")
		serving = strings.Contains(lines.Text(), `"msg":"serving"`)
	}
	if !serving {
		t.Fatalf("%s\nended: %v\n%s", line, cmd.Wait(), log.String())
	}
	return func() {
		t.Helper()
		// As Ctrl-C does: "go run" waits for its program to end, and then fails.
		syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		for lines.Scan() {
			log.WriteString(lines.Text() + "\n")
		}
		if !strings.Contains(log.String(), `"msg":"stopping"`) {
			t.Errorf("%s\ndid not stop in order:\n%s", line, log.String())
		}
		if err := cmd.Wait(); err != nil && !strings.HasPrefix(line, "go run ") {
			t.Errorf("%s\nended: %v\n%s", line, err, log.String())
		}
	}
}
