package api

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api/watch"
)

// Until the facts are loaded, known clients get 503, unknown ones 401, and the keeper
// is not called.
func TestUntilTheFactsAreLoadedRequestsGet503(t *testing.T) {
	ready := errors.New("the facts are not loaded yet")
	feed, store := new(watch.Feed), registry.NewStore(nil)
	store.Notify(feed.Note)
	a, err := New(Config{
		Store: store, Keeper: registry.ReadOnly{}, Feed: feed, Local: true,
		Ready: func() error { return ready },
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, from string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://127.0.0.1"+path, nil)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		return w
	}
	for _, what := range []string{"GET /v1/apps", "GET /v1/export", "GET /v1/watch", "DELETE /v1/apps/web", "GET /v1/openapi.json"} {
		method, path, _ := strings.Cut(what, " ")
		w := ask(method, path, "127.0.0.1:1")
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"the facts are not loaded yet"`) {
			t.Errorf("%s: %d %s, want 503", what, w.Code, w.Body)
		}
	}
	if w := ask("GET", "/v1/apps", "192.0.2.1:1"); w.Code != http.StatusUnauthorized {
		t.Errorf("an unknown client: %d %s, want 401", w.Code, w.Body)
	}
	ready = nil
	if w := ask("GET", "/v1/apps", "127.0.0.1:1"); w.Code != http.StatusOK {
		t.Errorf("once they are loaded: %d %s, want 200", w.Code, w.Body)
	}
}
