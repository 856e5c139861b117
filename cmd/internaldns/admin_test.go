package main

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/internaldns/internaldns/resolver/forward"
)

func TestTheAdminListenerRefusesWhatNoOperatorSends(t *testing.T) {
	flushes := 0
	a, err := listenAdmin("127.0.0.1:0", adminPages{
		ready:  func() error { return nil },
		scrape: prometheus.NewRegistry(),
		status: func() status { return status{} },
		flush:  func(forward.Suffix, bool) int { flushes++; return 1 },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.run(ctx) }()
	base := "http://" + a.addr()

	for _, tt := range []struct {
		name   string
		change func(*http.Request)
		want   int
	}{
		{"a GET is answered", func(*http.Request) {}, http.StatusOK},
		{"a HEAD is answered", func(r *http.Request) { r.Method = http.MethodHead }, http.StatusOK},
		{"a POST is not allowed", func(r *http.Request) { r.Method = http.MethodPost }, http.StatusMethodNotAllowed},
		{"another page does not exist", func(r *http.Request) { r.URL.Path = "/healthz/" }, http.StatusNotFound},
		{"a POST to /flush is answered", flush("name=example.com"), http.StatusOK},
		{"a suffix can be flushed", flush("suffix=."), http.StatusOK},
		{"a GET of /flush is not allowed", func(r *http.Request) {
			flush("name=example.com")(r)
			r.Method = http.MethodGet
		}, http.StatusMethodNotAllowed},
		{"without a name there is nothing to flush", flush(""), http.StatusBadRequest},
		{"nor with two", flush("name=a&name=b"), http.StatusBadRequest},
		{"nor with a name and a suffix", flush("name=a&suffix=b"), http.StatusBadRequest},
		{"nor with what is no name", flush("name=a..b"), http.StatusBadRequest},
		{"nor with what is not known", flush("name=a&force=1"), http.StatusBadRequest},
		{"a page elsewhere cannot have a browser flush", func(r *http.Request) {
			flush("suffix=.")(r)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		}, http.StatusForbidden},
		{"nor a page that claims to be here, by DNS rebinding", func(r *http.Request) {
			flush("suffix=.")(r)
			r.Host = "evil.example"
			r.Header.Set("Origin", "http://evil.example")
		}, http.StatusForbidden},
		{"headers have an end", func(r *http.Request) {
			r.Header.Set("X-Long", strings.Repeat("x", 2*adminHeaderBytes))
		}, http.StatusRequestHeaderFieldsTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequest(http.MethodGet, base+"/healthz", nil)
			if err != nil {
				t.Fatal(err)
			}
			tt.change(req)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != tt.want {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.want)
			}
		})
	}
	if flushes != 2 {
		t.Errorf("%d requests flushed, want 2", flushes)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("an orderly stop returned %v", err)
	}
}

// flush makes a request to flush a name.
func flush(query string) func(*http.Request) {
	return func(r *http.Request) {
		r.Method, r.URL.Path, r.URL.RawQuery = http.MethodPost, "/flush", query
	}
}
