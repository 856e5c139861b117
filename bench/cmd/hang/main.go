//go:build linux

// Command hang measures what upstreams in trouble cost clients, and writes what
// came out.
package main

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/bench/hang"
	"github.com/internaldns/internaldns/bench/internal/checkout"
	"github.com/internaldns/internaldns/bench/peers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		os.Exit(1)
	}
}

func command() *cobra.Command {
	p := hang.DefaultPlan()
	var out string
	cmd := &cobra.Command{
		Use:   "hang",
		Short: "Measure local names while upstreams hang, and fail-over",
		Long: "hang starts internaldns with upstreams that do not answer, and measures how long local names take\n" +
			"with and without queries that hang, and how long clients wait for the second upstream.",
		Example: "  hang                            # bin/internaldns, as published\n" +
			"  hang --rounds 1 --duration 1s --out bench/results",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := p.Run(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			r.Command = strings.Join(append([]string{"go run ./bench/cmd/hang"}, checkout.WithoutPaths(os.Args[1:])...), " ")
			r.Commit = checkout.Commit(cmd.Context())
			if out != "" {
				all := peers.Record{Date: r.Date, Host: peers.DescribeHost(), Hang: r}
				if _, err := all.Save(out); err != nil {
					return err
				}
			}
			r.Write(cmd.OutOrStdout())
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&p.Program, "program", p.Program, "the `FILE` to measure")
	flags.IntVar(&p.Hanging, "hanging", p.Hanging, "`QUERIES` that hang at one time; each takes a socket of the half that a process may use of its files (ulimit -n)")
	flags.IntVar(&p.Rounds, "rounds", p.Rounds, "`TIMES` that each is measured")
	flags.Float64Var(&p.Rate, "rate", p.Rate, "local `QUERIES` a second")
	flags.DurationVar(&p.Duration, "duration", p.Duration, "`TIME` of each measurement")
	flags.IntVar(&p.Failover, "failover", p.Failover, "`QUERIES` when the first upstream is silent")
	flags.StringVar(&out, "out", "", "save the figures in this `FOLDER`, of which peers report makes a section of RESULTS.md")
	return cmd
}
