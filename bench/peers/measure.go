//go:build linux

package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/internaldns/internaldns/bench/dataset"
	"github.com/internaldns/internaldns/bench/harness"
	"github.com/internaldns/internaldns/bench/load"
	"github.com/internaldns/internaldns/bench/servers"
)

// Server is one of the servers that a run was to measure.
type Server struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	// Missing is why it was not measured, and Get how to install it.
	Missing string `json:"missing,omitempty"`
	Get     string `json:"get,omitempty"`
}

// Series is several rounds over several servers that answer the same queries.
type Series struct {
	Key       string         `json:"key"`
	Title     string         `json:"title"`
	Machines  int            `json:"machines"`
	Transport load.Transport `json:"transport"`
	UDPSize   uint16         `json:"udp_size"` // 0: queries without EDNS
	Started   []Started      `json:"started"`
	Rounds    []Measurement  `json:"rounds"`

	peers []string // to measure
}

// Keys of series that others refer to.
const (
	keyCosts  = "costs"
	keyPlain  = "no-edns"
	keyHits   = "forward-hits"
	keyMisses = "forward-misses"
)

// Started is one server as it was at the beginning of a series.
type Started struct {
	Peer    string        `json:"peer"`
	Command string        `json:"command,omitempty"`
	Loaded  time.Duration `json:"loaded_ns"` // from its start to the first right answer
	Memory  uint64        `json:"memory_octets"`
	Error   string        `json:"error,omitempty"` // why it is not in the series
}

// Measurement is one server in one round.
type Measurement struct {
	Peer  string `json:"peer"`
	Round int    `json:"round"`
	Error string `json:"error,omitempty"`

	// Peak is the closed loop, and CPU the CPU time of the server meanwhile.
	Peak load.Result   `json:"peak"`
	CPU  time.Duration `json:"cpu_ns"`
	// Upstream counts the queries that came to the forwarder's upstream meanwhile.
	Upstream uint64 `json:"upstream,omitempty"`
	// Half is the open loop at half of the peak's rate.
	Half   load.Result `json:"half"`
	Memory uint64      `json:"memory_octets"`
}

// responseTimeout is when a query is lost: long after any server that keeps up has
// answered, and short enough that lost queries do not make a run much longer.
const responseTimeout = 500 * time.Millisecond

// onceWindow is the number of connections at a time if each has one query. A few
// keep any server busy. More would not fit the queue of 10 connections that some
// servers listen with: those would wait a second, and the queue would be measured.
const onceWindow = 8

// A server is a peer that runs.
type server struct {
	*harness.Process
	peer
	site
	asked uint32 // new names so far
}

// work is what the servers of a series are asked.
type work struct {
	transport load.Transport
	udpSize   uint16
	queries   []dataset.Query   // sent again and again; nil: each query has a new name
	upstream  *servers.Upstream // of forwarders; nil for others
}

// series starts the servers, measures them in rounds, and stops them.
func (r *run) series(ctx context.Context, s *Series) (err error) {
	r.env.Say("%s: making the facts", s.Title)
	site, queries, err := r.facts(s.Machines, s.UDPSize)
	if err != nil {
		return err
	}
	w := &work{transport: s.Transport, udpSize: s.UDPSize, queries: queries}
	if s.forwards() {
		w.upstream, err = servers.NewUpstream(netip.MustParseAddrPort("127.0.0.1:0"))
		if err != nil {
			return fmt.Errorf("start the upstream: %w", err)
		}
		stop := w.upstream.Background()
		defer func() { err = errors.Join(err, stop()) }()
		site.Upstream = w.upstream.Addr()
		w.queries = forwardedQueries(r.Plan.Names, s.UDPSize)
	}
	var running []*server
	defer func() {
		for _, p := range running {
			p.Stop()
		}
	}()
	probe := probeOf(w.queries)
	for _, p := range r.present {
		if !slices.Contains(s.peers, p.name) {
			continue
		}
		server, note := r.start(ctx, p, site, s.Machines, probe)
		s.Started = append(s.Started, note)
		if server != nil {
			running = append(running, server)
		}
	}
	debug.FreeOSMemory() // collects what making queries and files left, which would disturb a measurement
	switch s.Key {
	case keyHits:
		for _, server := range running {
			if err := r.warm(ctx, server, w); err != nil {
				return err
			}
		}
	case keyMisses:
		w.queries = nil
	}
	for round := range r.Plan.Rounds {
		// Each round begins with another server, so that none always follows the same.
		first := round % max(1, len(running))
		for _, server := range append(slices.Clone(running[first:]), running[:first]...) {
			if err := ctx.Err(); err != nil {
				return err
			}
			m := r.measure(ctx, server, w)
			m.Round = round
			s.Rounds = append(s.Rounds, m)
			r.env.Say("%s, round %d of %d: %s", s.Title, round+1, r.Plan.Rounds, m.line())
		}
	}
	return nil
}

