package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// everyCommand calls f with each command that users see.
func everyCommand(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, below := range c.Commands() {
		if below.IsAvailableCommand() && below.Name() != "completion" { // what is below that is cobra's
			everyCommand(below, f)
		}
	}
}

// The help never calls the value of a flag by the name of a Go type.
func TestEveryFlagSaysInAWordWhatItTakes(t *testing.T) {
	word := regexp.MustCompile(`^[A-Z][A-Z=:,\[\]]*$`)
	flags := 0
	everyCommand(new(program).root(), func(c *cobra.Command) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			flags++
			if value, usage := pflag.UnquoteUsage(f); f.NoOptDefVal == "" && !word.MatchString(value) || usage == "" {
				t.Errorf("%s --%s takes %q, want a word such as ADDRESS; it says %q", c.CommandPath(), f.Name, value, usage)
			}
		})
	})
	if flags < 50 {
		t.Errorf("there are %d flags; does this test still find them?", flags)
	}
}

// flagLine matches a line about a flag, and the lines that continue it.
var flagLine = regexp.MustCompile(`(?m)^ {2,6}-.*$|^ {16,}.*$`)

// Help texts fit a terminal of 80 columns.
func TestHelpTextsFitEightyColumns(t *testing.T) {
	everyCommand(new(program).root(), func(c *cobra.Command) {
		for line := range strings.Lines(c.Long) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
				t.Errorf("the help of %s has a line of %d columns:\n%s", c.CommandPath(), n, line)
			}
		}
	})
}

func TestHelpHasNoLineOfFlagsThatIsWiderThanTheTerminal(t *testing.T) {
	for _, columns := range []int{70, 80, 132} {
		p := &program{columns: columns}
		everyCommand(p.root(), func(c *cobra.Command) {
			var b bytes.Buffer
			c.SetOut(&b)
			c.InitDefaultHelpFlag()
			if err := c.Usage(); err != nil {
				t.Fatal(err)
			}
			flags := flagLine.FindAllString(b.String(), -1)
			if len(flags) == 0 {
				t.Fatalf("the help of %s shows no flags:\n%s", c.CommandPath(), b.String())
			}
			for _, line := range flags {
				if n := utf8.RuneCountInString(line); n > columns {
					t.Errorf("with %d columns, the help of %s has a line of %d:\n%s", columns, c.CommandPath(), n, line)
				}
			}
		})
	}
}
