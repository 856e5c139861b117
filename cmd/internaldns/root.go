package main

import (
	"errors"
	"fmt"
	"strings"

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
		Args:                       knownCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors:              true,
		SilenceUsage:               true,
		CompletionOptions:          cobra.CompletionOptions{HiddenDefaultCmd: true},
		SuggestionsMinimumDistance: 2,
	}
	root.AddCommand(p.serveCommand(), p.checkCommand(), p.digCommand(), p.explainCommand(),
		p.appsCommand(), p.machinesCommand(), p.peersCommand(), p.networksCommand(),
		p.importCommand(), p.exportCommand(), p.watchCommand(), p.tokenCommand(), p.dataCommand(),
		p.statusCommand(), p.flushCommand(), p.benchCommand(), p.versionCommand())
	for _, c := range root.Commands() {
		tidy(c)
	}
	return root
}

// tidy has c, and the commands below it, speak as all of ours do.
func tidy(c *cobra.Command) {
	c.DisableFlagsInUseLine = true
	c.Flags().SortFlags = false
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return errors.New(err.Error() + "; see " + c.CommandPath() + " --help")
	})
	for _, below := range c.Commands() {
		tidy(below)
	}
}

// knownCommand is called with what is no command's name.
func knownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see internaldns --help"
	if like := root.SuggestionsFor(args[0]); len(like) > 0 {
		hint = "is it " + strings.Join(like, " or ") + " that you mean?"
	}
	return fmt.Errorf("there is no command %q; %s", args[0], hint)
}

// wantArgs returns a check of a command's arguments: at least so many of
// them, and at most so many. An error says how the command is used, with an
// example.
func wantArgs(least, most int, eg string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= most {
			return nil
		}
		path := cmd.CommandPath()
		return fmt.Errorf("want %s%s, such as: %s %s", strings.TrimSuffix(path, cmd.Name()), cmd.Use, path, eg)
	}
}
