//go:build linux

// Command scale measures internaldns with a large registry and writes what came
// out.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/bench/internal/checkout"
	"github.com/internaldns/internaldns/bench/load"
	"github.com/internaldns/internaldns/bench/peers"
	"github.com/internaldns/internaldns/bench/scale"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		os.Exit(1)
	}
}

// flags are what the command line says beyond the plan.
type flags struct {
	plan     scale.Plan
	settings []string
	out      string
	profiles string
	estimate bool
	inside   bool
	notes    []string
}

func command() *cobra.Command {
	f := flags{plan: scale.DefaultPlan()}
	for _, s := range f.plan.Settings {
		f.settings = append(f.settings, s.String())
	}
	cmd := &cobra.Command{
		Use:   "scale",
		Short: "Measure internaldns with a large registry",
		Long: "scale runs the parts of internaldns in this process, with a made-up registry of any size, and measures\n" +
			"loading, memory, single updates and many, queries while facts change, one large app, and deletion.\n" +
			"Every update is looked up and every response checked. It writes tables, and figures as JSON, of which\n" +
			"\"peers report\" makes a section of RESULTS.md.",
		Example: "  scale                                        # 1,000,000 machines, as published\n" +
			"  scale --estimate                             # how long that takes, and how much memory\n" +
			"  scale --machines 20000 --apps 2000 --rounds 2 --gc 100\n" +
			"  scale --profiles /tmp                        # and where the time of an update goes\n" +
			"  peers report results/*.json                  # RESULTS.md with the new figures",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE:         func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fl := cmd.Flags()
	fl.IntVar(&f.plan.Machines, "machines", f.plan.Machines, "machines of the largest registry")
	fl.IntVar(&f.plan.Apps, "apps", f.plan.Apps, "its apps")
	fl.IntSliceVar(&f.plan.Smaller, "smaller", f.plan.Smaller, "smaller registries, for single updates")
	fl.IntSliceVar(&f.plan.BigApps, "big-apps", f.plan.BigApps, "machines of apps that are alone in their registry")
	fl.IntVar(&f.plan.Updates, "updates", f.plan.Updates, "single updates of each kind")
	fl.IntVar(&f.plan.AppUpdates, "app-updates", f.plan.AppUpdates, "updates of each big app")
	fl.IntSliceVar(&f.plan.Batches, "batches", f.plan.Batches, "updates in one commit, for the most a second")
	fl.Float64Var(&f.plan.Rate, "rate", f.plan.Rate, "updates a second while queries are answered")
	fl.Float64Var(&f.plan.QueryRate, "query-rate", f.plan.QueryRate, "queries a second meanwhile")
	fl.DurationVar(&f.plan.Duration, "duration", f.plan.Duration, "measured time of each round and batch size")
	fl.IntVar(&f.plan.Rounds, "rounds", f.plan.Rounds, "turns of an idle and a changing registry, for each setting")
	fl.DurationVar(&f.plan.Lasting, "lasting", f.plan.Lasting, "measured time of one long round of changes, 0 for none")
	fl.StringSliceVar(&f.settings, "gc", f.settings, "settings of the collector: GOGC, or GOGC/LIMIT with GOMEMLIMIT as a multiple of the memory in use")
	fl.IntVar(&f.plan.ServerCPU, "server-cpu", f.plan.ServerCPU, "CPU of everything that serves while queries are answered, -1 for any")
	fl.IntVar(&f.plan.LoadCPU, "load-cpu", f.plan.LoadCPU, "CPU of what asks meanwhile, -1 for any")
	fl.Uint64Var(&f.plan.Seed, "seed", f.plan.Seed, "seed of facts and queries")
	fl.BoolVar(&f.estimate, "estimate", false, "only say what it would take")
	fl.BoolVar(&f.inside, "inside", false, "ask from the same process, which then waits where the server waits")
	fl.StringVar(&f.profiles, "profiles", "", "directory for profiles of the single updates")
	fl.StringVar(&f.out, "out", "", "directory of results (default: bench/results of this checkout)")
	fl.StringArrayVar(&f.notes, "note", nil, "something a reader of the figures must know; may be repeated")
	cmd.AddCommand(askCommand())
	return cmd
}

func (f *flags) run(cmd *cobra.Command) error {
	f.plan.Settings = f.plan.Settings[:0]
	for _, text := range f.settings {
		s, err := scale.ParseSetting(text)
		if err != nil {
			return fmt.Errorf("gc: %w", err)
		}
		f.plan.Settings = append(f.plan.Settings, s)
	}
	if err := f.plan.Validate(); err != nil {
		return err
	}
	estimate := f.plan.Estimate()
	if f.estimate {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), estimate)
		return err
	}
	progress := func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), line) }
	progress("this takes " + estimate.String())
	if free, err := scale.Available(); err == nil && free < estimate.Memory {
		return fmt.Errorf("only %d MiB of memory are available; use fewer --machines", free>>20)
	}
	if f.out == "" {
		root, err := checkout.Root(cmd.Context())
		if err != nil {
			return fmt.Errorf("find bench/results (or name a directory with --out): %w", err)
		}
		f.out = filepath.Join(root, "bench", "results")
	}
	dir, err := os.MkdirTemp("", "internaldns-scale-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	r := scale.Runner{Plan: f.plan, Dir: dir, Progress: progress, Profiles: f.profiles}
	if !f.inside {
		a, err := startAsker(cmd.Context())
		if err != nil {
			return err
		}
		defer a.stop()
		r.Ask = a.ask
	}
	at := checkout.Commit(cmd.Context()) // which may not be the one when the run has ended
	rec, runErr := r.Run(cmd.Context())
	if rec == nil {
		return runErr
	}
	rec.Command = "scale " + strings.Join(checkout.WithoutPaths(os.Args[1:]), " ")
	rec.Commit = at
	rec.Notes = f.notes
	if runErr != nil {
		rec.Notes = append(rec.Notes, fmt.Sprintf("The run was cut short: %v.", runErr))
	}
	all := peers.Record{Date: rec.Date, Took: rec.Took, Host: peers.DescribeHost(), Scale: rec}
	path, err := all.Save(f.out)
	if err == nil {
		progress("figures are in " + path)
		err = rec.WriteText(cmd.OutOrStdout())
	}
	return errors.Join(runErr, err)
}

// askCommand is the process that asks: it reads questions and writes what
// became of them, as JSON, until there are no more.
func askCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ask", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, out := json.NewDecoder(cmd.InOrStdin()), json.NewEncoder(cmd.OutOrStdout())
			var g scale.Generator
			for {
				var q scale.Questions
				if err := in.Decode(&q); errors.Is(err, io.EOF) {
					return nil
				} else if err != nil {
					return err
				}
				res, err := g.Ask(cmd.Context(), q)
				if err == nil {
					err = out.Encode(res)
				}
				if err != nil {
					return err
				}
			}
		},
	}
}

// An asker is the process that asks.
type asker struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

func startAsker(ctx context.Context) (*asker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "ask")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &asker{cmd, in, json.NewDecoder(out)}, cmd.Start()
}

func (a *asker) ask(_ context.Context, q scale.Questions) (res load.Result, err error) {
	if err := json.NewEncoder(a.in).Encode(q); err != nil {
		return res, fmt.Errorf("the process that asks: %w", err)
	}
	if err := a.out.Decode(&res); err != nil {
		return res, fmt.Errorf("the process that asks: %w", err)
	}
	return res, nil
}

func (a *asker) stop() {
	a.in.Close()
	a.cmd.Wait()
}
