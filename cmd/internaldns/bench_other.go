//go:build !unix

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// The load generator moves datagrams by system calls that only Unix has.
func (p *program) benchCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "bench",
		Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("this system has no bench; run it from one with Unix")
		},
	}
}
