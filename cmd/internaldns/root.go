package main

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/metrics"
)

// errReported ends a command that has already printed its errors.
var errReported = errors.New("reported")

// root returns the command tree.
//
// To add a command:
//
//  1. Write it in a file of its name: what it is for, an example that works with the
//     sample, and in the help of each flag, in backquotes, the word for its value.
//  2. Add it here, to the group of commands for the same purpose.
//  3. Add it to a script in testdata/script, with each way to use it wrongly.
func (p *program) root() *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:   programName,
		Short: "Service discovery by DNS, with Fly.io's .internal names",
		Long: `internaldns answers DNS queries for .internal and .flycast names from a
registry of machines, as Fly.io's own server does: each private network sees
its own apps, and no other's.

Without any setup, "internaldns serve" serves a sample organisation.`,
		Example: `  internaldns serve
  internaldns dig AAAA web.internal`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if version {
				return p.printVersion()
			}
			return cmd.Help()
		},
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
	}
	root.Flags().BoolVar(&version, "version", false, "print the version")
	root.AddGroup(commandGroups...)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
		}
		root.AddCommand(commands...)
	}
	add("serve", p.serveCommand(), p.checkCommand(), p.tokenCommand(), p.dataCommand())
	add("ask", p.digCommand(), p.explainCommand(), p.statusCommand(), p.flushCommand(), p.benchCommand())
	add("change", p.appsCommand(), p.machinesCommand(), p.peersCommand(), p.networksCommand(),
		p.importCommand(), p.exportCommand(), p.watchCommand())
	add("more", p.versionCommand())
	root.SetHelpCommand(p.helpCommand())
	root.SetHelpCommandGroupID("more")
	root.SetCompletionCommandGroupID("more")
	root.InitDefaultHelpCmd()
	addCompletion(root)
	p.tidy(root)
	return root
}

// knownCommand checks the arguments of a command that has only subcommands. Cobra calls it
// only if the first argument is not the name of one.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see " + cmd.CommandPath() + " --help"
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		hint = "is it " + strings.Join(like, " or ") + " that you mean?"
	}
	name := strings.TrimPrefix(cmd.CommandPath()+" "+args[0], cmd.Root().Name()+" ")
	return fmt.Errorf("there is no command %q; %s", name, hint)
}

// noArgs checks the arguments of a command that has none.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("%s takes only flags, got %q; see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())
}

// wantArgs returns a check that a command has from least to most arguments. The error shows
// how the command is used, with the example eg.
func wantArgs(least, most int, eg string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= most {
			return nil
		}
		path := cmd.CommandPath()
		return fmt.Errorf("want %s%s, such as: %s %s", strings.TrimSuffix(path, cmd.Name()), cmd.Use, path, eg)
	}
}

// version is the release, set by the linker (-X main.version=v1.2.3). If it is empty, the
// version is the module's.
var version string

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    "Prints the version, the revision that it was built from, and the version of Go.",
		Example: "  internaldns version",
		Args:    noArgs,
		RunE:    func(*cobra.Command, []string) error { return p.printVersion() },
	}
}

func (p *program) printVersion() error {
	b := build()
	_, err := fmt.Fprintf(p.stdout, "internaldns %s (revision %s, %s, %s/%s)\n",
		b.Version, b.Revision, b.GoVersion, runtime.GOOS, runtime.GOARCH)
	return err
}

// build returns what is known about the running program.
func build() metrics.Build {
	b := metrics.Build{Version: version, Revision: "unknown", GoVersion: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	modified := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Revision = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+modified"
		}
	}
	if b.Version == "" {
		b.Version = "devel"
	}
	b.Revision += modified
	return b
}
