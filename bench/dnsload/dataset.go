package dnsload

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/bench/dataset"
)

// datasetCommand returns the command that writes made-up facts, and the queries
// that fit them, to files: a registry file, a master file, and a list of queries.
// name is how users call it, such as "internaldns bench dataset".
func datasetCommand(name string) *cobra.Command {
	var (
		seed                        uint64
		shape                       = dataset.DefaultShape(2000)
		traffic                     = dataset.DefaultTraffic(100_000)
		registry, master, questions string
	)
	cmd := &cobra.Command{
		Use:   "dataset",
		Short: "Write made-up facts, and queries that fit them",
		Long: "Writes made-up facts as a registry file, the names of one network as a master\n" +
			"file, and queries with their right responses. The same flags give the same\n" +
			"octets.",
		Example: "  " + name + " --machines 5000 --registry org.json\n" +
			"  " + name + " --machines 2000 --master internal.zone --queries queries.txt",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("apps") {
				shape.Apps = max(shape.Networks, shape.Machines/10)
			}
			if err := errors.Join(shape.Validate(), traffic.Validate(shape)); err != nil {
				return err
			}
			d, err := dataset.New(seed, shape)
			if err != nil {
				return err
			}
			return errors.Join(
				toFile(registry, d.WriteRegistry),
				toFile(master, func(w io.Writer) error { return d.WriteMaster(w, traffic.Network) }),
				toFile(questions, func(w io.Writer) error {
					queries, err := d.Queries(traffic)
					if err != nil {
						return err
					}
					return dataset.WriteQueries(w, queries)
				}),
			)
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&seed, "seed", 1, "`SEED` of everything")
	f.IntVar(&shape.Machines, "machines", shape.Machines, "`NUMBER` of machines")
	f.IntVar(&shape.Apps, "apps", 0, "`NUMBER` of apps (default a tenth of the machines)")
	f.IntVar(&shape.Networks, "networks", shape.Networks, "`NUMBER` of networks")
	f.Float64Var(&shape.Skew, "skew", shape.Skew, "`EXPONENT` of Zipf's law for machines over apps")
	f.IntVar(&shape.Largest, "largest", shape.Largest, "largest `NUMBER` of machines of one app, 0 for no limit")
	f.Float64Var(&shape.Stopped, "stopped", shape.Stopped, "`SHARE` of machines that are deployed but not started")
	f.Float64Var(&shape.Gone, "gone", shape.Gone, "`SHARE` of machines that are destroyed")
	f.IntVar(&traffic.Network, "network", traffic.Network, "`NUMBER` of the network that asks, from 0")
	f.IntVar(&traffic.Count, "count", traffic.Count, "`NUMBER` of queries")
	f.Float64Var(&traffic.Skew, "query-skew", traffic.Skew, "`EXPONENT` of Zipf's law for queries over apps")
	f.Float64Var(&traffic.NXDomain, "nxdomain", traffic.NXDomain, "`SHARE` of queries for names that do not exist")
	f.StringVar(&registry, "registry", "", "write the registry to this `FILE` (- for standard output)")
	f.StringVar(&master, "master", "", "write the master file to this `FILE`")
	f.StringVar(&questions, "queries", "", "write the queries to this `FILE`")
	return cmd
}

// toFile calls write with the file of that name, - for standard output. It does
// nothing if the name is empty.
func toFile(name string, write func(io.Writer) error) error {
	switch name {
	case "":
		return nil
	case "-":
		return write(os.Stdout)
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
