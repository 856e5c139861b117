//go:build linux

package scale

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/format"
)

// Deletion is many machines taken away at once.
type Deletion struct {
	Before int `json:"before"` // machines
	Left   int `json:"left"`
	// Took is from the facts to the last answer: difference, commit, compiling.
	Took time.Duration `json:"took_ns"`
	// Held is the memory as the commit ended, and After once it has settled.
	Held  Memory `json:"held"`
	After Memory `json:"after"`
	// Fresh is what the heap holds of a registry that never had more than is
	// left, and Empty of one that never had anything.
	Fresh uint64 `json:"fresh_octets"`
	Empty uint64 `json:"empty_octets"`
}

// keepOneIn is how few machines are left at first: one of ten, scattered over
// all apps and every index, which is worse for what shares memory than the
// deletion of whole apps.
const keepOneIn = 10

// deleteMost takes nine of ten machines away, by a smaller file, and then
// everything. empty is what the heap held before there were facts.
func (r *Runner) deleteMost(ctx context.Context, w *world, empty uint64) ([]Deletion, error) {
	path, err := r.writeRemains(w)
	if err != nil {
		return nil, err
	}
	facts, err := parse(path, r.say)
	if err != nil {
		return nil, err
	}
	left := len(facts.Machines)
	most, err := w.deleteUntil(facts)
	if err != nil {
		return nil, err
	}
	facts = nil
	most.After = settled()
	if err := w.remain(left); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fresh := newWorld()
	l, err := fresh.load(ctx, path, r.say)
	if err != nil {
		return nil, err
	}
	most.Fresh, most.Empty = l.After.Heap-l.Before.Heap, empty
	runtime.KeepAlive(fresh)

	fresh = nil
	all, err := w.deleteUntil(&registry.Facts{})
	if err != nil {
		return nil, err
	}
	all.After = settled()
	all.Empty = empty
	return []Deletion{most, all}, w.remain(0)
}

// deleteUntil applies the difference to facts.
func (w *world) deleteUntil(facts *registry.Facts) (Deletion, error) {
	del := Deletion{Before: w.machines(), Left: len(facts.Machines)}
	settled()
	begun := time.Now()
	if _, err := w.store.Apply(w.store.Snapshot().Diff(facts)); err != nil {
		return del, err
	}
	del.Took = time.Since(begun)
	del.Held = memory()
	return del, nil
}

// writeRemains writes the registry with one in ten of its machines to a file.
func (r *Runner) writeRemains(w *world) (string, error) {
	s := w.store.Snapshot()
	facts := registry.Facts{Networks: slices.Collect(s.Networks())}
	for a := range s.Apps() {
		facts.Apps = append(facts.Apps, *a)
		for m := range s.Machines(a) {
			// by the address, which has nothing to do with any order
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
	path := filepath.Join(r.Dir, "remains.json")
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	return path, errors.Join(format.Write(f, &facts), f.Close())
}

// remain returns an error if the registry has another number of machines, or if
// names of those that are there, or of those that are not, are answered wrong.
func (w *world) remain(machines int) error {
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
