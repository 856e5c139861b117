//go:build linux

// Command keep measures what a registry that is kept costs, and writes what came
// out.
package main

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/bench/internal/checkout"
	"github.com/internaldns/internaldns/bench/keep"
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
	p := keep.DefaultPlan()
	var out string
	cmd := &cobra.Command{
		Use:   "keep",
		Short: "Measure writes to a registry that is kept, and how soon answers show them",
		Long: "keep starts internaldns with a disk, and then two with an etcd, and measures how many writes are\n" +
			"acknowledged a second and how long after that the answers show them.",
		Example: "  keep                            # bin/internaldns, as published\n" +
			"  keep --duration 1s --out bench/results",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := p.Run(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			r.Command = strings.Join(append([]string{"go run ./bench/cmd/keep"}, checkout.WithoutPaths(os.Args[1:])...), " ")
			r.Commit = checkout.Commit(cmd.Context())
			if out != "" {
				all := peers.Record{Date: r.Date, Took: r.Took, Host: peers.DescribeHost(), Keep: r}
				if _, err := all.Save(out); err != nil {
					return err
				}
			}
			return r.WriteMarkdown(cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&p.Program, "program", p.Program, "the `FILE` to measure")
	flags.StringVar(&p.Etcd, "etcd", p.Etcd, "the etcd `FILE`; none: leave it out")
	flags.IntVar(&p.Machines, "machines", p.Machines, "`MACHINES` of the registry")
	flags.IntSliceVar(&p.Writers, "writers", p.Writers, "how many `CLIENTS` write at one time, one after the other")
	flags.DurationVar(&p.Duration, "duration", p.Duration, "`TIME` of each of these")
	flags.IntVar(&p.Changes, "changes", p.Changes, "`CHANGES` that are timed to the answers")
	flags.StringVar(&out, "out", "", "save the figures in this `FOLDER`, of which peers report makes a section of RESULTS.md")
	return cmd
}
