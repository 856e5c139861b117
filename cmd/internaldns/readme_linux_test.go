package main

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

const readmePath = "../../README.md"

// Every command that the README shows prints what the README shows, if they run in its order.
// The sample, which the first section serves, is served during all sections.
func TestWhatTheReadmeShowsIsSo(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	for _, program := range []string{"dig", "make", "go"} {
		if _, err := exec.LookPath(program); err != nil {
			lacks(t, "there is no "+program+" here")
		}
	}
	// The README expects the reader to have done this.
	if out, err := exec.Command("ip", "-6", "route", "del", "local", "fdaa::/16", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	text := readme(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())

	stop := func() {}
	defer func() { stop() }()
	began, shown := "", 0
	for _, b := range blocks(text) {
		if b.section != began {
			began = b.section
			stop()
			stop = func() {}
			if b.section != "Run" {
				stop = serveLine(t, "internaldns serve")
			}
		}
		for _, c := range b.commands() {
			shown++
			line := strings.TrimSuffix(c.line, " &")
			switch {
			case strings.HasPrefix(line, "go run "):
				sameAsMake(t, root, line)
				t.Chdir(root)
				stop = serveLine(t, line)
				t.Chdir(t.TempDir())
			case strings.HasPrefix(line, "internaldns serve"):
				stop()
				stop = serveLine(t, line)
			default:
				out, err := exec.Command("sh", "-c", line).CombinedOutput()
				if err != nil || c.output != "" && c.output != string(out) {
					t.Errorf("$ %s (%v)\n got\n%swant\n%s", line, err, out, c.output)
				}
				if strings.Contains(line, " bench ") && !regexp.MustCompile(`(?m)^ +NOERROR +[1-9]`).Match(out) {
					t.Errorf("$ %s\nhas no answer to show:\n%s", line, out)
				}
			}
		}
		if b.language == "yaml" {
			write(t, "shop.yaml", b.text)
			write(t, "names.txt", "web.internal AAAA\n")
		}
	}
	if shown < 10 {
		t.Errorf("the README shows %d commands; does this test still find them?", shown)
	}
}

// sameAsMake fails unless "make run" runs the command of a line, as its comment says.
func sameAsMake(t *testing.T, root, line string) {
	t.Helper()
	does, other, ok := strings.Cut(line, "# or: ")
	if !ok {
		t.Fatalf("%s\nnames no other way to do it", line)
	}
	words := append(strings.Fields(other), "-n", "-s", "-C", root)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if got, want := strings.TrimSpace(string(out)), strings.TrimSpace(does); err != nil || got != want {
		t.Errorf("%s does %s (%v), want %s", other, got, err, want)
	}
}

// The names in each row of the README's table exist in the sample, for its first machine.
func TestEveryNameOfTheReadmeIsAnswered(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	text := readme(t)
	t.Chdir(t.TempDir())
	write(t, "org.json", string(sampleJSON))
	defer serveLine(t, `internaldns serve --registry org.json --listen "[fdaa::3]:53" --admin off`)()

	reverse, err := dns.ReverseAddr(machineAddr)
	if err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer(
		"<app>", "web", "<region>", "ams", "<group>", "app", "<value>", "primary", "<key>", "role", "<N>", "2",
		"<id>", "148e21dad76789", "<peer>", "my-peer", "….a.a.d.f.ip6.arpa", reverse,
	)
	rows := regexp.MustCompile("(?m)^\\| (`.*`) \\| (.*) \\|$").FindAllStringSubmatch(text, -1)
	if len(rows) < 12 {
		t.Errorf("found %d rows of names in the README's table; does this test still find them?", len(rows))
	}
	for _, row := range rows {
		answer := row[2]
		types := regexp.MustCompile(`\b(AAAA|TXT|PTR)\b`).FindAllString(answer, -1)
		if strings.HasPrefix(answer, "…") || len(types) == 0 {
			types = append(types, "AAAA") // as in the rows before
		}
		var names []string
		for _, code := range quoted(row[1]) {
			name := fill.Replace(code)
			if strings.Contains(name, "<") {
				t.Errorf("%s: give a value of sample/org.json to its placeholder in this test", name)
			}
			names = append(names, name)
			if slices.Contains(quoted(answer), "all.") {
				names = append(names, "all."+name)
			}
		}
		answered := make(map[string]bool) // by name and by type
		for _, name := range names {
			for _, qtype := range types {
				out, err := exec.Command("internaldns", "dig", "@fdaa::3", "--from", machineAddr, "--short", qtype, name).Output()
				if err != nil {
					t.Fatalf("%s %s: %v", qtype, name, err)
				}
				if len(out) > 0 {
					answered[name], answered[qtype] = true, true
				}
			}
		}
		for _, what := range append(names, types...) {
			if !answered[what] {
				t.Errorf("%s\n%s has no answer, of %v for %v", row[0], what, types, names)
			}
		}
	}
}

// All metrics in the README exist.
func TestWhatTheReadmeSaysToWatchIsThere(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	_, watch, _ := strings.Cut(readme(t), "\n## Watch\n")
	watch, _, _ = strings.Cut(watch, "\n## ")
	defer serveLine(t, "internaldns serve")()
	if out, err := exec.Command("internaldns", "dig", "web.internal").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	base, scraped, metrics := "", "", 0
	for _, code := range quoted(watch) {
		switch {
		case strings.HasPrefix(code, "http://"):
			base = code
		case strings.HasPrefix(code, "/"):
			resp, err := http.Get(base + code)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%s%s: %s, %v", base, code, resp.Status, err)
			}
			if code == "/metrics" {
				scraped = string(body)
			}
		case strings.HasPrefix(code, "internaldns_"):
			metrics++
			if !strings.Contains(scraped, "# TYPE "+code+" ") {
				t.Errorf("there is no metric %s", code)
			}
		}
	}
	if metrics == 0 {
		t.Error("the README names no metric; does this test still find them?")
	}
}

