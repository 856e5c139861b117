// Package program builds and runs the real program, for tests of the whole.
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

// patience is how long a test waits for the program to serve, and to end. It is
// reached only if the program hangs.
const patience = 20 * time.Second

// Env names the environment variable that says which program to test. Without
// it, Main builds one.
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

// A Server is a running internaldns serve.
type Server struct {
	Addrs []netip.AddrPort // where it answers, in the order of --listen
	API   string           // HOST:PORT of the control API; "" if it is not served

	t     testing.TB
	cmd   *exec.Cmd
	log   []string      // complete when ended is closed
	ended chan struct{} // closed when the log is at its end
}

// Serve starts internaldns serve with args and returns when it answers queries.
// It is stopped when the test ends, if not before.
func Serve(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, ended: make(chan struct{})}
	s.cmd = exec.Command(os.Getenv(Env), append([]string{"serve"}, args...)...)
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	type heard struct {
		addrs []netip.AddrPort
		api   string
	}
	serving := make(chan heard, 1)
	go func() {
		defer close(s.ended)
		var h heard
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			s.log = append(s.log, lines.Text())
			var line struct {
				Msg string
				DNS []netip.AddrPort
				API string
			}
			json.Unmarshal(lines.Bytes(), &line) // what is no JSON is in the log all the same
			if line.Msg == "listening" {
				h = heard{line.DNS, line.API}
			}
			if line.Msg == "serving" {
				serving <- h
			}
		}
	}()
	t.Cleanup(s.Stop)
	select {
	case h := <-serving:
		s.Addrs, s.API = h.addrs, h.api
	case <-s.ended:
		t.Fatalf("serve %s ended:\n%s", strings.Join(args, " "), strings.Join(s.log, "\n"))
	case <-time.After(patience):
		s.cmd.Process.Kill()
		<-s.ended
		t.Fatalf("serve %s does not serve:\n%s", strings.Join(args, " "), strings.Join(s.log, "\n"))
	}
	return s
}

// Stop has the server stop in order.
func (s *Server) Stop() {
	s.t.Helper()
	if s.cmd.ProcessState != nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(patience, func() { s.cmd.Process.Kill() })
	<-s.ended
	err := s.cmd.Wait()
	if !late.Stop() {
		s.t.Errorf("the server does not stop")
	}
	if err != nil {
		s.t.Errorf("the server ended: %v\n%s", err, strings.Join(s.log, "\n"))
	}
}