// facts writes the files that servers read, unless they exist, and returns the
// queries.
func (r *run) facts(machines int, udpSize uint16) (s site, queries []dataset.Query, err error) {
	d, err := dataset.New(r.Plan.Seed, dataset.DefaultShape(machines))
	if err != nil {
		return s, nil, err
	}
	traffic := dataset.DefaultTraffic(r.Plan.Queries)
	traffic.UDPSize = udpSize
	if queries, err = d.Queries(traffic); err != nil {
		return s, nil, err
	}
	dir := filepath.Join(r.env.Dir, fmt.Sprint(machines))
	s = site{
		Dir: dir, Listen: netip.MustParseAddrPort("127.0.0.1:0"), Network: d.Network(traffic.Network),
		Registry: filepath.Join(dir, "registry.json"), Master: filepath.Join(dir, "internal.zone"),
	}
	if _, err := os.Stat(dir); err == nil {
		return s, queries, nil
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return s, nil, err
	}
	return s, queries, errors.Join(
		harness.WriteFile(s.Registry, d.WriteRegistry),
		harness.WriteFile(s.Master, func(f io.Writer) error { return d.WriteMaster(f, traffic.Network) }),
	)
}

// probeOf returns a query that has answers: a server that is still loading gives
// none.
func probeOf(queries []dataset.Query) *dataset.Query {
	for i := range queries {
		if q := &queries[i]; q.Kind == dataset.AppAAAA && q.Want.Answers > 0 {
			return q
		}
	}
	return &queries[0]
}

// start starts a server and waits until it answers the probe right. The server is
// nil if that fails.
func (r *run) start(ctx context.Context, p peer, s site, machines int, probe *dataset.Query) (*server, Started) {
	limit := 20*time.Second + time.Duration(machines)*150*time.Microsecond
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	note := Started{Peer: p.name}
	server, argv, err := r.tryStart(ctx, p, s, probe)
	if err != nil {
		r.env.Say("%s does not start: %v", p.name, err)
		note.Error = err.Error()
		return nil, note
	}
	note.Command = strings.Join(harness.WithoutDirectories(argv), " ")
	note.Loaded, note.Memory = server.Loaded, harness.Memory(server.PIDs()...)
	r.env.Say("%s has loaded %s machines in %v, and holds %d MiB", p.name, harness.Count(machines), note.Loaded.Round(time.Millisecond), note.Memory>>20)
	return server, note
}

func (r *run) tryStart(ctx context.Context, p peer, s site, probe *dataset.Query) (*server, []string, error) {
	base, _, _ := strings.Cut(p.name, "=")
	dir, err1 := os.MkdirTemp(s.Dir, base+"-")
	listen, err2 := harness.FreePort(s.Listen.Addr())
	admin, err3 := harness.FreePort(s.Listen.Addr())
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, nil, err
	}
	s.Dir, s.Listen, s.Admin = dir, listen, admin
	argv, err := p.command(&s)
	if err != nil {
		return nil, nil, err
	}
	conn, err := net.Dial("udp", s.Listen.String())
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	process, err := harness.Start(ctx, s.Dir, r.Plan.ServerCPU, argv, func() error { return answers(conn, probe, p.echo) })
	return &server{Process: process, peer: p, site: s}, argv, err
}

