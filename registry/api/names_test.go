package api

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
)

// What is remembered of names follows the apps that come and go, at once.
func TestNamesThatAreRememberedFollowTheApps(t *testing.T) {
	w := newWorld(t)
	wants := func(when string, code int) {
		t.Helper()
		for range 3 { // found, and remembered
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

// Whoever has created an app finds it, however many others look for names
// meanwhile.
func TestAnAppIsFoundByWhoCreatedIt(t *testing.T) {
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
					t.Errorf("%s was created, and: %s", name, shown(got))
				}
				if _, got := w.send("DELETE", "/v1/apps/"+name, ""); got.Code != http.StatusAccepted {
					t.Error(shown(got))
				}
				if _, got := w.send("GET", "/v1/apps/"+name, ""); got.Code != http.StatusNotFound {
					t.Errorf("%s was deleted, and: %s", name, shown(got))
				}
			}
		})
	}
	wg.Wait()
}
