//go:build linux

package peers

import (
	"context"
	"fmt"

	"github.com/internaldns/internaldns/bench/load"
)

// The ways to overload a server.
const (
	kindFlood = "flood"
	kindQuota = "quota"
)

// overload sends every server more than it can answer, each alone on its CPU.
func (r *Runner) overload(ctx context.Context, rec *Record, present []Peer) error {
	peers := choose(present, r.Plan.overloaded()...)
	if len(peers) == 0 {
		return nil
	}
	machines := r.Plan.Sets[0]
	r.say("overload: making the facts")
	site, queries, err := r.facts(machines, 1232, peers)
	if err != nil {
		return err
	}
	kinds := []string{kindFlood}
	if q, err := newQuota(); err != nil {
		rec.Notes = append(rec.Notes, fmt.Sprintf("Overload with a tenth of a CPU was not measured: %v.", err))
		r.say("overload with a tenth of a CPU is left out: %v", err)
	} else {
		rec.Notes = append(rec.Notes, "The tenth of a CPU is a quota of "+q.String()+".")
		q.remove()
		kinds = append(kinds, kindQuota)
	}
	for _, kind := range kinds {
		for _, p := range peers {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			running, started := r.start(ctx, site, []Peer{p}, machines, probe(queries))
			if len(running) == 0 {
				rec.Overload = append(rec.Overload, Overload{Peer: p.Name, Kind: kind, Error: started[0].Error})
				continue
			}
			for _, o := range r.overloadRounds(ctx, running[0], kind, &work{transport: load.UDP, queries: queries}) {
				rec.Overload = append(rec.Overload, o)
				r.say("%s", o.line())
			}
			running[0].stop()
		}
	}
	return ctx.Err()
}

// overloadRounds overloads one server several times, until it fails.
func (r *Runner) overloadRounds(ctx context.Context, pr *process, kind string, w *work) []Overload {
	if kind == kindQuota {
		q, err := newQuota()
		if err == nil {
			defer q.remove()
			err = q.hold(pr.pids())
		}
		if err != nil {
			return []Overload{{Peer: pr.peer.Name, Kind: kind, Error: err.Error()}}
		}
	}
	var all []Overload
	for round := range overloadRounds {
		o := Overload{Peer: pr.peer.Name, Kind: kind, Round: round}
		if err := r.overloadOnce(ctx, pr, &o, w); err != nil {
			o.Error = err.Error()
		}
		all = append(all, o)
		if o.Error != "" {
			break
		}
	}
	return all
}

func (r *Runner) overloadOnce(ctx context.Context, pr *process, out *Overload, w *work) error {
	o := r.options(pr, w)
	o.Duration = capacityTime
	var err error
	if out.Capacity, err = load.Run(ctx, o); err != nil {
		return err
	}
	out.Memory[0], out.Goroutines[0] = memory(pr.pids()), pr.goroutines()

	o.Duration = overloadTime
	if out.Kind == kindFlood {
		o.Flood = true
	} else {
		o.Rate = max(1, 10*out.Capacity.QPS())
	}
	if out.Load, err = load.Run(ctx, o); err != nil {
		return err
	}
	out.Memory[1], out.Goroutines[1] = memory(pr.pids()), pr.goroutines()
	return nil
}

func (o *Overload) line() string {
	if o.Error != "" {
		return fmt.Sprintf("%s of %s: %s", o.Kind, o.Peer, o.Error)
	}
	return fmt.Sprintf("%s of %s: %.0f sent a second, %.0f right in time, of %.0f at peak (%.1f %%)",
		o.Kind, o.Peer, o.Load.SentQPS(), o.Load.Goodput(), o.Capacity.QPS(), 100*o.Share())
}