// The jq command of the README makes a registry file from a list of machines. In YAML's flow
// style, the same expression is such a file.
func TestTheRegistryThatTheReadmeHasJqMakeIsOne(t *testing.T) {
	shape := regexp.MustCompile("`jq '(.*)'`").FindStringSubmatch(readme(t))
	if shape == nil {
		t.Fatal("the README shows no jq; does this test still find it?")
	}
	const machines = `[{"id": "148e21dad76789", "state": "started", "region": "ams", "private_ip": "fdaa:0:18:a7b:7d:f066:b83b:2", "cordoned": false}]`
	path := filepath.Join(t.TempDir(), "made.yaml")
	write(t, path, strings.Replace(shape[1], ": .}", ": "+machines+"}", 1))
	if found, warnings, err := checkFile(path); err != nil || len(warnings) > 0 || !strings.Contains(found, "1 machine (1 started)") {
		t.Errorf("%s\nmakes %s, %v, %v", shape[0], found, warnings, err)
	}
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(readmePath)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// quoted returns the texts between backquotes on one line.
func quoted(text string) []string {
	var all []string
	for _, m := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// A block is a code block of Markdown, between lines of ```.
type block struct {
	section  string // the heading above it
	language string
	text     string
}

func blocks(text string) []block {
	var all []block
	section, inside := "", false
	for line := range strings.Lines(text) {
		language, fence := strings.CutPrefix(line, "```")
		last := len(all) - 1
		switch {
		case fence && inside:
			inside = false
		case fence:
			inside = true
			all = append(all, block{section: section, language: strings.TrimSpace(language)})
		case inside:
			all[last].text += line
		case strings.HasPrefix(line, "## "):
			section = strings.TrimSpace(line[3:])
		}
	}
	return all
}

// A shown is a command and its output, "" if the README shows none.
type shown struct{ line, output string }

// commands returns the commands of a block: the lines after a prompt in a console, or every
// line of a shell script.
func (b block) commands() []shown {
	var all []shown
	for line := range strings.Lines(b.text) {
		typed, prompt := strings.CutPrefix(line, "$ ")
		switch {
		case b.language == "sh" || b.language == "console" && prompt:
			all = append(all, shown{line: strings.TrimSuffix(typed, "\n")})
		case b.language == "console":
			all[len(all)-1].output += line
		}
	}
	return all
}
