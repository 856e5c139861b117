//go:build linux

// Package keep measures what it costs to store a registry: how many writes are
// acknowledged a second, on disk and in etcd, and how long after that DNS answers
// show them, on the server that took the write and on another.
//
// It runs the real program and uses its HTTP API and its DNS sockets.
package keep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/spf13/pflag"

	"github.com/internaldns/internaldns/bench/harness"
)

// Kind is the scenario.
var Kind = harness.Kind{
	Name:  "keep",
	Title: "A stored registry",
	Short: "Measure writes to a stored registry, and how soon DNS answers show them",
	Long: "keep starts internaldns with a database on disk, and then two with an etcd, and measures how many writes\n" +
		"are acknowledged a second and how long after that DNS answers show them.",
	Example: "  bench keep                            # internaldns of this checkout, as published\n" +
		"  bench keep --duration 1s",
	New: func() harness.Scenario { return newScenario() },
}

// Scenario is the plan and the figures.
type Scenario struct {
	Plan    Plan      `json:"plan"`
	Rates   []Rate    `json:"rates"`
	Visible []Visible `json:"visible"`
}

// A Plan says what is measured.
type Plan struct {
	Program  string        `json:"program"` // internaldns; "": built from this checkout
	Etcd     string        `json:"etcd"`    // the program; "": etcd is not measured
	Machines int           `json:"machines"`
	Writers  []int         `json:"writers"`     // clients that write at one time
	Duration time.Duration `json:"duration_ns"` // of each number of writers
	Changes  int           `json:"changes"`     // that are timed until answers show them
}

// A Rate is what a number of writers reached.
type Rate struct {
	Store   string  `json:"store"` // disk or etcd
	Writers int     `json:"writers"`
	Second  float64 `json:"writes_per_second"`
	// Latency is from sending a write to its acknowledgement.
	harness.Latency
}

// Visible is how long after its acknowledgement an answer shows a write.
type Visible struct {
	Store string `json:"store"`
	Where string `json:"where"` // the same server or another
	harness.Latency
	// Late counts the writes that the first answer after the acknowledgement did
	// not show.
	Late int `json:"late"`
	Of   int `json:"of"`
}

func newScenario() *Scenario {
	return &Scenario{Plan: Plan{Etcd: "etcd", Machines: 10_000, Writers: []int{1, 16, 64}, Duration: 5 * time.Second, Changes: 1000}}
}

// Flags adds a flag for each field of the plan.
func (s *Scenario) Flags(f *pflag.FlagSet) {
	p := &s.Plan
	harness.ProgramFlag(f, &p.Program)
	f.StringVar(&p.Etcd, "etcd", p.Etcd, "the etcd `FILE`; if empty, etcd is not measured")
	f.IntVar(&p.Machines, "machines", p.Machines, "`MACHINES` in the registry")
	f.IntSliceVar(&p.Writers, "writers", p.Writers, "numbers of `CLIENTS` that write at one time, measured one after another")
	f.DurationVar(&p.Duration, "duration", p.Duration, "`TIME` of each of these")
	f.IntVar(&p.Changes, "changes", p.Changes, "`CHANGES` that are timed until answers show them")
}

// Validate returns every fault of the plan.
func (s *Scenario) Validate() error {
	var f harness.Faults
	p := &s.Plan
	f.Least("machines", 1, p.Machines)
	f.Least("writers", 1, p.Writers...)
	if len(p.Writers) == 0 {
		f.Add("writers: must not be empty")
	}
	harness.Positive(&f, "duration", p.Duration)
	f.Least("changes", 1, p.Changes)
	return f.Err()
}

// Estimate returns the time that Run takes.
func (s *Scenario) Estimate() string {
	return fmt.Sprintf("about %v", (2*time.Duration(len(s.Plan.Writers))*s.Plan.Duration + 10*time.Second).Round(time.Second))
}

