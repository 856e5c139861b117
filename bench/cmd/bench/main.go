//go:build linux

// Command bench measures internaldns and reports the figures.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/bench/hang"
	"github.com/internaldns/internaldns/bench/harness"
	"github.com/internaldns/internaldns/bench/keep"
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

func command() *cobra.Command {
	cmd := harness.Command(peers.Kind, scale.Kind, keep.Kind, hang.Kind)
	cmd.AddCommand(harness.Helpers()...)
	return cmd
}
