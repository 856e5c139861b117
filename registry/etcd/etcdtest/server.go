// Package etcdtest runs Debian's etcd for tests, and a proxy before it that cuts,
// delays and swallows.
package etcdtest

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Server is an etcd of one member that listens on Unix sockets, so that no two
// tests can want the same port. Clients reach it through a Proxy.
type Server struct {
	t    testing.TB
	dir  string // its working directory
	args []string
	cmd  *exec.Cmd
	log  *tail
}

// Start starts an etcd without data, with args beside those that it needs. The
// test is skipped if etcd is not installed, or fails for that in CI. The server
// is stopped when the test is over.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("etcd"); err != nil {
		const missing = "etcd is missing; it comes with: apt-get install etcd-server"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	dir, err := os.MkdirTemp("", "etcd") // a short path: those of Unix sockets are limited
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, dir: dir, args: args}
	t.Cleanup(func() {
		if s.cmd != nil {
			s.Kill()
		}
		os.RemoveAll(dir)
	})
	s.Restart()
	return s
}

// startTime is how long an etcd may take until it serves, on a busy machine.
const startTime = 30 * time.Second

// Restart starts the server, which must not be running, with the data it had.
func (s *Server) Restart() {
	s.t.Helper()
	for _, name := range []string{"client:1", "peer:1"} {
		os.Remove(filepath.Join(s.dir, name))
	}
	s.cmd = exec.Command("etcd", append([]string{
		"--data-dir", "data", "--unsafe-no-fsync",
		"--listen-client-urls", "unix://client:1", "--advertise-client-urls", "unix://client:1",
		"--listen-peer-urls", "unix://peer:1", "--initial-advertise-peer-urls", "unix://peer:1",
		"--initial-cluster", "default=unix://peer:1",
	}, s.args...)...)
	s.cmd.Dir = s.dir
	// It must not outlive a test that is killed.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r, w := io.Pipe()
	s.cmd.Stdout, s.cmd.Stderr = w, w
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ready := make(chan struct{})
	s.log = &tail{}
	go s.log.read(r, ready)
	cmd := s.cmd
	exited := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		w.CloseWithError(io.EOF)
		exited <- err
	}()
	s.log.exited = exited
	select {
	case <-ready:
	case <-time.After(startTime):
		s.t.Fatalf("etcd does not serve after %v", startTime)
	case err := <-exited:
		s.t.Fatalf("etcd ended: %v", err)
	}
}

// Kill ends the server as a crash would, and waits for that.
func (s *Server) Kill() {
	s.cmd.Process.Kill()
	<-s.log.exited
	s.cmd = nil
}

// Pause stops the server's process where it is, until Resume: connections stay
// open, and nobody answers.
func (s *Server) Pause() { s.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (s *Server) Resume() { s.cmd.Process.Signal(syscall.SIGCONT) }

// Wipe removes the data of a server that is not running.
func (s *Server) Wipe() {
	s.t.Helper()
	if err := os.RemoveAll(filepath.Join(s.dir, "data")); err != nil {
		s.t.Fatal(err)
	}
}

// socket is where clients connect to.
func (s *Server) socket() string { return filepath.Join(s.dir, "client:1") }

// Etcdctl runs etcdctl on the server and returns what it says.
func (s *Server) Etcdctl(args ...string) string {
	s.t.Helper()
	cmd := exec.Command("etcdctl", append([]string{"--endpoints", "unix://client:1"}, args...)...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			out = exit.Stderr
		}
		s.t.Fatalf("etcdctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// A tail reads what a server says.
type tail struct{ exited <-chan error }

// read closes ready when the server says that it serves, and goes on reading.
func (t *tail) read(r io.Reader, ready chan<- struct{}) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for told := false; lines.Scan(); {
		if !told && strings.Contains(lines.Text(), "ready to serve client requests") {
			told = true
			close(ready)
		}
	}
	io.Copy(io.Discard, r)
}
