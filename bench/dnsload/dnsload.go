package dnsload

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/bench/dataset"
	"github.com/internaldns/internaldns/bench/load"
)

// flags are what the command line says beyond the generator's own options.
type flags struct {
	load.Options
	queries  string
	machines int
	seed     uint64
	count    int
	udpSize  uint16
	format   string
	name     string
}

// Command returns the command that sends queries and says what became of them.
// The name is what it is called by: dnsload alone, or as a part of another
// program.
func Command(name string) *cobra.Command {
	var f flags
	f.Options = load.Options{CPU: -1}.WithDefaults()
	cmd := &cobra.Command{
		Use:   name[strings.LastIndexByte(name, ' ')+1:] + " ADDRESS:PORT",
		Short: "Send queries to a DNS server, check and time the responses",
		Long: "Asks the server as fast as it answers (a closed loop, with --window queries\n" +
			"outstanding), at a constant --rate (an open loop: latency counts from when a query\n" +
			"was due), or as fast as it can send (--flood). Queries come from a file of lines\n" +
			"\"QNAME QTYPE\", or are those of the made-up facts of --machines and --seed.",
		Example: "  " + name + " 127.0.0.1:53 --queries names.txt\n" +
			"  " + name + " 127.0.0.1:5353 --machines 2000 --rate 50000 --format json\n" +
			"  " + name + " [::1]:53 --transport tcp --sockets 8 --window 256\n" +
			"  " + name + " 127.0.0.1:5353 --format benchmark --name ours >> new.txt; benchstat old.txt new.txt",
		Args:         cobra.ExactArgs(1),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if f.Server, err = netip.ParseAddrPort(args[0]); err != nil {
				return fmt.Errorf("server: %w", err)
			}
			f.Pin = f.CPU >= 0
			if f.Queries, err = f.load(); err != nil {
				return err
			}
			result, err := load.Run(cmd.Context(), f.Options)
			if err != nil && result.Sent == 0 {
				return err
			}
			return f.write(cmd.OutOrStdout(), &result)
		},
	}
	fl := cmd.Flags()
	fl.StringVar((*string)(&f.Transport), "transport", string(f.Transport), "udp, tcp (pipelined) or tcp-once (a connection for each query)")
	fl.IntVar(&f.Sockets, "sockets", f.Sockets, "number of UDP sockets or TCP connections")
	fl.IntVar(&f.Window, "window", f.Window, "queries outstanding in the closed loop")
	fl.Float64Var(&f.Rate, "rate", 0, "queries a second; makes the loop open")
	fl.BoolVar(&f.Flood, "flood", false, "send as fast as possible, whatever comes back")
	fl.DurationVar(&f.Warmup, "warmup", 0, "time before the measured time")
	fl.DurationVar(&f.Duration, "duration", f.Duration, "measured time")
	fl.DurationVar(&f.Timeout, "timeout", f.Timeout, "when a query without response is lost")
	fl.DurationVar(&f.Deadline, "deadline", f.Deadline, "what a response must keep to count as goodput")
	fl.IntVar(&f.Sample, "sample", f.Sample, "compare the answers of one response in so many")
	fl.BoolVar(&f.Echo, "echo", false, "accept the query itself for a response")
	fl.IntVar(&f.CPU, "cpu", -1, "run on this CPU only, and spin")
	fl.StringVar(&f.queries, "queries", "", "file of queries, - for standard input")
	fl.IntVar(&f.machines, "machines", 2000, "without a file: number of made-up machines")
	fl.Uint64Var(&f.seed, "seed", 1, "without a file: seed of the made-up facts")
	fl.IntVar(&f.count, "count", 100_000, "without a file: number of queries before they repeat")
	fl.Uint16Var(&f.udpSize, "udp-size", 1232, "EDNS UDP size, 0 for queries without EDNS")
	fl.StringVar(&f.format, "format", "text", "text, json or benchmark")
	fl.StringVar(&f.name, "name", "DNS", "name in the benchmark format")
	return cmd
}

// load returns the queries of the file, or those of made-up facts.
func (f *flags) load() ([]dataset.Query, error) {
	if f.queries == "" {
		d, err := dataset.New(f.seed, dataset.DefaultShape(f.machines))
		if err != nil {
			return nil, err
		}
		traffic := dataset.DefaultTraffic(f.count)
		traffic.UDPSize = f.udpSize
		return d.Queries(traffic)
	}
	file := os.Stdin
	if f.queries != "-" {
		var err error
		if file, err = os.Open(f.queries); err != nil {
			return nil, err
		}
		defer file.Close()
	}
	queries, err := dataset.ReadQueries(file, f.udpSize)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.queries, err)
	}
	return queries, nil
}

func (f *flags) write(w io.Writer, r *load.Result) error {
	switch f.format {
	case "text":
		return r.WriteText(w)
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	case "benchmark":
		return r.WriteBenchmark(w, f.name)
	}
	return fmt.Errorf("format: must be text, json or benchmark, got %q", f.format)
}
