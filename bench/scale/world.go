//go:build linux

package scale

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/bench/dataset"
	"github.com/internaldns/internaldns/bench/internal/affinity"
	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
	"github.com/internaldns/internaldns/resolver"
	"github.com/internaldns/internaldns/zone"
)

// A world is store and publisher over the facts of one dataset.
type world struct {
	store     *registry.Store
	publisher *zone.Publisher
	network   registry.Network
	compiling time.Duration // spent in the publisher so far
}

// newWorld returns a world without facts. Loopback is placed in the first
// network of datasets.
func newWorld() *world {
	prefix := datasetNetwork().Addr()
	w := &world{}
	w.network, _ = registry.NetworkOf(prefix)
	w.publisher = zone.NewPublisher(zone.Options{TTL: 5, Region: "ams", Clients: []zone.Client{
		{Prefix: netip.MustParsePrefix("127.0.0.0/8"), Network: w.network, Region: "ams"},
	}})
	w.store = registry.NewStore(func(s *registry.Snapshot, c *registry.Changes) {
		begun := time.Now()
		w.publisher.Commit(s, c)
		w.compiling += time.Since(begun)
	})
	w.publisher.Ready()
	return w
}

func datasetNetwork() netip.Prefix {
	d, err := dataset.New(0, dataset.DefaultShape(0))
	if err != nil {
		panic(err) // a shape of ours
	}
	return d.Network(0)
}

// Load is what it takes to read a registry file into an empty registry.
type Load struct {
	Machines int    `json:"machines"`
	Apps     int    `json:"apps"`
	File     uint64 `json:"file_octets"`

	Parse   time.Duration `json:"parse_ns"`
	Diff    time.Duration `json:"diff_ns"`
	Apply   time.Duration `json:"apply_ns"` // without Compile
	Compile time.Duration `json:"compile_ns"`
	// CPU is what all of it took, collections included.
	CPU time.Duration `json:"cpu_ns"`

	// Before is the memory of the empty registry, and After that of the full
	// one, with the peak while it was loaded.
	Before Memory `json:"before"`
	After  Memory `json:"after"`
}

// Total returns the time from opening the file to the last compiled answer.
func (l *Load) Total() time.Duration { return l.Parse + l.Diff + l.Apply + l.Compile }

// PerMachine returns what the heap holds for a machine, in octets, all in.
func (l *Load) PerMachine() float64 { return perMachine(l.After.Heap, l.Before.Heap, l.Machines) }

// ResidentPerMachine is PerMachine for what the kernel counts.
func (l *Load) ResidentPerMachine() float64 {
	return perMachine(l.After.Resident, l.Before.Resident, l.Machines)
}

func perMachine(after, before uint64, machines int) float64 {
	return (float64(after) - float64(before)) / float64(machines)
}

// writeFacts writes the dataset as a registry file in dir.
func writeFacts(d *dataset.Dataset, dir string) (string, error) {
	path := filepath.Join(dir, "registry.json")
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	return path, errors.Join(d.WriteRegistry(f), f.Close())
}

// load brings the world to what the file says, as a source does.
func (w *world) load(ctx context.Context, path string, progress func(string, ...any)) (Load, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Load{}, err
	}
	l := Load{File: uint64(info.Size()), Before: settled()}
	resetPeak()
	begun, cpu := time.Now(), cpuTime()
	lap := func(d *time.Duration) { *d = time.Since(begun); begun = time.Now() }

	facts, err := parse(path, progress)
	if err != nil {
		return l, err
	}
	lap(&l.Parse)
	l.Machines, l.Apps = len(facts.Machines), len(facts.Apps)
	if err := ctx.Err(); err != nil {
		return l, err
	}
	progress("  applying %s machines", thousands(l.Machines))
	events := w.store.Snapshot().Diff(facts)
	lap(&l.Diff)
	compiled := w.compiling
	if _, err := w.store.Apply(events); err != nil {
		return l, fmt.Errorf("apply the dataset's facts: %w", err)
	}
	lap(&l.Apply)
	l.Compile = w.compiling - compiled
	l.Apply -= l.Compile
	l.CPU = cpuTime() - cpu
	facts, events = nil, nil
	peak := memory().Peak
	l.After = settled()
	l.After.Peak = peak
	if n := w.machines(); n != l.Machines {
		return l, fmt.Errorf("the registry has %d machines of %d that were applied", n, l.Machines)
	}
	return l, ctx.Err()
}

func parse(path string, progress func(string, ...any)) (*registry.Facts, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	told := time.Now()
	return format.Parse(path, f, func(machines int) {
		if time.Since(told) > 3*time.Second {
			told = time.Now()
			progress("  read %s machines", thousands(machines))
		}
	})
}

// serve answers on loopback until stop is called, which returns what went wrong.
// Meanwhile all of the process keeps to that CPU, and the server is as it would be
// on a machine that has no other, unless cpu is negative.
func (w *world) serve(ctx context.Context, cpu int) (addr netip.AddrPort, stop func() error, err error) {
	procs, release := runtime.GOMAXPROCS(0), func() {}
	defer func() {
		if err != nil {
			runtime.GOMAXPROCS(procs)
			release()
		}
	}()
	if cpu >= 0 {
		if release, err = affinity.PinProcess(cpu); err != nil {
			return addr, nil, err
		}
		runtime.GOMAXPROCS(1)
	}
	srv, err := resolver.Listen(resolver.Config{
		Listen: []string{"127.0.0.1:0"}, Zone: w.publisher, Metrics: new(metrics.DNS), Prefer: true, Log: zap.NewNop(),
	})
	if err != nil {
		return addr, nil, err
	}
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + srv.Waiting())
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	return srv.Addrs()[0], func() error {
		cancel()
		err := <-done
		runtime.GOMAXPROCS(procs)
		release()
		return err
	}, nil
}

// machines returns how many machines there are.
func (w *world) machines() int {
	s := w.store.Snapshot().Stats()
	return s.Total()
}
