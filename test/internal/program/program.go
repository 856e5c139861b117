// Package program builds and runs the program, for tests of the whole.
package program

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds how long the program may take to serve, and to end. Only a program
// that hangs takes that long.
const patience = 30 * time.Second

// Env is the environment variable with the path of the program to test. If it is not
// set, Main builds the program.
const Env = "TEST_PROGRAM"

// Main runs the tests of m with a program to test, and returns their exit
// status. A TestMain calls it.
func Main(m *testing.M) (status int) {
	if os.Getenv(Env) == "" {
		path, remove, err := Build()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer remove()
		os.Setenv(Env, path)
	}
	return m.Run()
}

// Build builds the program and returns its path. The caller removes it.
func Build() (path string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "internaldns")
	if err != nil {
		return "", nil, err
	}
	path = filepath.Join(dir, "internaldns")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, "github.com/internaldns/internaldns/cmd/internaldns")
	if out, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return "", nil, fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return path, func() { os.RemoveAll(dir) }, nil
}

// A Server is an internaldns serve that was started.
type Server struct {
	Addrs []netip.AddrPort // where it answers, in the order of --listen
	API   string           // HOST:PORT of the control API; "" if it is not served

	args    []string
	cmd     *exec.Cmd
	serving chan struct{} // closed when it answers queries; Addrs and API are set then
	ended   chan struct{} // closed when it has ended
	log     []string      // complete when ended is closed
	err     error         // of the process; valid when ended is closed
}

// Start starts internaldns serve with args, and does not wait until it answers. The
// caller must call Kill or Stop.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{args: args, serving: make(chan struct{}), ended: make(chan struct{})}
	s.cmd = exec.Command(os.Getenv(Env), append([]string{"serve"}, args...)...)
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			s.log = append(s.log, lines.Text())
			var line struct {
				Msg string
				DNS []netip.AddrPort
				API string
			}
			json.Unmarshal(lines.Bytes(), &line) // a line that is not JSON has no Msg
			switch line.Msg {
			case "listening":
				s.Addrs, s.API = line.DNS, line.API
			case "serving":
				close(s.serving)
			}
		}
		s.err = s.cmd.Wait()
	}()
	return s
}

// Serve starts internaldns serve with args and returns when it answers queries. It
// is stopped when the test ends.
func Serve(t testing.TB, args ...string) *Server {
	t.Helper()
	s := Start(t, args...)
	t.Cleanup(func() { s.Stop(t) })
	s.Wait(t)
	return s
}

// Wait returns when the server answers queries, and fails the test if it does not.
func (s *Server) Wait(t testing.TB) {
	t.Helper()
	select {
	case <-s.serving:
	case <-s.ended:
		t.Fatalf("serve %s ended:\n%s", strings.Join(s.args, " "), s.Log())
	case <-time.After(patience):
		s.Kill()
		t.Fatalf("serve %s does not serve:\n%s", strings.Join(s.args, " "), s.Log())
	}
}

// Kill ends the server as a crash does.
func (s *Server) Kill() {
	s.cmd.Process.Kill()
	<-s.ended
}

// Stop stops the server in order, unless it has ended, and fails the test if that
// is not possible or if the server ended with an error.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(patience, func() { s.cmd.Process.Kill() })
	<-s.ended
	if !late.Stop() {
		t.Error("the server does not stop")
	}
	if s.err != nil {
		t.Errorf("the server ended: %v\n%s", s.err, s.Log())
	}
}

// Log returns the log of a server that has ended.
func (s *Server) Log() string {
	<-s.ended
	return strings.Join(s.log, "\n")
}
