package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"github.com/internaldns/internaldns/resolver/forward"
)

// Limits of the admin listener. They are generous for scrapers and probes: a request has a
// line and some headers, and a response has some tens of kilobytes.
const (
	adminConns       = 64
	adminHeaderBytes = 16 << 10
	adminBodyBytes   = 1 << 10
	adminReadTime    = 5 * time.Second
	adminWriteTime   = 30 * time.Second
	adminIdleTime    = 2 * time.Minute
	adminStopTime    = 2 * time.Second // for a scrape under way when the server stops
	adminScrapes     = 4               // at one time
)

// adminPages make the pages of the admin listener.
type adminPages struct {
	ready  func() error // returns why queries are not answered; nil if they are
	scrape prometheus.Gatherer
	status func() status
	// flush drops a name from the cache, or all names at or below it, and returns the number
	// of answers dropped. It is nil if nothing is forwarded.
	flush func(name forward.Suffix, below bool) int
}

// An admin serves pages for operators over HTTP. The first page lists them.
type admin struct {
	listener net.Listener
	server   *http.Server
}

// listenAdmin binds the admin listener.
func listenAdmin(addr string, pages adminPages) (*admin, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &admin{
		listener: netutil.LimitListener(l, adminConns),
		server: &http.Server{
			Handler:           http.MaxBytesHandler(pages.handler(), adminBodyBytes),
			ReadHeaderTimeout: adminReadTime,
			ReadTimeout:       adminReadTime,
			WriteTimeout:      adminWriteTime,
			IdleTimeout:       adminIdleTime,
			MaxHeaderBytes:    adminHeaderBytes,
		},
	}, nil
}

func (p *adminPages) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusOK, `internaldns

/healthz   200 while the process is up
/readyz    200 while queries are answered from facts, else 503 and why
/metrics   for Prometheus
/status    how facts and upstreams are doing, in JSON
/flush     with POST and ?name=NAME or ?suffix=SUFFIX: drops that from the cache`)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := p.ready(); err != nil {
			say(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		say(w, http.StatusOK, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.scrape, promhttp.HandlerOpts{
		MaxRequestsInFlight: adminScrapes,
		Timeout:             adminWriteTime / 2,
	}))
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { sayJSON(w, p.status()) })
	mux.HandleFunc("POST /flush", p.serveFlush)
	return mux
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}

func sayJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(v) // fails only if the client has gone
}

// addr returns HOST:PORT of the listener.
func (a *admin) addr() string { return a.listener.Addr().String() }

// run serves until ctx is done, waits for requests under way, and returns nil. It
// runs once.
func (a *admin) run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- a.server.Serve(a.listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminStopTime)
	defer cancel()
	if err := a.server.Shutdown(stop); err != nil {
		a.server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
