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

// The limits of connections.
const (
	// maxConns bounds the open connections. maxWaiting of them can wait for commits;
	// the others are for other requests.
	maxConns = 512

	maxHeader  = 16 << 10 // octets; a token takes some 50 of them
	headerTime = 5 * time.Second
	idleTime   = 2 * time.Minute

	// readStep and writeStep bound how long a client takes to send a body or to read a
	// response. For a long one, the time begins again with each part that is
	// transferred.
	readStep  = 30 * time.Second
	writeStep = 30 * time.Second

	// responseTime bounds how long a whole response takes. Until then, the snapshot
	// that it shows stays in memory. A million machines are some 600 MB, so a client
	// needs 8 Mbit/s.
	responseTime = 10 * time.Minute

	// stopTime is how long requests under way may take when the server stops. Streams
	// and waits end at once.
	stopTime = 3 * time.Second
)

// A Server serves an API at one address.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// ListenConfig configures a Server.
type ListenConfig struct {
	// Address is HOST:PORT, or unix:PATH. A socket there that no server listens on
	// any more is removed.
	Address string
	// Group lets the group of a Unix socket's file use it.
	Group bool
	// TLS, unless nil, has the API served over TLS with these certificates.
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

		DisableGeneralOptionsHandler: true, // there is no answer to OPTIONS *
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
		return chmodSocket(raw, mode) // before it is bound, so that others can never connect
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil { // for systems on which chmodSocket has no effect
		l.Close()
		return nil, err
	}
	return l, nil
}

// removeStale removes a socket that no server listens on any more, and nothing else.
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

// Run serves until ctx is done, lets requests under way end for up to stopTime, and
// returns nil. A Server runs once.
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

// Close closes a Server that was not run.
func (s *Server) Close() error { return s.listener.Close() }

// The deadlines below have no effect on responses that a test records.

// writeBefore sets how long writing may take from now on.
func (c *call) writeBefore(d time.Duration) {
	http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(d))
}

// readBefore sets how long reading may take from now on.
func (c *call) readBefore(d time.Duration) {
	http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(d))
}

// slowly extends the deadline of a long response by writeStep from now, until the
// response has taken responseTime. It does so once a second at most.
func (c *call) slowly() {
	if now := time.Now(); now.Sub(c.slow) > time.Second && now.Sub(c.begun) < responseTime {
		c.slow = now
		c.writeBefore(writeStep)
	}
}
