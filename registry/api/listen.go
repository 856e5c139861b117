package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/netutil"
)

// What one client can take of a server.
const (
	// maxConns bounds connections. maxWaiting of them can wait for commits; the
	// rest is for those who do not.
	maxConns = 512

	maxHeader  = 16 << 10 // octets, of which a token takes some 50
	headerTime = 5 * time.Second
	idleTime   = 2 * time.Minute

	// readStep and writeStep are how long the client may take to send a body or
	// to take a response. Long ones get as long again whenever some of them has
	// gone through.
	readStep  = 30 * time.Second
	writeStep = 30 * time.Second

	// responseTime is how long a response may take in all, which keeps what it
	// shows in memory meanwhile, however much that has changed since. A million
	// machines are some 600 MB: 8 Mbit/s.
	responseTime = 10 * time.Minute

	// stopTime is how long requests that are under way have when the server
	// stops. Those that wait for commits end at once.
	stopTime = 3 * time.Second
)

// A Server serves an API at one address.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// ListenConfig says where and how an API is served.
type ListenConfig struct {
	// Address is HOST:PORT, or unix:PATH. A socket that a server left there
	// which is no more is removed.
	Address string
	// Group lets the group of a Unix socket's file use it, too.
	Group bool
	// TLS, unless nil, holds the certificates.
	TLS *tls.Config
}

// Listen binds the address. The server must be run, or closed.
func (a *API) Listen(c ListenConfig) (*Server, error) {
	l, err := listen(c)
	if err != nil {
		return nil, err
	}
	l = netutil.LimitListener(l, maxConns)
	if c.TLS != nil {
		t := c.TLS.Clone()
		t.NextProtos = []string{"http/1.1"}
		l = tls.NewListener(l, t)
	}
	return &Server{listener: l, http: a.server()}, nil
}

// server returns the HTTP server of an API, with all limits.
func (a *API) server() *http.Server {
	s := &http.Server{
		Handler:           a,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       readStep,
		WriteTimeout:      writeStep + writeTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(logWriter{a.Log}, "", 0),
		Protocols:         new(http.Protocols),

		DisableGeneralOptionsHandler: true, // OPTIONS * is nothing of ours
	}
	s.Protocols.SetHTTP1(true) // one request at a time on a connection, so that maxConns bounds both
	s.RegisterOnShutdown(a.endWaits)
	return s
}

func listen(c ListenConfig) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(c.Address, "unix:")
	if !isUnix {
		return net.Listen("tcp", c.Address)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	mode := fs.FileMode(0o600)
	if c.Group {
		mode = 0o660
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return chmodSocket(raw, mode) // before it is bound: there is no moment in which others may connect
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil { // where the line above does nothing
		l.Close()
		return nil, err
	}
	return l, nil
}

// removeStale removes the socket of a server that is no more. Nothing else is
// removed.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("listen unix %s: there is something else than a socket", path)
	}
	conn, err := net.DialTimeout("unix", path, headerTime)
	if err == nil {
		conn.Close()
		return fmt.Errorf("listen unix %s: a server is using it", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// Addr returns the address that is served, as HOST:PORT or unix:PATH.
func (s *Server) Addr() string {
	addr := s.listener.Addr()
	if addr.Network() == "unix" {
		return "unix:" + addr.String()
	}
	return addr.String()
}

// Run serves until ctx is done, lets what is under way end, and returns nil. A
// Server runs once.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := s.http.Shutdown(stop); err != nil {
		s.http.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close closes a server that was not run.
func (s *Server) Close() error { return s.listener.Close() }

// The functions below fail, which does not matter, if the response is recorded by
// a test.

// writeBefore gives the client that long to take what is written until the next
// call.
func (c *call) writeBefore(d time.Duration) {
	http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(d))
}

// readBefore gives the client that long to send what is read until the next
// call.
func (c *call) readBefore(d time.Duration) {
	http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(d))
}

// slowly gives a long response another while for what comes next, until it has
// taken responseTime.
func (c *call) slowly() {
	if now := time.Now(); now.Sub(c.slow) > time.Second && now.Sub(c.begun) < responseTime {
		c.slow = now
		c.writeBefore(writeStep)
	}
}
