package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

// What one client of the admin listener can take. Requests are a line and some
// headers, and responses some tens of kilobytes, so all of it is generous for
// scrapers and probes and dear for nobody.
const (
	adminConns       = 64
	adminHeaderBytes = 16 << 10
	adminBodyBytes   = 1 << 10
	adminReadTime    = 5 * time.Second
	adminWriteTime   = 30 * time.Second
	adminIdleTime    = 2 * time.Minute
	adminStopTime    = 2 * time.Second // for a scrape that is under way when we stop
	adminScrapes     = 4               // at one time
)

// An admin serves what operators ask over HTTP: /healthz, /readyz and /metrics.
type admin struct {
	listener net.Listener
	server   *http.Server
}

// listenAdmin binds the admin listener. ready returns nil once queries are
// answered, and else says why they are not.
func listenAdmin(addr string, ready func() error, scrape prometheus.Gatherer) (*admin, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &admin{
		listener: netutil.LimitListener(l, adminConns),
		server: &http.Server{
			Handler:           http.MaxBytesHandler(adminHandler(ready, scrape), adminBodyBytes),
			ReadHeaderTimeout: adminReadTime,
			ReadTimeout:       adminReadTime,
			WriteTimeout:      adminWriteTime,
			IdleTimeout:       adminIdleTime,
			MaxHeaderBytes:    adminHeaderBytes,
		},
	}, nil
}

func adminHandler(ready func() error, scrape prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusOK, `internaldns

/healthz   200 while the process is up
/readyz    200 while queries are answered from facts, else 503 and why
/metrics   for Prometheus`)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			say(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		say(w, http.StatusOK, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(scrape, promhttp.HandlerOpts{
		MaxRequestsInFlight: adminScrapes,
		Timeout:             adminWriteTime / 2,
	}))
	return mux
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}

// addr returns HOST:PORT of the listener.
func (a *admin) addr() string { return a.listener.Addr().String() }

// run serves until ctx is done, lets what is under way end, and returns nil. It
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
