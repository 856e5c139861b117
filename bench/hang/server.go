//go:build linux

package hang

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/internaldns/internaldns/bench/internal/serving"
	"github.com/internaldns/internaldns/bench/load"
)

// A server is a running internaldns.
type server struct {
	*serving.Server
	program string
}

// serve starts internaldns with its sample and the given upstreams, and returns
// when it answers.
func serve(ctx context.Context, p *Plan, upstreams ...*upstream) (*server, error) {
	args := []string{"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
		"--max-in-flight", strconv.Itoa(2 * p.Hanging), "--max-per-source", strconv.Itoa(2 * p.Hanging)}
	for _, u := range upstreams {
		args = append(args, "--upstream", u.addr.String())
	}
	running, err := serving.Start(ctx, p.Program, args...)
	if err != nil {
		return nil, err
	}
	return &server{running, p.Program}, nil
}

// localNames are what is asked meanwhile, as a file for internaldns bench.
const localNames = "web.internal AAAA\nams.web.internal AAAA\n_apps.internal TXT\nnobody.internal AAAA\n"

// measure asks for local names at a constant rate, from a process of its own.
func (s *server) measure(ctx context.Context, p *Plan) (*load.Result, error) {
	dir, err := os.MkdirTemp("", "hang")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	names := filepath.Join(dir, "names")
	if err := os.WriteFile(names, []byte(localNames), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, s.program, "bench", s.DNS.String(), "--queries", names, "--format", "json",
		"--rate", strconv.FormatFloat(p.Rate, 'f', -1, 64), "--duration", p.Duration.String(), "--timeout", "5s")
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("%w: %s", err, exit.Stderr)
	} else if err != nil {
		return nil, err
	}
	r := new(load.Result)
	return r, json.Unmarshal(out, r)
}

// inFlight returns how many queries wait for upstreams.
func (s *server) inFlight(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Admin+"/status", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	var status struct {
		Forward struct {
			InFlight int `json:"in_flight"`
		}
	}
	err = json.Unmarshal(body, &status)
	return status.Forward.InFlight, err
}

// patience is how long it may take until all queries hang, or none.
const patience = 30 * time.Second

// waitIdle returns when no query waits for upstreams.
func (s *server) waitIdle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if n, err := s.inFlight(ctx); n == 0 || err != nil {
			return err
		}
		time.Sleep(crowdTick)
	}
}
