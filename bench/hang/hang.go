//go:build linux

package hang

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"github.com/internaldns/internaldns/bench/dataset"
	"github.com/internaldns/internaldns/bench/harness"
	"github.com/internaldns/internaldns/bench/load"
	"github.com/internaldns/internaldns/bench/servers"
)

// Kind is the scenario.
var Kind = harness.Kind{
	Name:  "hang",
	Title: "Upstreams that do not answer",
	Short: "Measure local names while upstreams hang, and fail-over",
	Long: "hang starts internaldns with upstreams that do not answer, and measures how long local names take with\n" +
		"and without queries that wait for an upstream, and how long clients wait for the second upstream.",
	Example: "  bench hang                            # internaldns of this checkout, as published\n" +
		"  bench hang --rounds 1 --duration 1s",
	New: func() harness.Scenario { return newScenario() },
}

// Scenario is the plan and the figures.
type Scenario struct {
	Plan   Plan    `json:"plan"`
	Rounds []Round `json:"rounds"`
	// FailoverWorst is the longest time that a query took when the first upstream
	// had just fallen silent, and FailoverUnknown when it had never answered.
	FailoverWorst   time.Duration `json:"failover_worst_ns"`
	FailoverUnknown time.Duration `json:"failover_unknown_ns"`
}

// A Plan says what is measured.
type Plan struct {
	Program  string        `json:"program"`     // internaldns; "": built from this checkout
	Hanging  int           `json:"hanging"`     // queries that wait for an upstream at one time
	Rounds   int           `json:"rounds"`      // of each, idle and waiting in turn
	Rate     float64       `json:"rate"`        // of local queries, a second
	Duration time.Duration `json:"duration_ns"` // of each measurement
	Failover int           `json:"failover"`    // queries for each fail-over
}

// A Round is one measurement of an idle forwarder and one of a waiting one.
type Round struct {
	Idle    load.Result `json:"idle"`
	Hanging load.Result `json:"hanging"` // while queries wait for an upstream
	Least   int         `json:"least"`   // the fewest queries that waited
}

func newScenario() *Scenario {
	return &Scenario{Plan: Plan{Hanging: 10_000, Rounds: 5, Rate: 2000, Duration: 5 * time.Second, Failover: 100}}
}

// Flags adds a flag for each field of the plan.
func (s *Scenario) Flags(f *pflag.FlagSet) {
	p := &s.Plan
	harness.ProgramFlag(f, &p.Program)
	f.IntVar(&p.Hanging, "hanging", p.Hanging, "`QUERIES` that wait for an upstream at one time; each takes a socket, and internaldns uses half of the files that a process may open (ulimit -n) for sockets")
	f.IntVar(&p.Rounds, "rounds", p.Rounds, "`TIMES` that each is measured")
	f.Float64Var(&p.Rate, "rate", p.Rate, "local `QUERIES` a second")
	f.DurationVar(&p.Duration, "duration", p.Duration, "`TIME` of each measurement")
	f.IntVar(&p.Failover, "failover", p.Failover, "`QUERIES` after the first upstream is silent")
}

// Validate returns every fault of the plan.
func (s *Scenario) Validate() error {
	var f harness.Faults
	p := &s.Plan
	f.Least("hanging", 1, p.Hanging)
	f.Least("rounds", 1, p.Rounds)
	f.Least("failover", 1, p.Failover)
	harness.Positive(&f, "rate", p.Rate)
	harness.Positive(&f, "duration", p.Duration)
	return f.Err()
}

// Estimate returns the time that Run takes.
func (s *Scenario) Estimate() string {
	one := 2*s.Plan.Duration + 2*fillTime + time.Second
	return fmt.Sprintf("about %v", (time.Duration(s.Plan.Rounds)*one + 5*time.Second).Round(time.Second))
}

// Run measures.
func (s *Scenario) Run(ctx context.Context, env *harness.Env) error {
	program, err := harness.Program(ctx, s.Plan.Program, env.Dir)
	if err != nil {
		return err
	}
	if err := s.rounds(ctx, env, program); err != nil {
		return fmt.Errorf("while queries hang: %w", err)
	}
	for _, f := range []struct {
		answered bool
		longest  *time.Duration
	}{{true, &s.FailoverWorst}, {false, &s.FailoverUnknown}} {
		if *f.longest, err = s.failover(ctx, env, program, f.answered); err != nil {
			return fmt.Errorf("fail-over: %w", err)
		}
		env.Say("fail-over, longest of %d: %v", s.Plan.Failover, *f.longest)
	}
	return nil
}

// hangLabel begins the names that upstreams do not answer, in any letter case.
const hangLabel = "\x04hang"

