//go:build linux

package scale

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/internaldns/internaldns/bench/harness"
	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
)

// Deletion is many machines deleted at once.
type Deletion struct {
	Before int `json:"before"` // machines
	Left   int `json:"left"`
	// Took is from the facts to the last answer: difference, commit, compiling.
	Took time.Duration `json:"took_ns"`
	// Held is the memory as the commit ended, and After once it has settled.
	Held  Memory `json:"held"`
	After Memory `json:"after"`
	// Fresh is the heap of a registry that never had more machines than are left,
	// and Empty that of a registry that never had any.
	Fresh uint64 `json:"fresh_octets"`
	Empty uint64 `json:"empty_octets"`
}

// keepOneIn says that the first deletion leaves one of ten machines, in all apps.
// That shares more memory than deleting whole apps, which is harder to give back.
const keepOneIn = 10

// deleteMost deletes nine of ten machines, with a smaller file, and then
// everything. empty is the heap before there were facts.
func deleteMost(ctx context.Context, w *world, empty uint64, dir string) ([]Deletion, error) {
	path, err := w.writeRemains(dir)
	if err != nil {
		return nil, err
	}
	facts, err := parse(path)
	if err != nil {
		return nil, err
	}
	most, err := w.deleteAllBut(facts)
	if err != nil {
		return nil, err
	}
	facts = nil
	most.After = settled()
	if err := w.check(most.Left); err != nil {
		return nil, err
	}
	fresh := newWorld()
	l, err := fresh.load(ctx, path)
	if err != nil {
		return nil, err
	}
	most.Fresh, most.Empty = l.After.Heap-l.Before.Heap, empty
	runtime.KeepAlive(fresh)

	fresh = nil
	all, err := w.deleteAllBut(&registry.Facts{})
	if err != nil {
		return nil, err
	}
	all.After, all.Empty = settled(), empty
	return []Deletion{most, all}, w.check(0)
}

// deleteAllBut applies the difference to the facts.
func (w *world) deleteAllBut(facts *registry.Facts) (Deletion, error) {
	d := Deletion{Before: w.machines(), Left: len(facts.Machines)}
	settled()
	began := time.Now()
	if _, err := w.store.Apply(w.store.Snapshot().Diff(facts)); err != nil {
		return d, err
	}
	d.Took = time.Since(began)
	d.Held = memory()
	return d, nil
}

// writeRemains writes the registry with one in ten of its machines to a file.
func (w *world) writeRemains(dir string) (string, error) {
	s := w.store.Snapshot()
	facts := registry.Facts{Networks: slices.Collect(s.Networks())}
	for a := range s.Apps() {
		facts.Apps = append(facts.Apps, *a)
		for m := range s.Machines(a) {
			// Addresses are in no order that an index has.
			if octets := m.Address.As16(); (int(octets[12])<<8|int(octets[13]))%keepOneIn == 0 {
				facts.Machines = append(facts.Machines, m)
			}
		}
	}
	for p := range s.Peers() {
		facts.Peers = append(facts.Peers, *p)
	}
	for f := range s.Flycast() {
		facts.Flycast = append(facts.Flycast, *f)
	}
	path := filepath.Join(dir, "remains.json")
	return path, harness.WriteFile(path, func(f io.Writer) error { return format.Write(f, &facts) })
}

// check returns an error if the registry has another number of machines, or if
// names of machines are answered wrong.
func (w *world) check(machines int) error {
	if n := w.machines(); n != machines {
		return fmt.Errorf("%d machines are left of %d", n, machines)
	}
	if machines == 0 {
		return nil
	}
	picks, err := w.picks(1000, 0, nil)
	if err != nil {
		return err
	}
	return allShown(w.publisher, picks)
}
