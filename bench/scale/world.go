//go:build linux

package scale

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/bench/dataset"
	"github.com/internaldns/internaldns/bench/harness"
	"github.com/internaldns/internaldns/metrics"
	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
	"github.com/internaldns/internaldns/resolver"
	"github.com/internaldns/internaldns/zone"
	"github.com/internaldns/internaldns/zone/wire"
)

// A world is store and publisher over the facts of one dataset.
type world struct {
	store     *registry.Store
	publisher *zone.Publisher
	network   registry.Network
	compiling time.Duration // spent in the publisher so far
}

// newWorld returns a world without facts. Clients on loopback are in the first
// network of datasets.
func newWorld() *world {
	w := &world{network: firstNetwork()}
	w.publisher = zone.NewPublisher(zone.Options{TTL: 5, Region: "ams", Clients: []zone.Client{
		{Prefix: netip.MustParsePrefix("127.0.0.0/8"), Network: w.network, Region: "ams"},
	}})
	w.store = registry.NewStore(func(s *registry.Snapshot, c *registry.Changes) {
		began := time.Now()
		w.publisher.Commit(s, c)
		w.compiling += time.Since(began)
	})
	w.publisher.Ready()
	return w
}

// firstNetwork returns the first network of every dataset.
func firstNetwork() registry.Network {
	d, err := dataset.New(0, dataset.DefaultShape(0))
	if err != nil {
		panic(err) // the shape is valid
	}
	n, _ := registry.NetworkOf(d.Network(0).Addr())
	return n
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
	Usage   Usage         `json:"usage"`

	// Before is the memory of the empty registry, and After that of the full one,
	// with the peak of loading.
	Before Memory `json:"before"`
	After  Memory `json:"after"`
}

// Total returns the time from opening the file to the last compiled answer.
func (l *Load) Total() time.Duration { return l.Parse + l.Diff + l.Apply + l.Compile }

// PerMachine returns the octets of heap for one machine, everything included.
func (l *Load) PerMachine() float64 {
	return (float64(l.After.Heap) - float64(l.Before.Heap)) / float64(l.Machines)
}

// ResidentPerMachine returns the octets of resident memory for one machine.
func (l *Load) ResidentPerMachine() float64 {
	return (float64(l.After.Resident) - float64(l.Before.Resident)) / float64(l.Machines)
}

// writeFacts writes a dataset as a registry file in dir and returns its path.
func writeFacts(seed uint64, shape dataset.Shape, dir string) (string, error) {
	d, err := dataset.New(seed, shape)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "registry.json")
	return path, harness.WriteFile(path, d.WriteRegistry)
}

func parse(path string) (*registry.Facts, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return format.Parse(path, f, nil)
}

// load applies the facts of the file, as a source does.
func (w *world) load(ctx context.Context, path string) (l Load, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return l, err
	}
	l = Load{File: uint64(info.Size()), Before: settled()}
	resetPeak()
	used, began := use(), time.Now()
	lap := func(d *time.Duration) { *d = time.Since(began); began = time.Now() }

	facts, err := parse(path)
	if err != nil {
		return l, err
	}
	lap(&l.Parse)
	l.Machines, l.Apps = len(facts.Machines), len(facts.Apps)
	if err := ctx.Err(); err != nil {
		return l, err
	}
	events := w.store.Snapshot().Diff(facts)
	lap(&l.Diff)
	compiled := w.compiling
	if _, err := w.store.Apply(events); err != nil {
		return l, fmt.Errorf("apply the facts of the dataset: %w", err)
	}
	lap(&l.Apply)
	l.Compile = w.compiling - compiled
	l.Apply -= l.Compile
	l.Usage = used()
	facts, events = nil, nil
	peak := memory().Peak
	l.After = settled()
	l.After.Peak = peak
	if n := w.machines(); n != l.Machines {
		return l, fmt.Errorf("the registry has %d machines of %d that were applied", n, l.Machines)
	}
	return l, ctx.Err()
}

// machines returns how many machines there are.
func (w *world) machines() int {
	s := w.store.Snapshot().Stats()
	return s.Total()
}

// serve answers on loopback until stop is called, which returns the error of the
// server. Unless cpu is negative, all threads of this process are bound to it
// meanwhile, and the server runs as on a machine with one CPU.
func (w *world) serve(ctx context.Context, cpu int) (addr netip.AddrPort, stop func() error, err error) {
	procs := runtime.GOMAXPROCS(0)
	release := func() {
		runtime.GOMAXPROCS(procs)
		if cpu >= 0 {
			harness.Bind(os.Getpid(), -1)
		}
	}
	if cpu >= 0 {
		if err = harness.Bind(os.Getpid(), cpu); err != nil {
			release()
			return addr, nil, err
		}
		runtime.GOMAXPROCS(1)
	}
	srv, err := resolver.Listen(resolver.Config{
		Listen: []string{"127.0.0.1:0"}, Zone: w.publisher, Metrics: new(metrics.DNS), ReniceOthers: true, Log: zap.NewNop(),
	})
	if err != nil {
		release()
		return addr, nil, err
	}
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + srv.Waiting())
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	return srv.Addrs()[0], func() error {
		cancel()
		err := <-done
		release()
		return err
	}, nil
}