// newUpstream returns an upstream that does not answer names below "hang", and
// nothing at all while silent is true.
func newUpstream(silent *atomic.Bool) (u *servers.Upstream, stop func() error, err error) {
	if u, err = servers.NewUpstream(netip.MustParseAddrPort("127.0.0.1:0")); err != nil {
		return nil, nil, err
	}
	u.Drop = func(name []byte) bool {
		return silent.Load() || bytes.EqualFold(name[:min(len(hangLabel), len(name))], []byte(hangLabel))
	}
	return u, u.Background(), nil
}

// serve starts internaldns with its sample and the upstreams.
func (s *Scenario) serve(ctx context.Context, env *harness.Env, program string, upstreams ...*servers.Upstream) (*harness.Server, error) {
	limit := strconv.Itoa(2 * s.Plan.Hanging)
	args := []string{"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--max-in-flight", limit, "--max-per-source", limit}
	for _, u := range upstreams {
		args = append(args, "--upstream", u.Addr().String())
	}
	return harness.Serve(ctx, env.Dir, program, args...)
}

// rounds measures local names with and without queries that hang, in turn.
func (s *Scenario) rounds(ctx context.Context, env *harness.Env, program string) error {
	u, stop, err := newUpstream(new(atomic.Bool))
	if err != nil {
		return err
	}
	defer stop()
	server, err := s.serve(ctx, env, program, u)
	if err != nil {
		return err
	}
	defer server.Stop()
	names := filepath.Join(env.Dir, "names")
	if err := os.WriteFile(names, []byte("web.internal AAAA\nams.web.internal AAAA\n_apps.internal TXT\nabsent.internal AAAA\n"), 0o600); err != nil {
		return err
	}
	measure := func() (*load.Result, error) {
		return harness.Load(ctx, server.DNS.String(), "--queries", names, "--timeout", "5s",
			"--rate", strconv.FormatFloat(s.Plan.Rate, 'f', -1, 64), "--duration", s.Plan.Duration.String())
	}
	for n := range s.Plan.Rounds {
		idle, err := measure()
		if err != nil {
			return err
		}
		h, err := hang(ctx, server, s.Plan.Hanging)
		if err != nil {
			return err
		}
		hanging, err := measure()
		least, hangErr := h.stop()
		if err = errors.Join(err, hangErr); err != nil {
			return err
		}
		for n := -1; n != 0; time.Sleep(askEvery) { // the last queries fail after 5 s
			if n, err = inFlight(ctx, server); err != nil {
				return err
			}
		}
		s.Rounds = append(s.Rounds, Round{*idle, *hanging, least})
		env.Say("round %d: p99 %v idle, %v with at least %d hanging", n+1, idle.Latency.P99, hanging.Latency.P99, least)
	}
	return nil
}

// inFlight returns how many queries wait for upstreams.
func inFlight(ctx context.Context, server *harness.Server) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+server.Admin+"/status", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var status struct {
		Forward struct {
			InFlight int `json:"in_flight"`
		}
	}
	err = json.NewDecoder(resp.Body).Decode(&status)
	return status.Forward.InFlight, err
}

const (
	clients  = 10                     // that send queries that hang, each with an address of its own
	askEvery = 5 * time.Millisecond   // the time between two groups of their queries
	lookTime = 100 * time.Millisecond // the time between two counts of those that hang

	// fillTime is the time until all queries hang: somewhat less than the 5 s after
	// which the first fail. So failing queries, and those that replace them, are
	// spread evenly over time: queries that hang are to be measured, and not bursts.
	fillTime = 4 * time.Second

	// fillLimit is the time after which a run with too few queries that hang fails.
	fillLimit = 30 * time.Second
)

// A hanging keeps a number of queries waiting for an upstream, from goroutine run.
type hanging struct {
	conns  []net.Conn
	end    context.CancelFunc
	full   chan struct{} // closed when all queries wait
	done   chan struct{} // closed when run has returned
	least  int           // the fewest that waited from then on; valid after done
	err    error         // valid after done
	server *harness.Server
}

// hang returns when that many queries hang. It must be stopped.
func hang(ctx context.Context, server *harness.Server, queries int) (*hanging, error) {
	h := &hanging{full: make(chan struct{}), done: make(chan struct{}), least: queries, server: server}
	for i := range clients {
		d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 1, byte(i+1))}}
		conn, err := d.Dial("udp4", server.DNS.String())
		if err != nil {
			h.close()
			return nil, err
		}
		h.conns = append(h.conns, conn)
	}
	ctx, h.end = context.WithCancel(ctx)
	go func() {
		defer close(h.done)
		h.err = h.run(ctx, queries)
	}()
	var err error
	select {
	case <-h.full:
		return h, nil
	case <-time.After(fillLimit):
		err = fmt.Errorf("fewer than %d queries hang after %v: the limit of open files may be too low (ulimit -n)", queries, fillLimit)
	case <-h.done:
	}
	_, stopErr := h.stop()
	return nil, cmp.Or(err, stopErr, ctx.Err())
}

