//go:build linux

// Command peers measures DNS servers side by side and writes what came out.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/bench/echo"
	"github.com/internaldns/internaldns/bench/internal/checkout"
	"github.com/internaldns/internaldns/bench/mapdns"
	"github.com/internaldns/internaldns/bench/peers"
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
	plan           peers.Plan
	bench          string // directory of the results
	internaldns    string
	coredns        string
	installCoreDNS bool
	noReport       bool
	estimate       bool
	notes          []string
}

func command() *cobra.Command {
	f := flags{plan: peers.DefaultPlan()}
	cmd := &cobra.Command{
		Use:   "peers",
		Short: "Measure DNS servers side by side",
		Long: "peers starts internaldns and other DNS servers, each held to one CPU, asks them the same\n" +
			"questions in interleaved rounds, and writes what an answered query costs each of them to\n" +
			"results/*.json, RESULTS.md, results.svg and forward.svg. Servers that are not installed are named as missing.\n\n" +
			"Servers: " + strings.Join(peers.Names(), ", ") + "\nParts:   " + strings.Join(peers.Parts(), ", "),
		Example: "  peers --install-coredns                                 # everything, as published\n" +
			"  peers --parts sets --sets 2000 --peers echo,internaldns,knot --rounds 3\n" +
			"  peers --parts overload --peers internaldns-admin --no-report\n" +
			"  peers --estimate                                        # how long that would take\n" +
			"  peers --parts forward --coredns ./coredns               # caches, and what passes them by\n" +
			"  peers report results/*.json                             # the page and the charts again, without measuring",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE:         func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&f.plan.Peers, "peers", f.plan.Peers, "servers to measure; without echo there are no ratios")
	fl.StringSliceVar(&f.plan.Parts, "parts", f.plan.Parts, "what to measure")
	fl.IntSliceVar(&f.plan.Sets, "sets", f.plan.Sets, "numbers of machines; parts other than sets use the first")
	fl.IntVar(&f.plan.Everybody, "everybody", f.plan.Everybody, "largest set for all servers; larger ones are for echo and internaldns")
	fl.IntVar(&f.plan.Rounds, "rounds", f.plan.Rounds, "rounds over all servers")
	fl.DurationVar(&f.plan.Warmup, "warmup", f.plan.Warmup, "time before every measured time")
	fl.DurationVar(&f.plan.Measure, "measure", f.plan.Measure, "measured time at the peak")
	fl.DurationVar(&f.plan.Half, "half", f.plan.Half, "measured time at half of the peak")
	fl.IntVar(&f.plan.Window, "window", f.plan.Window, "queries outstanding at the peak")
	fl.IntVar(&f.plan.Sockets, "sockets", f.plan.Sockets, "sockets or connections of the generator")
	fl.IntVar(&f.plan.Queries, "queries", f.plan.Queries, "queries before they repeat")
	fl.IntVar(&f.plan.Names, "names", f.plan.Names, "names in the caches of forwarders")
	fl.Uint64Var(&f.plan.Seed, "seed", f.plan.Seed, "seed of facts and queries")
	fl.IntVar(&f.plan.ServerCPU, "server-cpu", f.plan.ServerCPU, "CPU of the servers, -1 for any")
	fl.IntVar(&f.plan.LoadCPU, "load-cpu", f.plan.LoadCPU, "CPU of the generator, -1 for any")
	fl.StringVar(&f.internaldns, "internaldns", "", "internaldns to measure (default: built from this checkout)")
	fl.StringVar(&f.coredns, "coredns", "", "CoreDNS to measure (default: the one in PATH)")
	fl.BoolVar(&f.installCoreDNS, "install-coredns", false, "build CoreDNS "+peers.CoreDNSVersion+" with go install, into a cache directory")
	fl.BoolVar(&f.noReport, "no-report", false, "save the figures, but leave RESULTS.md and the charts as they are")
	fl.BoolVar(&f.estimate, "estimate", false, "only say how long it would take")
	fl.StringArrayVar(&f.notes, "note", nil, "something a reader of the figures must know; may be repeated")
	cmd.PersistentFlags().StringVar(&f.bench, "out", "", "directory of results (default: bench/ of this checkout)")
	cmd.AddCommand(reportCommand(&f), echoCommand(), mapCommand())
	return cmd
}

func reportCommand(f *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "report FILE...",
		Short: "Write RESULTS.md and its charts from saved figures",
		Long:  "report writes the page and the charts from saved figures. Of several files, later ones take\nthe place of earlier ones where they measured the same.",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			rec, err := peers.Open(args...)
			if err != nil {
				return err
			}
			if err := f.findBench(cmd.Context()); err != nil {
				return err
			}
			return f.report(cmd, rec)
		},
	}
}

func echoCommand() *cobra.Command {
	return &cobra.Command{
		Use: peers.SelfEcho + " ADDRESS:PORT LEAST", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			addr, err := netip.ParseAddrPort(args[0])
			if err != nil {
				return err
			}
			least, err := strconv.Atoi(args[1])
			if err != nil {
				return err
			}
			return echo.Serve(addr, least)
		},
	}
}