// A pick is a machine to update, as it was last put, and the query that shows it:
// AAAA <id>.vm.<app>.internal.
type pick struct {
	machine registry.Machine
	query   []byte
}

// picks returns at most n deployed machines, drawn at random from all apps but
// those to avoid. The same seed draws the same machines.
func (w *world) picks(n int, seed uint64, avoid map[string]bool) ([]pick, error) {
	r := rand.New(rand.NewPCG(seed, 0))
	var drawn []*registry.Machine
	seen := 0
	for m := range w.store.Snapshot().MachinesIn(w.network) {
		if avoid[m.App] || !m.Deployed() {
			continue
		}
		seen++
		if len(drawn) < n {
			drawn = append(drawn, m)
		} else if at := r.IntN(seen); at < n {
			drawn[at] = m
		}
	}
	if len(drawn) == 0 {
		return nil, fmt.Errorf("each of %d machines is in an app that queries ask for", w.machines())
	}
	r.Shuffle(len(drawn), func(i, j int) { drawn[i], drawn[j] = drawn[j], drawn[i] })
	picks := make([]pick, len(drawn))
	for i, m := range drawn {
		picks[i] = newPick(m)
	}
	return picks, nil
}

func newPick(m *registry.Machine) pick {
	q, err := dataset.NewQuery(m.ID+".vm."+m.App+".internal", dataset.TypeAAAA, 0)
	if err != nil {
		panic(err) // names of datasets are valid
	}
	return pick{*m, q.Message}
}

// What an update does.
const (
	state   = "state"            // stops a started machine, and starts any other
	address = "address"          // gives the machine an unused address
	added   = "added one by one" // adds it as it is
)

// update changes the machine and returns the event. The event is valid until the
// next update of the machine.
func (p *pick) update(what string) registry.Event {
	m := &p.machine
	switch what {
	case state:
		if m.State == registry.StateStarted {
			m.State = "stopped"
		} else {
			m.State = registry.StateStarted
		}
	case address:
		a := m.Address.As16()
		a[14]++ // 0 in all addresses of datasets, and those differ in octets before it
		m.Address = netip.AddrFrom16(a)
	}
	return registry.Put(m)
}

// shown returns an error if the response to the pick's query does not have the
// last update of the machine.
func (p *pick) shown(response []byte) error {
	m := &p.machine
	if len(response) < wire.HeaderLen {
		return fmt.Errorf("%v: a response of %d octets", m, len(response))
	}
	rcode, answers := response[3]&0xf, binary.BigEndian.Uint16(response[6:])
	address := m.Address.As16()
	switch {
	case rcode != dataset.NoError:
		return fmt.Errorf("%v is %s, and its name has RCODE %d", m, m.State, rcode)
	case m.Started() && (answers != 1 || !bytes.Contains(response, address[:])):
		return fmt.Errorf("%v is started, and its name has %d addresses and not %v", m, answers, m.Address)
	case !m.Started() && answers != 0:
		return fmt.Errorf("%v is %s, and its name has an address", m, m.State)
	}
	return nil
}

// allShown returns an error if an answer does not have the last update of a pick.
func allShown(p *zone.Publisher, picks []pick) error {
	k := newAsker()
	for i := range picks {
		if err := picks[i].shown(k.ask(p, picks[i].query)); err != nil {
			return err
		}
	}
	return nil
}

// An asker answers queries as a worker of package resolver does, without its
// system calls.
type asker struct {
	q   wire.Query
	a   zone.Answer
	out []byte
}

func newAsker() *asker { return &asker{out: make([]byte, 0, wire.MaxMessageLen)} }

// ask returns the response to a query from the current Table of the publisher. It
// is valid until the next call.
func (k *asker) ask(p *zone.Publisher, query []byte) []byte {
	if k.q.Parse(query) != wire.Answer {
		return nil
	}
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	const limit = wire.MinUDPSize // the queries have no EDNS
	view := p.Table().For(loopback, loopback)
	view.Lookup(&k.q, limit, &k.a)
	k.out, _ = k.a.AppendTo(k.out[:0], &k.q, zone.Frame{Limit: limit, Truncate: true})
	return k.out
}
