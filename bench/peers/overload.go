//go:build linux

package peers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/internaldns/internaldns/bench/harness"
	"github.com/internaldns/internaldns/bench/load"
)

// Overload is one server that was sent more than it can answer, once.
type Overload struct {
	Peer  string `json:"peer"`
	Round int    `json:"round"`
	Kind  string `json:"kind"`
	Error string `json:"error,omitempty"`
	// Capacity is the closed loop before, and Load the overload.
	Capacity load.Result `json:"capacity"`
	Load     load.Result `json:"load"`
	// Memory and Goroutines (-1 if unknown) are those before and after.
	Memory     [2]uint64 `json:"memory_octets"`
	Goroutines [2]int    `json:"goroutines"`
}

// The kinds of overload.
const (
	kindFlood = "flood" // as much as the generator can send
	kindQuota = "quota" // ten times what the server answers with a tenth of a CPU
)

const (
	// capacityTime and overloadTime are the measured times before and during
	// overload. The latter is long enough for a queue to show in memory.
	capacityTime = 1500 * time.Millisecond
	overloadTime = 3 * time.Second

	// overloadRounds is how often each server is overloaded in a row. The report
	// shows the median, and the memory after the last.
	overloadRounds = 3
)

// overload overloads every server, each alone on its CPU.
func (r *run) overload(ctx context.Context) error {
	names := r.Plan.overloaded()
	if len(names) == 0 {
		return nil
	}
	machines := r.Plan.Sets[0]
	r.env.Say("overload: making the facts")
	site, queries, err := r.facts(machines, 1232)
	if err != nil {
		return err
	}
	kinds := []string{kindFlood, kindQuota}
	if q, err := newQuota(); err != nil {
		r.env.Note("Overload with a tenth of a CPU was not measured: %v.", err)
		kinds = kinds[:1]
	} else {
		r.env.Note("The tenth of a CPU is a quota of %v.", q)
		q.remove()
	}
	for _, kind := range kinds {
		for _, p := range r.present {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !slices.Contains(names, p.name) {
				continue
			}
			s, note := r.start(ctx, p, site, machines, probeOf(queries))
			if s == nil {
				r.Overload = append(r.Overload, Overload{Peer: p.name, Kind: kind, Error: note.Error})
				continue
			}
			r.overloadRounds(ctx, s, kind, &work{transport: load.UDP, queries: queries})
			s.Stop()
		}
	}
	return ctx.Err()
}

// overloadRounds overloads one server until a round fails.
func (r *run) overloadRounds(ctx context.Context, s *server, kind string, w *work) {
	var err error
	if kind == kindQuota {
		var q *quota
		if q, err = newQuota(); err == nil {
			defer q.remove()
			err = q.hold(s.PIDs())
		}
	}
	for round := 0; round < overloadRounds && (round == 0 || err == nil); round++ {
		o := Overload{Peer: s.name, Kind: kind, Round: round}
		if err == nil {
			err = r.overloadOnce(ctx, s, &o, w)
		}
		if err != nil {
			o.Error = err.Error()
		}
		r.Overload = append(r.Overload, o)
		r.env.Say("%s of %s: %.0f sent a second, %.0f right in time, of %.0f at peak %s", kind, s.name, o.Load.SentQPS(), o.Load.Goodput(), o.Capacity.QPS(), o.Error)
	}
}

func (r *run) overloadOnce(ctx context.Context, s *server, out *Overload, w *work) (err error) {
	o := r.options(s, w)
	o.Duration = capacityTime
	if out.Capacity, err = w.load(ctx, o); err != nil {
		return err
	}
	out.Memory[0], out.Goroutines[0] = harness.Memory(s.PIDs()...), s.goroutines()
	o.Duration = overloadTime
	if out.Kind == kindFlood {
		o.Flood = true
	} else {
		o.Rate = max(1, 10*out.Capacity.QPS())
	}
	out.Load, err = w.load(ctx, o)
	out.Memory[1], out.Goroutines[1] = harness.Memory(s.PIDs()...), s.goroutines()
	return err
}

// goroutines returns the number of goroutines in the server's metrics, or -1.
func (s *server) goroutines() int {
	if !s.admin {
		return -1
	}
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + s.Admin.String() + "/metrics")
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(io.LimitReader(resp.Body, 16<<20)); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			if n, err := strconv.ParseFloat(rest, 64); err == nil {
				return int(n)
			}
		}
	}
	return -1
}

// A tenth of a CPU, in short slices: with the usual period of 100 ms a server would
// stand still for 90 ms at a time, and could not answer within 100 ms whatever it
// does.
const (
	quotaPeriod = 10 * time.Millisecond
	quotaTime   = time.Millisecond
)

// A quota is a control group that holds processes to a tenth of a CPU.
type quota struct {
	dir     string
	parent  string // the group that processes go back to
	version int    // of control groups
}

// newQuota makes a group and changes no other: it fails if groups do not have the
// cpu controller already.
func newQuota() (*quota, error) {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	reasons := []error{errors.New("no cpu controller of control groups can be used")}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		var q *quota
		switch {
		case f[2] == "cgroup2":
			q, err = makeGroup(f[1], 2)
		case f[2] == "cgroup" && slices.Contains(strings.Split(f[3], ","), "cpu"):
			q, err = makeGroup(f[1], 1)
		default:
			continue
		}
		if err == nil {
			return q, nil
		}
		reasons = append(reasons, err)
	}
	return nil, errors.Join(reasons...)
}

func makeGroup(parent string, version int) (*quota, error) {
	if version == 2 {
		b, err := os.ReadFile(filepath.Join(parent, "cgroup.subtree_control"))
		if err != nil {
			return nil, err
		}
		if !slices.Contains(strings.Fields(string(b)), "cpu") {
			return nil, errors.New("the cgroup v2 tree does not give the cpu controller to its groups")
		}
	}
	q := &quota{dir: filepath.Join(parent, "internaldns-bench-"+strconv.Itoa(os.Getpid())), parent: parent, version: version}
	if err := os.Mkdir(q.dir, 0o755); err != nil {
		return nil, err
	}
	time, period := fmt.Sprint(quotaTime.Microseconds()), fmt.Sprint(quotaPeriod.Microseconds())
	var err error
	if version == 2 {
		err = q.write("cpu.max", time+" "+period)
	} else {
		err = errors.Join(q.write("cpu.cfs_period_us", period), q.write("cpu.cfs_quota_us", time))
	}
	if err != nil {
		q.remove()
		return nil, err
	}
	return q, nil
}

func (q *quota) write(file, value string) error {
	return os.WriteFile(filepath.Join(q.dir, file), []byte(value), 0o644)
}

// hold puts the processes into the group.
func (q *quota) hold(pids []int) (err error) {
	for _, pid := range pids {
		err = errors.Join(err, q.write("cgroup.procs", strconv.Itoa(pid)))
	}
	return err
}

// remove puts the processes of the group back into its parent, and removes it.
func (q *quota) remove() {
	b, _ := os.ReadFile(filepath.Join(q.dir, "cgroup.procs"))
	for _, pid := range strings.Fields(string(b)) {
		os.WriteFile(filepath.Join(q.parent, "cgroup.procs"), []byte(pid), 0o644)
	}
	os.Remove(q.dir)
}

func (q *quota) String() string {
	return fmt.Sprintf("cgroup v%d: %v in every %v", q.version, quotaTime, quotaPeriod)
}