func mapCommand() *cobra.Command {
	return &cobra.Command{
		Use: peers.SelfMap + " ADDRESS:PORT MASTER", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := os.Open(args[1])
			if err != nil {
				return err
			}
			zone, err := mapdns.Read(file)
			if err := errors.Join(err, file.Close()); err != nil {
				return err
			}
			return zone.Serve(cmd.Context(), args[0])
		},
	}
}

func (f *flags) run(cmd *cobra.Command) error {
	if err := f.plan.Validate(); err != nil {
		return err
	}
	if f.estimate {
		likely, limit := f.plan.Estimate()
		fmt.Fprintf(cmd.OutOrStdout(), "about %v, at most %v\n", likely, limit)
		return nil
	}
	if err := f.findBench(cmd.Context()); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "internaldns-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	progress := func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), line) }
	tools, err := f.tools(cmd.Context(), dir, progress)
	if err != nil {
		return err
	}
	r := peers.Runner{Plan: f.plan, Tools: tools, Dir: dir, Progress: progress}
	rec, runErr := r.Run(cmd.Context())
	if rec == nil {
		return runErr
	}
	rec.Command = "peers " + strings.Join(checkout.WithoutPaths(os.Args[1:]), " ")
	rec.Notes = append(rec.Notes, f.notes...)
	rec.Commit = checkout.Commit(cmd.Context())
	if runErr != nil {
		rec.Notes = append(rec.Notes, fmt.Sprintf("The run was cut short: %v.", runErr))
	}
	path, err := rec.Save(filepath.Join(f.bench, "results"))
	if err != nil {
		return errors.Join(runErr, err)
	}
	progress("figures are in " + path)
	if !f.noReport {
		err = f.report(cmd, rec)
	}
	return errors.Join(runErr, err)
}

// report writes the page and the charts.
func (f *flags) report(cmd *cobra.Command, rec *peers.Record) error {
	page, err := os.Create(filepath.Join(f.bench, "RESULTS.md"))
	if err != nil {
		return err
	}
	if err := errors.Join(rec.WriteReport(page), page.Close()); err != nil {
		return err
	}
	for i := range peers.Charts {
		if err := f.chart(cmd, rec, &peers.Charts[i]); err != nil {
			return err
		}
	}
	return nil
}

// chart writes one chart, unless there is nothing to draw.
func (f *flags) chart(cmd *cobra.Command, rec *peers.Record, c *peers.Chart) error {
	file, err := os.Create(filepath.Join(f.bench, c.File))
	if err != nil {
		return err
	}
	err = errors.Join(rec.WriteChart(file, c), file.Close())
	if errors.Is(err, peers.ErrNoRatios) {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %v\n", c.File, err)
		return os.Remove(file.Name())
	}
	return err
}

// findBench finds the directory of results, unless a flag named it.
func (f *flags) findBench(ctx context.Context) error {
	if f.bench != "" {
		return nil
	}
	root, err := checkout.Root(ctx)
	if err != nil {
		return fmt.Errorf("find bench/ (or name a directory with --out): %w", err)
	}
	f.bench = filepath.Join(root, "bench")
	return nil
}

// tools builds what can be built. What cannot is missing, with the reason.
func (f *flags) tools(ctx context.Context, dir string, progress func(string)) (peers.Tools, error) {
	var t peers.Tools
	var err error
	if t.Self, err = os.Executable(); err != nil {
		return t, err
	}
	if t.Echo, t.EchoErr = echo.Build(ctx, dir); t.EchoErr != nil {
		progress("the echo will be the one in Go: " + t.EchoErr.Error())
	}
	t.InternalDNS = f.internaldns
	if t.InternalDNS == "" {
		progress("building internaldns")
		root, err := checkout.Root(ctx)
		if err == nil {
			t.InternalDNS, err = build(ctx, root, dir)
		}
		t.InternalErr = err
	}
	t.CoreDNS = f.coredns
	if f.installCoreDNS {
		if t.CoreDNS, err = installCoreDNS(ctx, progress); err != nil {
			progress("CoreDNS will be missing: " + err.Error())
		}
	}
	return t, nil
}

func build(ctx context.Context, root, dir string) (string, error) {
	bin := filepath.Join(dir, "internaldns")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/internaldns")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/internaldns: %w: %s", err, out)
	}
	return bin, nil
}

// installCoreDNS builds CoreDNS once for all runs.
func installCoreDNS(ctx context.Context, progress func(string)) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "internaldns-bench", peers.CoreDNSVersion)
	bin := filepath.Join(dir, "coredns")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	progress("building CoreDNS " + peers.CoreDNSVersion + ", which takes minutes")
	cmd := exec.CommandContext(ctx, "go", "install", "github.com/coredns/coredns@"+peers.CoreDNSVersion)
	cmd.Dir = os.TempDir() // outside of this module
	cmd.Env = append(os.Environ(), "GOBIN="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go install: %w: %s", err, out)
	}
	return bin, nil
}