// answers returns nil if the probe is answered right within 100 ms.
func answers(conn net.Conn, probe *dataset.Query, echo bool) error {
	conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := conn.Write(probe.Message); err != nil {
		return err
	}
	buf := make([]byte, 65535)
	n, err := conn.Read(buf)
	switch {
	case err != nil:
		return err
	case n < 12:
		return fmt.Errorf("a response of %d octets", n)
	case echo && bytes.HasPrefix(buf[:n], probe.Message):
		return nil
	}
	rcode, answers := buf[3]&0xf, uint16(buf[6])<<8|uint16(buf[7])
	if buf[2]&0x80 == 0 || rcode != probe.Want.RCode || answers != probe.Want.Answers {
		return fmt.Errorf("the last response had RCODE %d and %d answers", rcode, answers)
	}
	return nil
}

// options returns the options that all runs of the generator have in common.
func (r *run) options(s *server, w *work) load.Options {
	o := load.Options{
		Server: s.Listen, Transport: w.transport, Queries: w.queries, Sockets: r.Plan.Sockets, Window: r.Plan.Window,
		Warmup: r.Plan.Warmup, Timeout: responseTimeout, Echo: s.echo, Pin: r.Plan.LoadCPU >= 0, CPU: max(0, r.Plan.LoadCPU),
	}
	if w.transport == load.TCPOnce {
		o.Window = onceWindow
	}
	if w.queries == nil {
		o.Ask = w.ask(s)
	}
	return o
}

// load runs the generator, which does the work of the upstream in its turns.
func (w *work) load(ctx context.Context, o load.Options) (load.Result, error) {
	if w.upstream != nil {
		defer w.upstream.Hold()()
		o.Beside = w.upstream.Turn
	}
	return load.Run(ctx, o)
}

// measure measures one server once.
func (r *run) measure(ctx context.Context, s *server, w *work) Measurement {
	m := Measurement{Peer: s.name}
	pids := s.PIDs()
	upstream := func() uint64 { return 0 }
	if w.upstream != nil {
		upstream = func() uint64 { return w.upstream.Counts().Queries } // load holds the upstream
	}
	o := r.options(s, w)
	o.Duration = r.Plan.Measure
	o.Begin = func() { m.CPU, m.Upstream = -harness.CPUTime(pids...), -upstream() }
	o.End = func() { m.CPU, m.Upstream = m.CPU+harness.CPUTime(pids...), m.Upstream+upstream() }
	var err error
	if m.Peak, err = w.load(ctx, o); err == nil {
		o = r.options(s, w)
		o.Duration, o.Rate = r.Plan.Half, max(1, m.Peak.QPS()/2)
		m.Half, err = w.load(ctx, o)
		m.Memory = harness.Memory(pids...)
	}
	if err != nil {
		m.Error = err.Error()
	}
	return m
}

// line returns the measurement as a line for the log.
func (m *Measurement) line() string {
	if m.Error != "" {
		return m.Peer + ": " + m.Error
	}
	s := fmt.Sprintf("%s: %.0f queries/s, %s of CPU each, CPU %s busy, p50 %v and p99 %v at half",
		m.Peer, m.Peak.QPS(), harness.Microseconds(m.cpuPerQuery()), harness.Percent(m.busy(), 0), m.Half.Latency.P50, m.Half.Latency.P99)
	for _, x := range []struct {
		n    uint64
		text string
	}{{m.Upstream, "%d upstream"}, {m.Peak.Wrong + m.Half.Wrong, "%d WRONG"}, {m.Peak.Lost + m.Half.Lost, "%d lost"}} {
		if x.n > 0 {
			s += ", " + fmt.Sprintf(x.text, x.n)
		}
	}
	return s
}
