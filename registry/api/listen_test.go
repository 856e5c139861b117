package api

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// serve runs a server of w until the test ends.
func (w *world) serve(t *testing.T, c ListenConfig) *Server {
	t.Helper()
	s, err := w.Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

func overUnix(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
}

func TestAUnixSocketIsForItsOwnerAndNeedsNoToken(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "api")
	s := w.serve(t, ListenConfig{Address: "unix:" + path})
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if s.Addr() != "unix:"+path {
		t.Errorf("Addr is %s", s.Addr())
	}
	resp, err := overUnix(path).Get("http://anything.example/v1/apps")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("got %d", resp.StatusCode)
	}
}

func TestASocketCanBeForItsGroup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api")
	newWorld(t).serve(t, ListenConfig{Address: "unix:" + path, Group: true})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestAStaleSocketIsReplacedAndNothingElseIs(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "api")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Listen(ListenConfig{Address: "unix:" + path}); err == nil || !strings.Contains(err.Error(), "a server is using it") {
		t.Errorf("of a socket in use: %v", err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	s, err := w.Listen(ListenConfig{Address: "unix:" + path})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()

	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	if _, err := w.Listen(ListenConfig{Address: "unix:" + path}); err == nil {
		t.Error("a file was replaced")
	}
	if text, _ := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file holds %q", text)
	}
}

func TestLoopbackWithoutATokenRefusesHostsOfOthers(t *testing.T) {
	s := newWorld(t).serve(t, ListenConfig{Address: "127.0.0.1:0"})
	_, port, _ := net.SplitHostPort(s.Addr())
	for host, want := range map[string]int{
		s.Addr(): 200, "localhost:" + port: 200, "LOCALHOST": 200, "_api.internal:4280": 200, "_api.internal.:4280": 200, "[fdaa::3]:4280": 200,
		"rebind.example": 403, "rebind.example:" + port: 403, "127.0.0.1.example": 403, "localhost.example": 403,
	} {
		r, err := http.NewRequest("GET", "http://"+s.Addr()+"/v1/apps", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("Host: %s: got %d, want %d", host, resp.StatusCode, want)
		}
	}
}

func TestWithCertificatesOnlyTLSIsServed(t *testing.T) {
	pair := httptest.NewTLSServer(nil)
	defer pair.Close()
	s := newWorld(t).serve(t, ListenConfig{Address: "127.0.0.1:0", TLS: pair.TLS})
	resp, err := pair.Client().Get("https://" + s.Addr() + "/v1/apps")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 1 {
		t.Errorf("got %d over %s", resp.StatusCode, resp.Proto)
	}
	if resp, err := http.Get("http://" + s.Addr() + "/v1/apps"); err == nil {
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Error("it is also served without TLS")
		}
	}
}

// A server that stops ends waits and streams at once, and answers other requests
// first.
func TestAServerThatStopsEndsWaits(t *testing.T) {
	w := newWorld(t)
	s, err := w.Listen(ListenConfig{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	resp, err := http.Get("http://" + s.Addr() + "/v1/watch")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	stop()
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if _, err := http.Get("http://" + s.Addr() + "/v1/apps"); err == nil {
		t.Error("it is still served")
	}
}
