package main

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestTheAdminListenerRefusesWhatNoOperatorSends(t *testing.T) {
	a, err := listenAdmin("127.0.0.1:0", func() error { return nil }, prometheus.NewRegistry())
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
		{"there is nothing else", func(r *http.Request) { r.URL.Path = "/healthz/" }, http.StatusNotFound},
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
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("an orderly stop returned %v", err)
	}
}
