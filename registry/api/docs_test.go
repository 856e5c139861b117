package api

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The commands of docs/api.md, in its order, print what it shows. … matches any text.
func TestTheCommandsOfTheDocumentPrintWhatItShows(t *testing.T) {
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	commands := 0
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for _, command := range strings.Split("\n"+block[1], "\n$ ")[1:] {
			commands++
			line, want, _ := strings.Cut(command, "\n")
			got := w.curl(t, line)
			want = strings.TrimSuffix(strings.ReplaceAll(want, "…", "«.*»"), "\n")
			if !matches(want, strings.TrimSuffix(got, "\n")) {
				t.Errorf("$ %s\n got %s\nwant %s", line, got, want)
			}
		}
	}
	if commands < 15 {
		t.Errorf("found %d commands; does this test still find them?", commands)
	}
}

// docs/api.md lists which of Fly's routes are served, and which are not.
func TestTheDocumentListsWhichOfFlysRoutesAreServed(t *testing.T) {
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, lists, _ := strings.Cut(string(text), "These of Fly's routes are served:")
	yes, no, _ := strings.Cut(lists, "These are not, because")
	listed := func(text string) (list []string) {
		for _, line := range regexp.MustCompile(`(?m)^([A-Z ]+)(/\S+)$`).FindAllStringSubmatch(text, -1) {
			for method := range strings.FieldsSeq(line[1]) {
				list = append(list, method+" "+line[2])
			}
		}
		return list
	}
	served := listed(yes)
	for i := range routes {
		if r := &routes[i]; r.fly != slices.Contains(served, r.String()) {
			t.Errorf("%v is served, and listed or not as if it were not Fly's: %v", r, r.fly)
		}
	}
	if n := len(listed(no)); n < 20 {
		t.Errorf("found %d routes that are not served; does this test still find them?", n)
	}
	w := newWorld(t)
	for _, route := range append(listed(no), served...) {
		method, path, _ := strings.Cut(route, " ")
		got := w.do(method, path, "")
		is := got.Code != 405 && !strings.Contains(got.Body.String(), "there is nothing at")
		if is != slices.Contains(served, route) {
			t.Errorf("%s: %s", route, shown(got))
		}
	}
}

// curl runs a curl command with the options that the document uses.
func (w *world) curl(t *testing.T, line string) string {
	t.Helper()
	words := regexp.MustCompile(`'[^']*'|\S+`).FindAllString(line, -1)
	for i := range words {
		words[i] = strings.Trim(words[i], "'")
	}
	method, target, body, format := "GET", "", "", ""
	var header []string
	for words = words[1:]; len(words) > 0; words = words[1:] {
		argument := func() string {
			words = words[1:]
			return words[0]
		}
		switch words[0] {
		case "-s":
		case "-X":
			method = argument()
		case "-H":
			header = append(header, argument())
		case "-d":
			body = argument()
			if method == "GET" {
				method = "POST"
			}
		case "-o":
			argument()
		case "-w":
			format = argument()
		default:
			target = strings.TrimPrefix(strings.Trim(words[0], `"`), "$API")
		}
	}
	got := w.do(method, target, body, header...)
	if name, ok := strings.CutPrefix(format, "%header{"); ok {
		return got.Header().Get(strings.TrimSuffix(name, "}"))
	}
	if format != "" {
		return fmt.Sprint(got.Code)
	}
	return got.Body.String()
}
