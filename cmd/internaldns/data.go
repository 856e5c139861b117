package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/registry/disk"
)

func (p *program) dataCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "data",
		Short: "Check, back up or compact a directory that stores a registry",
		Long: `Works on a directory in which serve --data stores a registry, while no server
runs on it. While a server runs, use internaldns export to copy its registry.`,
		Example: `  internaldns data check d
  internaldns data backup d registry.backup
  internaldns data compact d`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "check DIR", Short: "Read the whole database, and print every fault",
			Args: wantArgs(1, 1, "d"), Example: "  internaldns data check d",
			RunE: func(_ *cobra.Command, args []string) error {
				report, err := disk.Check(args[0], p.progress("read"))
				if err != nil {
					return dataFault(args[0], err)
				}
				return writeReport(p.stdout, report)
			},
		},
		&cobra.Command{
			Use: "backup DIR FILE", Short: "Write a copy that a server can start from",
			Long: `Writes a copy of the registry in DIR. To serve from it, put it into a directory
of its own, as registry.db.`,
			Args: wantArgs(2, 2, "d registry.backup"), Example: "  internaldns data backup d registry.backup",
			RunE: func(_ *cobra.Command, args []string) error {
				report, err := disk.Backup(args[0], args[1], p.progress("copied"))
				if err != nil {
					return dataFault(args[0], err)
				}
				if err := writeReport(p.stdout, report); err != nil {
					return err
				}
				_, err = fmt.Fprintf(p.stdout, "copied to %s\n", args[1])
				return err
			},
		},
		&cobra.Command{
			Use: "compact DIR", Short: "Write the database again, without unused space",
			Args: wantArgs(1, 1, "d"), Example: "  internaldns data compact d",
			RunE: func(_ *cobra.Command, args []string) error {
				before, after, err := disk.Compact(args[0], p.progress("copied"))
				if err != nil {
					return dataFault(args[0], err)
				}
				for _, w := range before.Warnings {
					fmt.Fprintf(p.stderr, "internaldns: %s\n", w)
				}
				if _, err := fmt.Fprintf(p.stdout, "%d octets became %d\n", before.Octets, after.Octets); err != nil {
					return err
				}
				return writeReport(p.stdout, after)
			},
		},
	)
	return cmd
}

// dataFault returns all faults of the database in dir, one a line.
func dataFault(dir string, err error) error {
	if faults, ok := errors.AsType[disk.Faults](err); ok {
		return errors.Join(eachLine(faults, func(line string) string { return dir + ": " + line })...)
	}
	return err
}

func writeReport(w io.Writer, r disk.Report) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "%s\t%d octets\n", r.Path, r.Octets)
	fmt.Fprintf(t, "holds\t%s, %s, %s, %s\n", count(r.Apps, "app"), count(r.Machines, "machine"), count(r.Peers, "peer"), count(r.Leases, "lease"))
	fmt.Fprintf(t, "index\t%d\n", r.Index)
	for _, warning := range r.Warnings {
		fmt.Fprintf(t, "warning\t%s\n", warning)
	}
	return t.Flush()
}

// progress returns a function that shows the progress of long work; nil if standard error is
// not a terminal.
func (p *program) progress(verb string) disk.Progress {
	if !isTerminal(p.stderr) {
		return nil
	}
	return func(records, of uint64) {
		fmt.Fprintf(p.stderr, "\r%s %d of %d records", verb, records, of)
		if records == of {
			fmt.Fprint(p.stderr, "\r\033[K")
		}
	}
}
