// Package serving runs internaldns, for benchmarks of the whole program.
package serving

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"syscall"
)

// A Server is a running internaldns serve.
type Server struct {
	DNS   netip.AddrPort // the first address that it answers at
	Admin string         // HOST:PORT; "" if it is off
	API   string         // HOST:PORT; "" if it is off

	cmd   *exec.Cmd
	log   bytes.Buffer  // complete when ended is closed
	ended chan struct{} // closed when the log is at its end
}

// Start runs program serve with args, until Stop or ctx is done, and returns when
// it answers queries.
func Start(ctx context.Context, program string, args ...string) (*Server, error) {
	s := &Server{cmd: exec.CommandContext(ctx, program, append([]string{"serve"}, args...)...), ended: make(chan struct{})}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	serving := make(chan bool, 1)
	go func() {
		defer close(s.ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var line struct {
				Msg, Admin, API string
				DNS             []netip.AddrPort
			}
			json.Unmarshal(lines.Bytes(), &line) // what is no JSON is in the log all the same
			switch line.Msg {
			case "listening":
				s.DNS, s.Admin, s.API = line.DNS[0], line.Admin, line.API
			case "serving":
				serving <- true
			}
			fmt.Fprintf(&s.log, "%s\n", lines.Bytes())
		}
	}()
	select {
	case <-serving:
		return s, nil
	case <-s.ended:
		s.cmd.Wait()
		return nil, fmt.Errorf("%s serve ended: %s", program, &s.log)
	}
}

// Stop has the server stop in order, and waits for it.
func (s *Server) Stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.ended
	s.cmd.Wait()
}
