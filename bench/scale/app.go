//go:build linux

package scale

import (
	"context"
	"fmt"
	"time"

	"github.com/internaldns/internaldns/bench/dataset"
	"github.com/internaldns/internaldns/registry"
)

// AppRun is one app that was updated again and again, a machine at a time.
type AppRun struct {
	Machines int    `json:"machines"`
	What     string `json:"what"`
	Updates  int    `json:"updates"`
	// Window is how many updates First and Last are of.
	Window int           `json:"window"`
	Total  time.Duration `json:"total_ns"`
	First  time.Duration `json:"first_ns"`
	Last   time.Duration `json:"last_ns"`
	Octets float64       `json:"octets"` // allocated for one update
}

// What is done to big apps.
const (
	whatAdd  = "added one by one"
	whatFlip = "state"
)

// bigApp fills an app machine by machine, and then updates its machines.
func (r *Runner) bigApp(ctx context.Context, machines int) ([]AppRun, error) {
	d, err := dataset.New(r.Plan.Seed, dataset.Shape{Networks: 1, Apps: 1, Machines: machines, Stopped: 0.04})
	if err != nil {
		return nil, err
	}
	path, err := writeFacts(d, r.Dir)
	if err != nil {
		return nil, err
	}
	facts, err := parse(path, r.say)
	if err != nil {
		return nil, err
	}
	w := newWorld()
	if _, err := w.store.Apply([]registry.Event{registry.Put(&facts.Apps[0])}); err != nil {
		return nil, err
	}
	picks := make([]pick, len(facts.Machines))
	for i, m := range facts.Machines {
		if picks[i], err = newPick(m); err != nil {
			return nil, err
		}
	}
	add, err := w.updateApp(ctx, picks, len(picks), func(p *pick) registry.Event { return registry.Put(&p.machine) })
	if err != nil {
		return nil, fmt.Errorf("fill an app: %w", err)
	}
	add.Machines, add.What = machines, whatAdd
	flip, err := w.updateApp(ctx, picks, r.Plan.AppUpdates, func(p *pick) registry.Event { return p.update(FlipState) })
	if err != nil {
		return nil, fmt.Errorf("update an app: %w", err)
	}
	flip.Machines, flip.What = machines, whatFlip
	return []AppRun{add, flip}, allShown(w.publisher, picks)
}

// updateApp applies n updates of picks in turn, and looks at each.
func (w *world) updateApp(ctx context.Context, picks []pick, n int, update func(*pick) registry.Event) (AppRun, error) {
	run := AppRun{Updates: n, Window: max(1, min(1000, n/10))}
	k := newAsker()
	events := make([]registry.Event, 1)
	octets, begun := read(allocatedOctets), time.Now()
	var lastBegun time.Time
	for i := range n {
		if i == n-run.Window {
			lastBegun = time.Now()
		}
		p := &picks[i%len(picks)]
		events[0] = update(p)
		if _, err := w.store.Apply(events); err != nil {
			return run, err
		}
		if err := p.shown(k.ask(w.publisher, p.query)); err != nil {
			return run, err
		}
		if i == run.Window-1 {
			run.First = time.Since(begun)
		}
		if err := ctx.Err(); err != nil {
			return run, err
		}
	}
	run.Last = time.Since(lastBegun)
	run.Total = time.Since(begun)
	run.Octets = float64(read(allocatedOctets)-octets) / float64(n)
	return run, nil
}
