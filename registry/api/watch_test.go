package api

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api/watch"
)

// A listener reads events from a real connection.
type listener struct {
	t     *testing.T
	lines *bufio.Scanner
}

// listen watches w over a real connection until the test ends.
func (w *world) listen(t *testing.T, query string, header ...string) *listener {
	t.Helper()
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/v1/watch"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	l := &listener{t, bufio.NewScanner(resp.Body)}
	l.lines.Buffer(nil, 1<<20)
	return l
}

// next returns the next event, its lines joined by "|".
func (l *listener) next() string {
	l.t.Helper()
	var lines []string
	for l.lines.Scan() {
		switch line := l.lines.Text(); {
		case line == "" && len(lines) > 0:
			return strings.Join(lines, "|")
		case line != "" && line != ":":
			lines = append(lines, line)
		}
	}
	l.t.Fatalf("the stream ended: %v", l.lines.Err())
	return ""
}

func (l *listener) wants(want string) {
	l.t.Helper()
	if got := l.next(); !matches(want, got) {
		l.t.Errorf("\n got %s\nwant %s", got, want)
	}
}

const m1 = `{"id":"m1","state":"started","region":"ams","private_ip":"fdaa:0:18::1:1"}`

func TestAWatcherSeesEveryCommitOnceInOrder(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	l := w.listen(t, "?index=0")
	l.wants(`id: 1|event: commit|data: {"index":1,"changes":[{"kind":"app","network":"fdaa:0:18::/48","name":"web","after":{}}]}`)

	w.do("PUT", "/v1/apps/web/machines/m1", m1)
	w.do("POST", "/v1/apps/web/machines/m1/stop", "")
	l.wants(`id: 2|event: commit|data: {"index":2,"changes":[{"kind":"machine","network":"fdaa:0:18::/48","app":"web","name":"m1","after":{"state":"started","region":"ams","address":"fdaa:0:18::1:1"}}]}`)
	l.wants(`id: 3|event: commit|data: {"index":3,"changes":[{"kind":"machine","network":"fdaa:0:18::/48","app":"web","name":"m1","before":{"state":"started","region":"ams","address":"fdaa:0:18::1:1"},"after":{"state":"stopped","region":"ams","address":"fdaa:0:18::1:1"}}]}`)
}

func TestAWatcherResumesAfterItsLastEvent(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	w.do("PUT", "/v1/apps/web/machines/m1", m1)
	l := w.listen(t, "?index=0", "Last-Event-ID: 1")
	l.wants(`id: 2|event: commit|«.*»`)
}

func TestAWatcherIsToldToListAgainWhereChangesAreForgotten(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	for i := range watch.MaxCommits + 10 {
		w.send("PUT", "/v1/peers/laptop", fmt.Sprintf(`{"address":"fdaa:0:18:1::%x"}`, i+16))
	}
	l := w.listen(t, "?index=3")
	l.wants(fmt.Sprintf(`id: %d|event: reset|data: {"index":%[1]d}`, watch.MaxCommits+11))
	w.do("POST", "/v1/apps", `{"name":"db","network":"fdaa:0:18::/48"}`)
	l.wants(fmt.Sprintf(`id: %d|event: commit|«.*»`, watch.MaxCommits+12))
}

func TestAWatcherWithAnIndexOfTheFutureIsToldToListAgain(t *testing.T) {
	w := newWorld(t)
	w.listen(t, "?index=7").wants(`id: 0|event: reset|data: {"index":0}`)
}

func TestAWatcherSeesItsNetworksOnly(t *testing.T) {
	w := newWorld(t)
	l := w.listen(t, "?index=0", "Authorization: Bearer "+secretAcme)
	w.do("POST", "/v1/apps", `{"name":"vault","network":"fdaa:0:33::/48"}`)
	w.do("PUT", "/v1/networks/acme", `{"prefix":"fdaa:0:18::/48"}`)
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	l.wants(`id: 2|event: commit|data: {"index":2,"changes":[{"kind":"network","network":"fdaa:0:18::/48","name":"acme","after":{}}]}`)
	l.wants(`id: 3|event: commit|data: {"index":3,"changes":[{"kind":"app","network":"fdaa:0:18::/48","name":"web","after":{}}]}`)
}

// A server that has restarted does not know what was deleted before. A client that
// connects again with an older index must list everything: the load at start is no
// list of changes.
func TestAWatcherFromBeforeTheStartIsToldToListAgain(t *testing.T) {
	w := newWorld(t)
	tx := w.store.Begin()
	if _, err := tx.ApplyAt(6, []registry.Event{registry.Put(&registry.App{Network: 0x18, Name: "web"})}); err != nil {
		t.Fatal(err)
	}
	tx.Commit()
	w.listen(t, "?index=5").wants(`id: 6|event: reset|data: {"index":6}`)
	w.listen(t, "?index=0").wants(`id: 6|event: commit|«.*»"name":"web","after":{}}]}`)
	l := w.listen(t, "?index=6")
	w.do("PUT", "/v1/apps/web/machines/m1", m1)
	l.wants(`id: 7|event: commit|«.*»`)
}

// A commit of more than MaxChanged objects is sent as a reset.
func TestAWatcherIsToldToListAgainAfterAVeryLargeCommit(t *testing.T) {
	w := newWorld(t)
	l := w.listen(t, "?index=0")
	for _, n := range []int{watch.MaxChanged, watch.MaxChanged + 1} {
		var events []registry.Event
		for i := range n {
			events = append(events, registry.Put(&registry.App{Network: registry.Network(n), Name: fmt.Sprint(i)}))
		}
		if _, err := w.store.Apply(events); err != nil {
			t.Fatal(err)
		}
	}
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	// The stream may or may not send the first commit before it ends.
	got := l.next()
	if strings.HasPrefix(got, "id: 1|event: commit|") {
		got = l.next()
	}
	if strings.HasPrefix(got, "id: 2|event: reset|") {
		got = l.next()
	} else if got == `id: 3|event: reset|data: {"index":3}` {
		return
	}
	if !strings.HasPrefix(got, "id: 3|event: commit|") {
		t.Errorf("got %.100s", got)
	}
}
