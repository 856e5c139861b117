//go:build linux

package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A Scenario is one thing that is measured: a plan, and after Run the figures too.
// It is a pointer to a struct, which a Record holds as JSON.
type Scenario interface {
	// Flags adds a flag for each field of the plan.
	Flags(*pflag.FlagSet)
	// Validate returns every fault of the plan, each beginning with the flag.
	Validate() error
	// Estimate returns the time that Run takes, and the memory and disk if they are
	// much.
	Estimate() string
	// Run measures. If it returns an error, the scenario holds the figures that
	// were measured until then.
	Run(context.Context, *Env) error
	// Report writes the figures. It uses nothing but them and the plan.
	Report(*Page)
}

// A Kind is a scenario as the command line and RESULTS.md know it.
type Kind struct {
	Name    string // of the command, and of the scenario in a Record
	Title   string // of the section in RESULTS.md
	Short   string
	Long    string
	Example string
	New     func() Scenario // with the plan of the published figures
}

// An Env is what a run has to work with.
type Env struct {
	Dir   string // for files; removed after the run
	Log   io.Writer
	Notes []string // what a reader of the figures must know

	began time.Time
}

// NewEnv returns an Env that begins now.
func NewEnv(dir string, log io.Writer) *Env { return &Env{Dir: dir, Log: log, began: time.Now()} }

// Say logs a line with the time since the run began.
func (e *Env) Say(format string, args ...any) {
	fmt.Fprintf(e.Log, "%6s  %s\n", time.Since(e.began).Round(time.Second), fmt.Sprintf(format, args...))
}

// Note adds a line to the notes of the record.
func (e *Env) Note(format string, args ...any) {
	e.Notes = append(e.Notes, fmt.Sprintf(format, args...))
}

// WriteFile creates the file and calls write with it.
func WriteFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// Command returns the command that runs the scenarios and reports their figures.
func Command(kinds ...Kind) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure internaldns",
		Long: "bench measures internaldns, beside other DNS servers and by itself. Each scenario saves its figures\n" +
			"as JSON and prints them; \"bench report\" makes RESULTS.md and its charts from saved figures.",
		SilenceUsage: true,
	}
	for _, k := range kinds {
		cmd.AddCommand(k.command())
	}
	cmd.AddCommand(reportCommand(kinds))
	return cmd
}

// command returns the command that runs the scenario.
func (k Kind) command() *cobra.Command {
	var (
		s        = k.New()
		out      string
		notes    []string
		estimate bool
	)
	cmd := &cobra.Command{
		Use: k.Name, Short: k.Short, Long: k.Long, Example: k.Example, Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.Validate(); err != nil {
				return err
			}
			if estimate {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), s.Estimate())
				return err
			}
			if out == "" {
				root, err := Root(cmd.Context())
				if err != nil {
					return fmt.Errorf("find bench/results (or name a directory with --out): %w", err)
				}
				out = filepath.Join(root, "bench", "results")
			}
			r, err := k.run(cmd.Context(), s, cmd.ErrOrStderr(), notes)
			if r == nil {
				return err
			}
			path, saveErr := r.Save(out)
			if saveErr != nil {
				return errors.Join(err, saveErr)
			}
			fmt.Fprintln(cmd.ErrOrStderr(), "figures are in "+path)
			p := new(Page)
			sectionErr := k.section(p, r)
			_, writeErr := io.WriteString(cmd.OutOrStdout(), p.String())
			return errors.Join(err, sectionErr, writeErr)
		},
	}
	fl := cmd.Flags()
	s.Flags(fl)
	fl.StringVar(&out, "out", "", "`DIRECTORY` of saved figures (default: bench/results of this checkout)")
	fl.BoolVar(&estimate, "estimate", false, "print what a run takes, and do not run")
	fl.StringArrayVar(&notes, "note", nil, "`TEXT` that a reader of the figures must know; may be repeated")
	return cmd
}

// run runs the scenario and returns its record, also of a run that failed.
func (k Kind) run(ctx context.Context, s Scenario, log io.Writer, notes []string) (*Record, error) {
	dir, err := os.MkdirTemp("", "internaldns-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	env := NewEnv(dir, log)
	env.Say("this takes %s", s.Estimate())
	r := &Record{
		Scenario: k.Name, Date: env.began.UTC(), Host: DescribeHost(),
		Command: "bench " + k.Name + " " + strings.Join(WithoutDirectories(os.Args[min(2, len(os.Args)):]), " "),
		Commit:  Commit(ctx), // before the run: it may be another one afterwards
	}
	runErr := s.Run(ctx, env)
	r.Took = time.Since(env.began)
	r.Notes = append(env.Notes, notes...)
	if runErr != nil {
		r.Notes = append(r.Notes, fmt.Sprintf("The run ended early: %v.", runErr))
	}
	r.Figures, err = json.Marshal(s)
	return r, errors.Join(runErr, err)
}

// reportCommand returns the command that makes the page from records.
func reportCommand(kinds []Kind) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "report [FILE...]",
		Short: "Write RESULTS.md and its charts from saved figures",
		Long: "report writes RESULTS.md and its charts from saved figures, by default from all in bench/results of\n" +
			"this checkout. It takes the newest record of each scenario.",
		Example: "  bench report\n" +
			"  bench report --out /tmp bench/results/*.json",
		RunE: func(cmd *cobra.Command, files []string) error {
			if out == "" || len(files) == 0 {
				root, err := Root(cmd.Context())
				if err != nil {
					return fmt.Errorf("find bench/ (or name files, and a directory with --out): %w", err)
				}
				if out == "" {
					out = filepath.Join(root, "bench")
				}
				if len(files) == 0 {
					files, _ = filepath.Glob(filepath.Join(root, "bench", "results", "*.json"))
				}
			}
			records, err := Open(files...)
			if err != nil {
				return err
			}
			p, err := Report(kinds, records)
			if err != nil {
				return err
			}
			return p.Save(out)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`DIRECTORY` for the page and the charts (default: bench/ of this checkout)")
	return cmd
}
