package api

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api/watch"
	"github.com/internaldns/internaldns/zone"
)

// A world is an API with an empty registry, and the parts that tests use.
type world struct {
	*API
	t      testing.TB
	store  *registry.Store
	keeper *memoryKeeper // of newWorld
	feed   *watch.Feed
	names  *zone.Publisher
}

// newWorld makes a world in memory. Clients on loopback may do everything, and those
// with a token of tokensFile what it allows.
func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldOf(t, func(w *world) registry.Keeper {
		w.keeper = &memoryKeeper{store: w.store, leases: make(map[registry.MachineKey]registry.Lease), again: 1}
		return w.keeper
	})
}

// newWorldOf makes a world with the keeper that keep returns.
func newWorldOf(t testing.TB, keep func(*world) registry.Keeper) *world {
	t.Helper()
	w := &world{t: t, feed: new(watch.Feed)}
	w.names = zone.NewPublisher(zone.Options{TTL: 5})
	w.names.Ready()
	w.store = registry.NewStore(w.names.Commit)
	w.store.Notify(w.feed.Note)
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(tokensFile()), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour) // a new file may still be written, and is not read at once
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	tokens, err := ReadTokens(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.API, err = New(Config{Store: w.store, Keeper: keep(w), Feed: w.feed, Tokens: tokens, Local: true, Region: "ams"})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// do sends a request as a client on loopback. It fails the test if openapi.json does
// not allow the response.
func (w *world) do(method, target, body string, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	r, rec := w.send(method, target, body, header...)
	checkDescribed(w.t, r, body, rec)
	return rec
}

// send is do without the comparison with openapi.json, which takes most of the time.
func (w *world) send(method, target, body string, header ...string) (*http.Request, *httptest.ResponseRecorder) {
	r := httptest.NewRequest(method, "http://127.0.0.1:4280"+target, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:50000"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	return r, rec
}

// A script is a list of requests, each a line with headers and a body, and their
// responses.
//
//	> PUT /v1/apps/web/machines/1
//	> If-Match: 3
//	> {"id":"1"}
//	412
//	{"error":"…"}
//
// A line of the response is a status, a header, or a line of the body. Text between
// « and » is a regular expression.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range scripts {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		t.Run(name, func(t *testing.T) { runScript(t, newWorld(t), string(text)) })
		t.Run(name+" on disk", func(t *testing.T) { runScript(t, newDiskWorld(t), string(text)) })
	}
}

// runScript sends the requests of a script to w and compares the responses.
func runScript(t *testing.T, w *world, text string) {
	t.Helper()
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); {
		if !strings.HasPrefix(lines[i], "> ") {
			if lines[i] != "" && !strings.HasPrefix(lines[i], "#") {
				t.Fatalf("line %d: want a request, got %q", i+1, lines[i])
			}
			i++
			continue
		}
		at := i + 1
		method, target, _ := strings.Cut(lines[i][2:], " ")
		var header, body, want []string
		for i++; i < len(lines) && strings.HasPrefix(lines[i], "> "); i++ {
			if line := lines[i][2:]; len(body) == 0 && regexp.MustCompile(`^[A-Z][A-Za-z-]*: `).MatchString(line) {
				header = append(header, line)
			} else {
				body = append(body, line)
			}
		}
		for ; i < len(lines) && lines[i] != "" && !strings.HasPrefix(lines[i], "> ") && !strings.HasPrefix(lines[i], "#"); i++ {
			want = append(want, lines[i])
		}
		got := w.do(method, target, strings.Join(body, "\n"), header...)
		if problem := differs(got, want); problem != "" {
			t.Errorf("line %d: %s %s: %s\ngot:\n%s", at, method, target, problem, shown(got))
		}
	}
}

func shown(got *httptest.ResponseRecorder) string {
	var b strings.Builder
	fmt.Fprintln(&b, got.Code)
	got.Header().Write(&b)
	io.WriteString(&b, got.Body.String())
	return b.String()
}

// differs returns how a response differs from the one in a script; "" if it does not.
func differs(got *httptest.ResponseRecorder, want []string) string {
	if len(want) == 0 || want[0] != fmt.Sprint(got.Code) {
		return fmt.Sprintf("the status is %d, want %v (%s)", got.Code, want, http.StatusText(got.Code))
	}
	want = want[1:]
	for len(want) > 0 && regexp.MustCompile(`^[A-Z][A-Za-z-]*: `).MatchString(want[0]) {
		name, value, _ := strings.Cut(want[0], ": ")
		if !matches(value, got.Header().Get(name)) {
			return fmt.Sprintf("%s is %q, want %q", name, got.Header().Get(name), value)
		}
		want = want[1:]
	}
	if body := strings.TrimSuffix(got.Body.String(), "\n"); !matches(strings.Join(want, "\n"), body) {
		return "want the body\n" + strings.Join(want, "\n")
	}
	return ""
}

// matches reports whether text is as a script has it.
func matches(want, got string) bool {
	var pattern strings.Builder
	pattern.WriteString("(?s)^")
	for part := range strings.SplitSeq(want, "«") {
		re, rest, is := strings.Cut(part, "»")
		if !is {
			pattern.WriteString(regexp.QuoteMeta(part))
			continue
		}
		pattern.WriteString("(?:" + re + ")" + regexp.QuoteMeta(rest))
	}
	return regexp.MustCompile(pattern.String() + "$").MatchString(got)
}

// The tokens of tests: for all networks, for fdaa:0:18::/48, and for two others.
const (
	secretAll   = "secret-of-root"
	secretAcme  = "secret-of-acme"
	secretOther = "secret-of-other"
)

func tokensFile() string {
	return "root  " + hashOf(secretAll) + " *\n" +
		"acme  " + hashOf(secretAcme) + " fdaa:0:18::/48\n" +
		"# of somebody else\n" +
		"other " + hashOf(secretOther) + " fdaa:0:33::/48 fdaa:0:34::/48\n"
}