// Run measures.
func (s *Scenario) Run(ctx context.Context, env *harness.Env) error {
	program, err := harness.Program(ctx, s.Plan.Program, env.Dir)
	if err != nil {
		return err
	}
	if err := s.store(ctx, env, "disk", program, 1, "--data", filepath.Join(env.Dir, "data")); err != nil {
		return fmt.Errorf("with a disk: %w", err)
	}
	if _, err := exec.LookPath(s.Plan.Etcd); err != nil {
		env.Note("etcd was not measured, because it is not installed: apt-get install etcd-server.")
		return nil
	}
	etcd, endpoint, err := startEtcd(ctx, s.Plan.Etcd, filepath.Join(env.Dir, "etcd"))
	if err != nil {
		return err
	}
	defer etcd.Stop()
	if err := s.store(ctx, env, "etcd", program, 2, "--etcd", endpoint); err != nil {
		return fmt.Errorf("with etcd: %w", err)
	}
	return nil
}

// store measures servers that store the registry as args say: writes to the first,
// and how soon each of them shows a write.
func (s *Scenario) store(ctx context.Context, env *harness.Env, store, program string, servers int, args ...string) error {
	var nodes []*node
	for range servers {
		n, err := serve(ctx, env.Dir, program, args...)
		if err != nil {
			return err
		}
		defer n.Stop()
		nodes = append(nodes, n)
	}
	if err := nodes[0].importFacts(ctx, s.Plan.Machines); err != nil {
		return err
	}
	for _, writers := range s.Plan.Writers {
		took, err := nodes[0].write(ctx, min(writers, s.Plan.Machines), s.Plan.Duration)
		if err != nil {
			return err
		}
		r := Rate{store, writers, float64(len(took)) / s.Plan.Duration.Seconds(), harness.LatencyOf(took)}
		s.Rates = append(s.Rates, r)
		env.Say("%s, %d writers: %.0f writes a second, p50 %v, p99 %v", store, writers, r.Second, r.P50, r.P99)
	}
	for i, n := range nodes {
		v := Visible{Store: store, Where: "the same server", Of: s.Plan.Changes}
		if i > 0 {
			v.Where = "another server"
		}
		if err := v.measure(ctx, nodes[0], n); err != nil {
			return err
		}
		s.Visible = append(s.Visible, v)
		env.Say("%s, %s: an answer shows a change after p50 %v, p99 %v; %d of %d not the first one", store, v.Where, v.P50, v.P99, v.Late, v.Of)
	}
	return nil
}

// measure times changes from their acknowledgement by one server until another,
// which may be the same, answers with them.
func (v *Visible) measure(ctx context.Context, by, other *node) error {
	var took []time.Duration
	for i := range v.Of {
		started := i%2 != 0
		if err := by.setState(ctx, 0, started); err != nil {
			return err
		}
		acknowledged := time.Now()
		for asked := 0; ; asked++ {
			is, err := other.isStarted(0)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return err
			}
			if is == started {
				if asked > 0 {
					v.Late++
				}
				break
			}
			if time.Since(acknowledged) > patience {
				return fmt.Errorf("an acknowledged change is not in the answers after %v", patience)
			}
		}
		took = append(took, time.Since(acknowledged))
	}
	v.Latency = harness.LatencyOf(took)
	return nil
}

// patience is the longest time for etcd to start, for a write to be acknowledged,
// and for answers to show it.
const patience = 30 * time.Second

// A node is a running internaldns with clients of its API and its DNS socket.
type node struct {
	*harness.Server
	client http.Client
	dns    *dns.Conn
}

// serve starts internaldns.
func serve(ctx context.Context, dir, program string, args ...string) (*node, error) {
	server, err := harness.Serve(ctx, dir, program, append([]string{"--listen", "127.0.0.1:0", "--admin", "off", "--upstream", "off",
		"--network", "fdaa:0:18::/48", "--api", "127.0.0.1:0", "--api-local"}, args...)...)
	if err != nil {
		return nil, err
	}
	n := &node{Server: server}
	n.client.Transport = &http.Transport{MaxIdleConnsPerHost: 256}
	if n.dns, err = dns.Dial("udp", server.DNS.String()); err != nil {
		server.Stop()
		return nil, err
	}
	return n, nil
}

// Stop closes the clients and stops the server.
func (n *node) Stop() {
	n.client.CloseIdleConnections()
	n.dns.Close()
	n.Server.Stop()
}

// id returns the id of machine number i.
func id(i int) string { return fmt.Sprintf("%014x", 0x10000000+i) }

