// Package etcdtest runs the installed etcd for tests, and a proxy that breaks, delays or
// discards what clients send.
package etcdtest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Server is a member of an etcd cluster. It listens on Unix sockets, so that no two
// tests need the same port. Clients reach it through a Proxy.
type Server struct {
	t      testing.TB
	dir    string // its working directory, which all members share
	name   string
	others string // all members, as etcd wants them listed
	args   []string
	cmd    *exec.Cmd
	exited <-chan error
}

// Start starts an etcd of one member without data, with args beside those that it
// needs. The test is skipped if etcd is not installed, or fails for that in CI. The
// server is stopped when the test is over.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return StartCluster(t, 1, args...)[0]
}

// StartCluster is Start for an etcd of several members.
func StartCluster(t testing.TB, members int, args ...string) []*Server {
	t.Helper()
	if _, err := exec.LookPath("etcd"); err != nil {
		const missing = "etcd is missing; it comes with: apt-get install etcd-server etcd-client"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	dir, err := os.MkdirTemp("", "etcd") // a short path: those of Unix sockets are limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var all []string
	for i := range members {
		all = append(all, fmt.Sprintf("m%d=unix://m%d.peer:1", i, i))
	}
	servers := make([]*Server, members)
	ready := make([]func(), members)
	for i := range members {
		s := &Server{t: t, dir: dir, name: fmt.Sprintf("m%d", i), others: strings.Join(all, ","), args: args}
		servers[i] = s
		t.Cleanup(func() {
			if s.cmd != nil {
				s.Kill()
			}
		})
		ready[i] = s.start()
	}
	for _, wait := range ready {
		wait()
	}
	return servers
}

// startTime is how long an etcd may take until it serves, on a busy machine.
const startTime = 30 * time.Second

// Restart starts the server, which must not be running, with the data it had.
func (s *Server) Restart() {
	s.t.Helper()
	s.start()()
}

// start starts the server and returns a function that waits until it serves.
func (s *Server) start() (wait func()) {
	s.t.Helper()
	client, peer := s.scheme()+s.name+".client:1", "unix://"+s.name+".peer:1"
	os.Remove(s.socket())
	os.Remove(filepath.Join(s.dir, s.name+".peer:1"))
	s.cmd = exec.Command("etcd", append([]string{
		"--name", s.name, "--data-dir", s.name, "--unsafe-no-fsync",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", s.others,
	}, s.args...)...)
	s.cmd.Dir = s.dir
	s.cmd.SysProcAttr = attr()
	r, w := io.Pipe()
	s.cmd.Stdout, s.cmd.Stderr = w, w
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ready := make(chan struct{})
	go read(r, ready)
	cmd, exited := s.cmd, make(chan error, 1)
	go func() {
		err := cmd.Wait()
		w.Close()
		exited <- err
	}()
	s.exited = exited
	return func() {
		s.t.Helper()
		select {
		case <-ready:
		case <-time.After(startTime):
			s.t.Fatalf("etcd does not serve after %v", startTime)
		case err := <-exited:
			s.cmd = nil
			s.t.Fatalf("etcd ended: %v", err)
		}
	}
}

// scheme is what clients speak: TLS if the arguments name a certificate.
func (s *Server) scheme() string {
	if slices.Contains(s.args, "--cert-file") {
		return "unixs://"
	}
	return "unix://"
}

// Kill ends the server as a crash would, and waits for that.
func (s *Server) Kill() {
	s.cmd.Process.Kill()
	<-s.exited
	s.cmd = nil
}

// Pause stops the server's process where it is, until Resume: connections stay
// open, and get no answer.
func (s *Server) Pause() { s.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (s *Server) Resume() { s.cmd.Process.Signal(syscall.SIGCONT) }

// Wipe removes the data of a server that is not running.
func (s *Server) Wipe() {
	s.t.Helper()
	if err := os.RemoveAll(filepath.Join(s.dir, s.name)); err != nil {
		s.t.Fatal(err)
	}
}

// socket is where clients connect to.
func (s *Server) socket() string { return filepath.Join(s.dir, s.name+".client:1") }

// Etcdctl runs etcdctl on the server and returns its output.
func (s *Server) Etcdctl(args ...string) string {
	s.t.Helper()
	cmd := exec.Command("etcdctl", append([]string{"--endpoints", "unix://" + s.name + ".client:1"}, args...)...)
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

// read reads the log of a server, and closes ready when the server is ready.
func read(r io.Reader, ready chan<- struct{}) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for closed := false; lines.Scan(); {
		if !closed && strings.Contains(lines.Text(), "ready to serve client requests") {
			closed = true
			close(ready)
		}
	}
	io.Copy(io.Discard, r)
}
