package api

import (
	"net/http"
	"strings"
	"testing"
)

// Metadata is written key by key, so small bodies can make an object that is larger
// than any body may be. Such a write is refused. A write that makes a large object
// smaller, or changes its state, is not.
func TestMetadataCannotMakeAnObjectGrowWithoutEnd(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/apps", `{"name":"web","network":"fdaa:0:18::/48"}`)
	const m1 = "/v1/apps/web/machines/m1"
	w.do("PUT", m1, `{"id":"m1","state":"started","region":"ams","private_ip":"fdaa:0:18::1:1"}`)
	large := `{"value":"` + strings.Repeat("x", maxBody*2/3) + `"}`
	want := func(method, path, body string, status int) {
		t.Helper()
		if _, got := w.send(method, path, body); got.Code != status {
			t.Errorf("%s %s: %d, want %d: %.200s", method, path, got.Code, status, got.Body)
		}
	}
	want("POST", m1+"/metadata/a", large, http.StatusNoContent)
	want("POST", m1+"/metadata/b", large, http.StatusUnprocessableEntity)
	want("GET", m1+"/metadata/b", "", http.StatusNotFound)
	want("POST", m1+"/stop", "", http.StatusOK)
	want("POST", m1+"/metadata/a", `{"value":"x"}`, http.StatusNoContent)
	want("POST", m1+"/metadata/b", large, http.StatusNoContent)
	want("DELETE", m1+"/metadata/b", "", http.StatusNoContent)
}
