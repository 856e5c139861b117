package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/internaldns/internaldns/registry"
)

// Every response is JSON, whatever the request, and an error has a message. So no
// client takes an error for a success.
func TestEveryAnswerIsJSON(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	w.do("PUT", "/v1/apps/web/machines/m1", m1)
	targets := map[string]bool{"/": true, "*": true, "/v1": true, "/v1/": true, "/v1//apps": true, "/v1/apps/": true, "//v1/apps": true, "/v1/./apps": true, "/v1/x/../apps": true}
	for _, r := range routes {
		for _, odd := range []string{"%ff", "%00", "%2f", "..%2f..", "%0d%0aSet-Cookie:%20a=b", strings.Repeat("x", 8000), "%e2%80%ae"} {
			for _, segment := range []string{"{app}", "{id}", "{key}", "{name}", "{address}"} {
				path := strings.Replace(r.pattern, segment, odd, 1)
				path = strings.NewReplacer("{app}", "web", "{id}", "m1", "{key}", "role", "{name}", "n", "{address}", "fdaa:0:18:0:1::3").Replace(path)
				targets[path] = true
				if !strings.HasSuffix(path, "/wait") {
					targets[path+"?"+odd+"="+odd] = true
				}
			}
		}
	}
	for target := range targets {
		for _, method := range []string{"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"} {
			if strings.HasPrefix(target, "/v1/watch") && method == "GET" || strings.HasSuffix(target, "/wait") && (method == "GET" || method == "HEAD") {
				continue // they wait
			}
			body := ""
			if method == "PUT" || method == "POST" {
				body = `{"value":"x"}`
			}
			r := httptest.NewRequest(method, "http://127.0.0.1:4280/", strings.NewReader(body))
			r.RemoteAddr, r.RequestURI = "127.0.0.1:1", target
			r.Header.Set("Content-Type", "application/json")
			if target == "*" {
				r.URL.Path = "*"
			} else if u, err := r.URL.Parse("http://127.0.0.1:4280" + target); err != nil {
				t.Fatal(err)
			} else {
				r.URL = u
			}
			rec := httptest.NewRecorder()
			w.ServeHTTP(rec, r)
			checkJSONAnswer(t, fmt.Sprintf("%s %.100s", method, target), method, rec)
		}
	}
}

func checkJSONAnswer(t *testing.T, what, method string, rec *httptest.ResponseRecorder) {
	t.Helper()
	if rec.Code == http.StatusNoContent || rec.Code == http.StatusAccepted {
		return
	}
	if got := rec.Header().Get("Content-Type"); got != "application/json" && !(method == "HEAD" && got == "text/event-stream") {
		t.Errorf("%s: %d with Content-Type %q and %.100q", what, rec.Code, got, rec.Body)
	}
	if rec.Header().Get("Set-Cookie") != "" || rec.Code < 200 || rec.Code >= 300 && rec.Code < 400 {
		t.Errorf("%s: %s", what, shown(rec))
	}
	if method == "HEAD" && rec.Body.Len() == 0 {
		return
	}
	var answer any
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil {
		t.Errorf("%s: %d %.100q: %v", what, rec.Code, rec.Body, err)
	}
	if object, _ := answer.(map[string]any); rec.Code >= 400 && object["error"] == "" {
		t.Errorf("%s: %d %.100q", what, rec.Code, rec.Body)
	}
}

