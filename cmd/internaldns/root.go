package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// errReported ends a command that has already said all there is to say.
var errReported = errors.New("reported")

// root returns the command tree.
func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "internaldns",
		Short: "Service discovery by DNS, with Fly.io's .internal names",
		Long: `internaldns answers DNS queries for .internal and .flycast names from a
registry of machines, as Fly.io's own server does: each private network sees
its own apps, and no other's.

Without any setup, "internaldns serve" serves a sample organisation.`,
		Example: `  internaldns serve
  internaldns dig AAAA web.internal`,
		Args:              cobra.NoArgs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.AddCommand(p.serveCommand(), p.checkCommand(), p.digCommand(), p.explainCommand(), p.benchCommand(), p.versionCommand())
	for _, c := range root.Commands() {
		c.DisableFlagsInUseLine = true
		c.Flags().SortFlags = false
		c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
			return errors.New(err.Error() + "; see internaldns " + c.Name() + " --help")
		})
	}
	return root
}
