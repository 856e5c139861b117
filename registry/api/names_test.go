package api

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
)

// The cache of names follows apps that are created and deleted at once.
func TestTheCacheOfNamesFollowsTheApps(t *testing.T) {
	w := newWorld(t)
	wants := func(when string, code int) {
		t.Helper()
		for range 3 { // the second is found in the cache
			if _, got := w.send("GET", "/v1/apps/web", ""); got.Code != code {
				t.Errorf("%s: %s", when, shown(got))
			}
		}
	}
	wants("at first", 404)
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	wants("in one network", 200)
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:33::/48"}`)
	wants("in two networks", 409)
	w.do("DELETE", "/v1/apps/web?network=fdaa:0:18::/48", "")
	wants("in one again", 200)
	w.do("DELETE", "/v1/apps/web", "")
	wants("at last", 404)
}

// A client finds the app that it has created, however many others look for names at
// the same time.
func TestAClientFindsTheAppThatItHasCreated(t *testing.T) {
	const clients, each = 4, 60
	w := newWorld(t)
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			for i := range each {
				name := fmt.Sprintf("app-%d-%d", client, i%7)
				if _, got := w.send("POST", "/v1/apps", fmt.Sprintf(`{"name":"%s","network":"fdaa:0:%d::/48"}`, name, client+1)); got.Code != http.StatusCreated {
					t.Error(shown(got))
				}
				if _, got := w.send("GET", "/v1/apps/"+name, ""); got.Code != http.StatusOK {
					t.Errorf("%s was created and is not found: %s", name, shown(got))
				}
				if _, got := w.send("DELETE", "/v1/apps/"+name, ""); got.Code != http.StatusAccepted {
					t.Error(shown(got))
				}
				if _, got := w.send("GET", "/v1/apps/"+name, ""); got.Code != http.StatusNotFound {
					t.Errorf("%s was deleted and is found: %s", name, shown(got))
				}
			}
		})
	}
	wg.Wait()
}