// importFacts replaces the registry with one app of that many machines.
func (n *node) importFacts(ctx context.Context, machines int) error {
	var b strings.Builder
	b.WriteString(`{"apps": [{"name": "web", "network": "fdaa:0:18::/48", "machines": [`)
	for i := range machines {
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(&b, `{"id": %q, "name": "m", "state": "started", "region": "ams", "private_ip": "fdaa:0:18:a7b:%x:%x::2", "config": {"image": "registry.example/web:1", "metadata": {"fly_process_group": "app"}}}`,
			id(i), i>>16+1, i&0xFFFF)
	}
	b.WriteString("]}]}")
	return n.post(ctx, "/v1/import?force=true", strings.NewReader(b.String()))
}

// setState starts or stops machine number i.
func (n *node) setState(ctx context.Context, i int, started bool) error {
	verb := "stop"
	if started {
		verb = "start"
	}
	return n.post(ctx, "/v1/apps/web/machines/"+id(i)+"/"+verb, nil)
}

func (n *node) post(ctx context.Context, path string, body io.Reader) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+n.API+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := n.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, text)
	}
	return err
}

// isStarted asks by DNS whether machine number i is started.
func (n *node) isStarted(i int) (bool, error) {
	n.dns.SetDeadline(time.Now().Add(patience))
	q := new(dns.Msg).SetQuestion(id(i)+".vm.web.internal.", dns.TypeAAAA)
	if err := n.dns.WriteMsg(q); err != nil {
		return false, err
	}
	m, err := n.dns.ReadMsg()
	if err != nil {
		return false, err
	}
	if m.Id != q.Id || m.Rcode != dns.RcodeSuccess {
		return false, fmt.Errorf("a query for the address of a machine is answered\n%v", m)
	}
	return len(m.Answer) == 1, nil
}

// write has that many clients write for d, each to a machine of its own and each
// write when the one before is acknowledged. It returns how long each write took.
func (n *node) write(ctx context.Context, writers int, d time.Duration) ([]time.Duration, error) {
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
				began := time.Now()
				err = n.setState(ctx, i, started)
				took = append(took, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			all, errs = append(all, took...), append(errs, err)
		})
	}
	wg.Wait()
	return all, errors.Join(errs...)
}

// startEtcd starts an etcd of one member and returns it with its URL.
func startEtcd(ctx context.Context, program, dir string) (*harness.Process, string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, "", err
	}
	var urls [2]string
	for i := range urls {
		addr, err := harness.FreePort(netip.MustParseAddr("127.0.0.1"))
		if err != nil {
			return nil, "", err
		}
		urls[i] = "http://" + addr.String()
	}
	etcd, err := harness.Start(ctx, dir, -1, []string{program, "--data-dir", dir, "--log-level", "error",
		"--listen-client-urls", urls[0], "--advertise-client-urls", urls[0],
		"--listen-peer-urls", urls[1], "--initial-advertise-peer-urls", urls[1], "--initial-cluster", "default=" + urls[1]},
		func() error { return harness.OK(urls[0] + "/health") })
	return etcd, urls[0], err
}

// Report writes the figures.
func (s *Scenario) Report(p *harness.Page) {
	p.Say("internaldns with %s machines. Clients write over HTTP on connections that stay open; every write is synced to disk; all\nprograms are on one machine.\n\n", harness.Count(s.Plan.Machines))
	var rows [][]string
	for _, x := range s.Rates {
		rows = append(rows, []string{x.Store, fmt.Sprint(x.Writers), harness.Count(x.Second), harness.Time(x.P50), harness.Time(x.P99)})
	}
	p.Table("stored | writers | writes/s | acknowledged p50 | p99", rows)
	p.Say("From the acknowledgement of a change to the answer that shows it, the round trip of the query included:\n\n")
	rows = nil
	for _, v := range s.Visible {
		rows = append(rows, []string{v.Store, v.Where, harness.Time(v.P50), harness.Time(v.P99), harness.Time(v.Max), fmt.Sprintf("%d of %d", v.Late, v.Of)})
	}
	p.Table("stored | asked | p50 | p99 | longest | not in the first answer", rows)
}
