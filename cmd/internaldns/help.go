package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commandGroups are the groups in which the help lists the commands.
var commandGroups = []*cobra.Group{
	{ID: "serve", Title: "Serve"},
	{ID: "ask", Title: "Ask, and see why"},
	{ID: "change", Title: "Change a registry in --data or --etcd"},
	{ID: "more", Title: "Other"},
}

// tidy gives c and the commands below it the help and the errors that all share.
func (p *program) tidy(c *cobra.Command) {
	c.DisableFlagsInUseLine = true
	c.Flags().SortFlags = false
	c.InheritedFlags().SortFlags = false
	c.SetFlagErrorFunc(flagFault)
	c.SetUsageFunc(p.usage)
	if c.ValidArgsFunction == nil && !strings.Contains(c.Use, "FILE") && !strings.Contains(c.Use, "DIR") {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, flags := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
		flags.VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() == "string" && f.DefValue != "" { // without quotes, as all others
				f.Usage += " (default " + f.DefValue + ")"
				f.DefValue = ""
			}
			switch value, _ := pflag.UnquoteUsage(f); value {
			case "", "FILE", "HOST:PORT": // nothing, or perhaps unix:PATH
			case "DIR":
				c.MarkFlagDirname(f.Name)
			default:
				c.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions)
			}
		})
	}
	for _, below := range c.Commands() {
		p.tidy(below)
	}
}

// flagFault returns the error of a flag in the form of the errors of settings.
func flagFault(c *cobra.Command, err error) error {
	if wrong, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		want := map[string]string{
			"duration": "a duration with its unit, such as 30s", "float64": "a number", "bool": "true or false",
			"int": "a whole number", "uint": "a whole number from 0", "uint64": "a whole number from 0", "uint16": "a whole number from 0 to 65535",
		}[wrong.GetFlag().Value.Type()]
		if want != "" {
			err = fmt.Errorf("--%s: want %s, got %q", wrong.GetFlag().Name, want, wrong.GetValue())
		}
	}
	return errors.New(err.Error() + "; see " + c.CommandPath() + " --help")
}

// sectionOf is the annotation of a flag that holds its heading in the help.
const sectionOf = "section"

// headFlags sets the heading of all flags that have none yet.
func headFlags(flags *pflag.FlagSet, heading string) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Annotations == nil {
			f.Annotations = map[string][]string{sectionOf: {heading}}
		}
	})
}

// usage prints how c is used, as cobra does, but with commands and flags under headings, and
// lines as wide as the terminal.
func (p *program) usage(c *cobra.Command) error {
	w := c.OutOrStderr()
	line := c.UseLine()
	if c.HasAvailableSubCommands() {
		line = c.CommandPath() + " COMMAND"
	}
	fmt.Fprintf(w, "Usage:\n  %s\n", line)
	if c.HasExample() {
		fmt.Fprintf(w, "\nExamples:\n%s\n", c.Example)
	}
	if c.HasAvailableSubCommands() {
		writeCommands(w, c)
	}
	titles, sections := []string{}, make(map[string]*pflag.FlagSet)
	add := func(title string, f *pflag.Flag) {
		if sections[title] == nil {
			titles = append(titles, title)
			sections[title] = pflag.NewFlagSet(title, pflag.ContinueOnError)
			sections[title].SortFlags = false
		}
		sections[title].AddFlag(f)
	}
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		switch section := f.Annotations[sectionOf]; {
		case len(section) > 0:
			add(section[0], f)
		case len(titles) > 0 && titles[0] != "Flags":
			add("Other", f)
		default:
			add("Flags", f)
		}
	})
	c.InheritedFlags().VisitAll(func(f *pflag.Flag) { add("Flags", f) })
	for _, title := range titles {
		fmt.Fprintf(w, "\n%s:\n%s", title, sections[title].FlagUsagesWrapped(p.columns))
	}
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\nFor more about a command: %s COMMAND --help\n", c.CommandPath())
	}
	return nil
}

// writeCommands lists the commands below c, in groups if there are some.
func writeCommands(w io.Writer, c *cobra.Command) {
	groups := c.Groups()
	if len(groups) == 0 {
		groups = []*cobra.Group{{Title: "Commands"}}
	}
	for _, g := range groups {
		fmt.Fprintf(w, "\n%s:\n", g.Title)
		for _, below := range c.Commands() {
			if (below.IsAvailableCommand() || below.Name() == "help") && below.GroupID == g.ID {
				fmt.Fprintf(w, "  %-*s %s\n", below.NamePadding(), below.Name(), below.Short)
			}
		}
	}
}

// helpCommand returns the command that prints how others are used.
func (p *program) helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Print how a command is used",
		Long:    "Prints how a command is used, as its flag --help does.",
		Example: "  internaldns help serve\n  internaldns help machines put",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 && about.HasSubCommands() {
				return knownCommand(about, rest)
			}
			return about.Help()
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begun string) (names []string, _ cobra.ShellCompDirective) {
			if about, rest, err := cmd.Root().Find(args); err == nil && len(rest) == 0 {
				for _, c := range about.Commands() {
					if c.IsAvailableCommand() && strings.HasPrefix(c.Name(), begun) {
						names = append(names, c.Name()+"\t"+c.Short)
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// addCompletion adds the command that writes completion scripts for shells.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	c, _, err := root.Find([]string{"completion"})
	if err != nil {
		panic(err) // it has just been added
	}
	c.Short = "Write a script with which a shell completes commands and flags"
	c.Args = knownCommand
	c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	c.Example = "  internaldns completion bash > internaldns.bash"
}