func (h *hanging) run(ctx context.Context, queries int) error {
	sent := 0
	send := func(message []byte) {
		sent++
		binary.BigEndian.PutUint16(message, uint16(sent))
		h.conns[sent%clients].Write(message) // the responses stay unread
	}
	hangs := func() []byte {
		q, _ := dataset.NewQuery(fmt.Sprintf("hang.n%d.x%d.example", sent, time.Now().UnixNano()), dataset.TypeA, 0)
		return q.Message
	}
	var answered dataset.Query
	looked, lack, full := time.Time{}, 0, false
	for tick := time.Tick(askEvery); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick:
		}
		if time.Since(looked) >= lookTime {
			n, err := inFlight(ctx, h.server)
			if err != nil {
				return err
			}
			looked = time.Now()
			lack = queries + queries/50 - n // some more, for those that fail until the next count
			switch {
			case full:
				h.least = min(h.least, n)
			case n >= queries:
				full = true
				close(h.full)
			}
			// The upstream answers other names, so that it does not count as dead.
			servers.ForwardedQuery(uint32(time.Now().UnixNano()), 1232, &answered)
			send(answered.Message)
		}
		for range min(lack, 1+queries*int(askEvery)/int(fillTime)) {
			send(hangs())
			lack--
		}
	}
}

// stop ends run and returns the fewest queries that hung. Those that hang now are
// left to the server.
func (h *hanging) stop() (least int, err error) {
	h.end()
	<-h.done
	h.close()
	if errors.Is(h.err, context.Canceled) {
		h.err = nil
	}
	return h.least, h.err
}

func (h *hanging) close() {
	for _, conn := range h.conns {
		conn.Close()
	}
}

// failover sends queries one after another to a server whose first upstream is
// silent, and returns the longest time that one took. If answered is true, the
// upstream had answered before.
func (s *Scenario) failover(ctx context.Context, env *harness.Env, program string, answered bool) (longest time.Duration, err error) {
	var silent, never atomic.Bool
	first, stopFirst, err := newUpstream(&silent)
	if err != nil {
		return 0, err
	}
	defer stopFirst()
	second, stopSecond, err := newUpstream(&never)
	if err != nil {
		return 0, err
	}
	defer stopSecond()
	silent.Store(!answered)
	server, err := s.serve(ctx, env, program, first, second)
	if err != nil {
		return 0, err
	}
	defer server.Stop()
	conn, err := net.Dial("udp4", server.DNS.String())
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	var q dataset.Query
	before := 0
	if answered {
		before = 100
	}
	for n := range before + s.Plan.Failover {
		if n == before {
			silent.Store(true)
		}
		servers.ForwardedQuery(uint32(n), 1232, &q)
		binary.BigEndian.PutUint16(q.Message, uint16(n))
		began := time.Now()
		conn.SetDeadline(began.Add(10 * time.Second))
		buf := make([]byte, 4096)
		if _, err := conn.Write(q.Message); err != nil {
			return 0, err
		}
		k, err := conn.Read(buf)
		if err != nil {
			return 0, err
		}
		if k < 12 || !bytes.Equal(buf[:2], q.Message[:2]) || buf[3]&0xF != dataset.NoError || binary.BigEndian.Uint16(buf[6:]) != q.Want.Answers {
			return 0, fmt.Errorf("%s is answered %x", q.Name(), buf[:k])
		}
		if n >= before {
			longest = max(longest, time.Since(began))
		}
	}
	return longest, nil
}

// Report writes the figures.
func (s *Scenario) Report(p *harness.Page) {
	var idle, hanging []time.Duration
	var least []int
	var idleLost, hangingLost uint64
	for i := range s.Rounds {
		r := &s.Rounds[i]
		idle, hanging = append(idle, r.Idle.Latency.P99), append(hanging, r.Hanging.Latency.P99)
		idleLost, hangingLost = idleLost+r.Idle.Lost, hangingLost+r.Hanging.Lost
		least = append(least, r.Least)
	}
	if len(least) == 0 {
		return
	}
	p.Table(" | ", [][]string{
		{fmt.Sprintf("p99 of local names, median of %d", len(idle)), harness.Time(harness.Median(idle))},
		{fmt.Sprintf("… while %s queries for other names wait for an upstream (at least %s)", harness.Count(s.Plan.Hanging), harness.Count(slices.Min(least))), harness.Time(harness.Median(hanging))},
		{"ratio", fmt.Sprintf("%.2f", float64(harness.Median(hanging))/float64(harness.Median(idle)))},
		{"local queries lost, idle and then", fmt.Sprintf("%d, %d", idleLost, hangingLost)},
		{fmt.Sprintf("first upstream falls silent: the longest of %d queries", s.Plan.Failover), harness.Time(s.FailoverWorst)},
		{fmt.Sprintf("first upstream never answered: the longest of %d", s.Plan.Failover), harness.Time(s.FailoverUnknown)},
	})
}