// A path without a name in its place does not exist. The mux would clean it, and
// find the app of the name machines.
func TestAPathThatLacksANameDoesNotExist(t *testing.T) {
	s := newWorld(t)
	s.do("POST", "/v1/apps", `{"name":"machines","network":"fdaa:0:18::/48"}`)
	server := s.serve(t, ListenConfig{Address: "127.0.0.1:0"})
	for _, line := range []string{
		"DELETE /v1/apps//machines", "DELETE //v1/apps/machines", "DELETE /v1/apps/web/../machines", "DELETE /v1/apps/./machines",
		"OPTIONS *", "CONNECT 127.0.0.1:4280", "CONNECT /v1//apps", "GET http://127.0.0.1/v1//apps",
	} {
		conn, err := net.Dial("tcp", server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, line+" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		body, _ := io.ReadAll(io.LimitReader(resp.Body, resp.ContentLength))
		conn.Close()
		if resp.StatusCode != http.StatusNotFound || !strings.HasPrefix(string(body), `{"error":"there is nothing at `) {
			t.Errorf("%s: %s %s", line, resp.Status, body)
		}
	}
	if s.store.Snapshot().App(0x18, "machines") == nil {
		t.Error("the app is gone")
	}
	if _, got := s.send("GET", "/v1//apps", "", "Authorization: Bearer nobody"); got.Code != http.StatusUnauthorized {
		t.Errorf("without a token: %s", shown(got))
	}
	if got := scrape(t, s.Metrics())["api_requests_total none 404"]; got != 8 {
		t.Errorf("%v of them are counted", got)
	}
}

// A wait that times out gets an error, even if the state's name is not UTF-8.
func TestAWaitForAStateThatIsNotUTF8TimesOut(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	w.do("PUT", "/v1/apps/web/machines/m1", m1)
	c := &call{api: w.API, snap: w.store.Snapshot(), who: &grant{all: true}}
	rec := httptest.NewRecorder()
	c.w, c.r = &recorder{ResponseWriter: rec}, httptest.NewRequest("GET", "/", nil)
	over := make(chan time.Time, 1)
	over <- time.Time{}
	key := registry.MachineKey{App: registry.AppKey{Network: 0x18, Name: "web"}, ID: "m1"}
	c.fail(c.waitFor(key, []string{"\xff"}, over))
	if rec.Code != http.StatusRequestTimeout || !strings.Contains(rec.Body.String(), "machine failed to reach desired state") {
		t.Error(shown(rec))
	}
}

// A body whose Content-Length is too large is refused before it is read.
func TestABodyWithATooLargeContentLengthIsNotRead(t *testing.T) {
	w := newWorld(t)
	w.MaxImport = 1000
	for _, target := range []string{"/v1/apps", "/v1/import"} {
		r := httptest.NewRequest("POST", "http://127.0.0.1:4280"+target, iotest.ErrReader(fmt.Errorf("it was read")))
		r.RemoteAddr, r.ContentLength = "127.0.0.1:1", maxBody+1
		r.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		if rec.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %s", target, shown(rec))
		}
	}
}

// A panic is logged as an error and answered with 500. net/http would log it among
// disconnected clients.
func TestAPanicIsLoggedAndAnswered(t *testing.T) {
	w := newWorld(t)
	core, logged := observer.New(zap.InfoLevel)
	w.Log = zap.New(core)
	w.Keeper = nil // every write panics
	got := w.do("POST", "/v1/apps", `{"name":"web"}`)
	if problem := differs(got, []string{"500", `{"error":"the server has a defect, which is in its log"}`}); problem != "" {
		t.Error(problem)
	}
	errors := logged.FilterLevelExact(zap.ErrorLevel).All()
	if len(errors) != 1 || !strings.Contains(fmt.Sprint(errors[0].ContextMap()["panic"]), "nil pointer") ||
		!strings.Contains(fmt.Sprint(errors[0].ContextMap()["stack"]), "writeIndex") {
		t.Errorf("logged %+v", errors)
	}
	if n := scrape(t, w.Metrics())["api_requests_in_flight"]; n != 0 {
		t.Errorf("%v are in flight", n)
	}
}

// A pieces is a response that counts its writes and the octets of the largest one.
type pieces struct {
	http.ResponseWriter
	most, writes int
	each         func()
}

func (p *pieces) Write(b []byte) (int, error) {
	p.most = max(p.most, len(b))
	p.writes++
	if p.each != nil {
		p.each()
	}
	return p.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (p *pieces) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// The memory that a slow client takes does not grow with the registry.
func TestLongListsAreSentInPieces(t *testing.T) {
	w := newWorld(t)
	var events []registry.Event
	for i := range 2000 {
		name := fmt.Sprintf("n%d", i)
		n := registry.Network(i + 1)
		events = append(events, registry.Put(&registry.NetworkName{Network: n, Name: name}), registry.Put(&registry.App{Network: n, Name: name}),
			registry.Put(&registry.Peer{Name: name, Address: n.Prefix().Addr().Next()}))
	}
	if _, err := w.store.Apply(events); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/apps", "/v1/peers", "/v1/networks"} {
		rec := httptest.NewRecorder()
		p := &pieces{ResponseWriter: rec}
		r := httptest.NewRequest("GET", "http://127.0.0.1:4280"+path, nil)
		r.RemoteAddr = "127.0.0.1:1"
		w.ServeHTTP(p, r)
		if p.writes < 2 || p.most > 2*pieceSize {
			t.Errorf("%s: %d octets in %d pieces, the largest of %d", path, rec.Body.Len(), p.writes, p.most)
		}
		if got := strings.Count(rec.Body.String(), `"n1999"`); got == 0 {
			t.Errorf("%s: %.100s", path, rec.Body)
		}
		checkJSONAnswer(t, path, "GET", rec)
	}
}
