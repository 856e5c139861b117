//go:build linux

package keep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/internaldns/internaldns/bench/internal/serving"
)

// patience is how long what is started may take to answer, and what was
// acknowledged to show.
const patience = 30 * time.Second

// A server is a running internaldns, and ways to ask it.
type server struct {
	*serving.Server
	api    string // its URL
	client http.Client
	dns    *dns.Conn
}

// serve starts internaldns and returns when it answers.
func serve(ctx context.Context, program string, where ...string) (*server, error) {
	running, err := serving.Start(ctx, program, append([]string{"--listen", "127.0.0.1:0", "--admin", "off", "--upstream", "off",
		"--network", "fdaa:0:18::/48", "--api", "127.0.0.1:0", "--api-local"}, where...)...)
	if err != nil {
		return nil, err
	}
	s := &server{Server: running, api: "http://" + running.API}
	s.client.Transport = &http.Transport{MaxIdleConnsPerHost: 256}
	s.dns, err = dns.Dial("udp", running.DNS.String())
	return s, err
}

// id returns the id of the i-th machine.
func id(i int) string { return fmt.Sprintf("%014x", 0x10000000+i) }

// importFacts makes the registry one app of n machines.
func (s *server) importFacts(ctx context.Context, n int) error {
	var b strings.Builder
	b.WriteString(`{"apps": [{"name": "web", "network": "fdaa:0:18::/48", "machines": [`)
	for i := range n {
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(&b, `{"id": %q, "name": "m", "state": "started", "region": "ams", "private_ip": "fdaa:0:18:a7b:%x:%x::2", "config": {"image": "registry.example/web:1", "metadata": {"fly_process_group": "app"}}}`,
			id(i), i>>16+1, i&0xFFFF)
	}
	b.WriteString("]}]}")
	return s.post(ctx, "/v1/import?force=true", strings.NewReader(b.String()))
}

// setState starts or stops the i-th machine.
func (s *server) setState(ctx context.Context, i int, started bool) error {
	verb := "stop"
	if started {
		verb = "start"
	}
	return s.post(ctx, "/v1/apps/web/machines/"+id(i)+"/"+verb, nil)
}

func (s *server) post(ctx context.Context, path string, body io.Reader) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.api+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, said)
	}
	return err
}

// isStarted asks by DNS whether the i-th machine is started.
func (s *server) isStarted(i int) (bool, error) {
	s.dns.SetDeadline(time.Now().Add(patience))
	q := new(dns.Msg).SetQuestion(id(i)+".vm.web.internal.", dns.TypeAAAA)
	if err := s.dns.WriteMsg(q); err != nil {
		return false, err
	}
	m, err := s.dns.ReadMsg()
	if err != nil {
		return false, err
	}
	if m.Id != q.Id || m.Rcode != dns.RcodeSuccess {
		return false, fmt.Errorf("asked for a machine's address, got\n%v", m)
	}
	return len(m.Answer) == 1, nil
}

// write has so many clients write as fast as each is acknowledged, each to a
// machine of its own, and returns how long every write took.
func (s *server) write(ctx context.Context, writers int, d time.Duration) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, d+patience)
	defer cancel()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		all  []time.Duration // guarded by mu
		errs []error         // guarded by mu
	)
	end := time.Now().Add(d)
	for i := range writers {
		wg.Go(func() {
			var took []time.Duration
			var err error
			for started := false; err == nil && time.Now().Before(end); started = !started {
				begun := time.Now()
				err = s.setState(ctx, i, started)
				took = append(took, time.Since(begun))
			}
			mu.Lock()
			defer mu.Unlock()
			all, errs = append(all, took...), append(errs, err)
		})
	}
	wg.Wait()
	return all, errors.Join(errs...)
}

// startEtcd starts an etcd of one member and returns its URL when it answers.
func startEtcd(ctx context.Context, program, dir string) (endpoint string, stop func(), err error) {
	var urls [2]string
	for i := range urls {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", nil, err
		}
		urls[i] = "http://" + l.Addr().String()
		l.Close()
	}
	cmd := exec.CommandContext(ctx, program, "--data-dir", dir, "--log-level", "error",
		"--listen-client-urls", urls[0], "--advertise-client-urls", urls[0],
		"--listen-peer-urls", urls[1], "--initial-advertise-peer-urls", urls[1], "--initial-cluster", "default="+urls[1])
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}
	deadline := time.Now().Add(patience)
	for range time.Tick(20 * time.Millisecond) {
		resp, err := http.Get(urls[0] + "/health")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			stop()
			return "", nil, fmt.Errorf("%s does not answer: %w", program, err)
		}
	}
	return urls[0], stop, nil
}
