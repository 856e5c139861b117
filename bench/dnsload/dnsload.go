// Package dnsload is the generator of package load as a command: flags for its
// options, queries from a file, from made-up facts or from the caller, and the
// result as a table, as JSON, or as a line for benchstat.
//
//	dnsload.go   the command: flags, and what it does in which order
//	queries.go   which queries are sent
//	dataset.go   a command that writes made-up facts and queries to files
//	probe.go     one query before all others, so that a silent server is reported
//	             early; and the progress on a terminal
package dnsload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/bench/dataset"
	"github.com/internaldns/internaldns/bench/load"
)

// flags are the flags of the command.
type flags struct {
	load.Options
	source
	format string
	name   string
}

// formats are how a result can be written.
var formats = []string{"text", "json", "benchmark"}

// duration is the default of the measured time: enough for some hundred thousand
// queries, and so for a stable p99.9. Figures to publish need more.
const duration = 2 * time.Second

// Command returns the command that sends queries and reports the responses. name is
// how users call it, such as "internaldns bench". sample, in the form that
// dataset.ReadQueries reads, is sent if the user names no queries; with a nil
// sample, the user must name them.
func Command(name string, sample []byte) *cobra.Command {
	f := flags{source: source{sample: sample}}
	f.Options = load.Options{CPU: -1, Duration: duration}.WithDefaults()
	cmd := &cobra.Command{
		Use:   name[strings.LastIndexByte(name, ' ')+1:] + " [flags] ADDRESS[:PORT]",
		Short: "Send queries to a DNS server, check and time the responses",
		Long: `Asks a DNS server, any DNS server, as fast as it answers (a closed loop, with
--window queries outstanding), at a constant --rate (an open loop: latency
counts from when a query was due), or as fast as it can send (--flood). Every
response must be one to the question; of those with a known answer a --sample is
compared.

` + f.describe() + `
Ask only servers that are yours: on one CPU this sends some 100,000 queries a
second.`,
		Example: "  " + name + " 127.0.0.1:5300\n\n" +
			"  # Your own questions, a line for each, such as \"web.internal AAAA\":\n" +
			"  " + name + " 127.0.0.1:5300 --queries names.txt --duration 1s\n\n" +
			"  # How long do clients wait while the server has 1,000 queries a second?\n" +
			"  " + name + " 127.0.0.1:5300 --queries names.txt --rate 1000 --duration 1s\n\n" +
			"  # Over TCP, for programs; over UDP, for benchstat:\n" +
			"  " + name + " \"[::1]:5300\" --queries names.txt --transport tcp --duration 1s --format json\n" +
			"  " + name + " 127.0.0.1:5300 --queries names.txt --duration 1s --format benchmark --name ours >> new.txt",
		Args: func(_ *cobra.Command, args []string) error {
			switch len(args) {
			case 0:
				return fmt.Errorf("want the server to ask, such as: %s 127.0.0.1:5300", name)
			case 1:
				return nil
			}
			return fmt.Errorf("want one server to ask, such as 127.0.0.1:5300, got %q", args)
		},
		SilenceUsage: true,
		RunE:         func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.file, "queries", "", "send the queries of this `FILE`, - for standard input")
	fl.IntVar(&f.machines, "machines", 0, "send queries about this `NUMBER` of made-up machines")
	fl.Uint64Var(&f.seed, "seed", 1, "with --machines: `SEED` of the made-up facts")
	fl.IntVar(&f.count, "count", 100_000, "with --machines: `NUMBER` of queries before they repeat")
	fl.Uint16Var(&f.udpSize, "udp-size", 1232, "EDNS UDP size in `OCTETS`, 0 for queries without EDNS")
	fl.StringVar((*string)(&f.Transport), "transport", string(f.Transport), "`TRANSPORT`: udp, tcp (pipelined) or tcp-once (a connection for each query)")
	fl.IntVar(&f.Sockets, "sockets", f.Sockets, "`NUMBER` of UDP sockets or TCP connections")
	fl.IntVar(&f.Window, "window", f.Window, "`QUERIES` outstanding in the closed loop")
	fl.Float64Var(&f.Rate, "rate", 0, "`QUERIES` a second; makes the loop open")
	fl.BoolVar(&f.Flood, "flood", false, "send as fast as possible, whatever comes back")
	fl.DurationVar(&f.Warmup, "warmup", 0, "`DURATION` before the measured time")
	fl.DurationVar(&f.Duration, "duration", f.Duration, "measured time, a `DURATION`")
	fl.DurationVar(&f.Timeout, "timeout", f.Timeout, "`DURATION` after which a query without response is lost")
	fl.DurationVar(&f.Deadline, "deadline", f.Deadline, "`DURATION` in which a response counts as goodput")
	fl.IntVar(&f.Sample, "sample", f.Sample, "compare the answers of one response in this `NUMBER`")
	fl.BoolVar(&f.Echo, "echo", false, "accept the query itself for a response")
	fl.IntVar(&f.CPU, "cpu", f.CPU, "run on this `CPU` only, and spin")
	fl.StringVar(&f.format, "format", formats[0], "`FORMAT`: "+strings.Join(formats, ", "))
	fl.StringVar(&f.name, "name", "DNS", "`NAME` in the benchmark format")
	cmd.AddCommand(datasetCommand(name + " dataset"))
	return cmd
}

// run sends the queries and writes the result. All faults of the command line are
// reported at once, before the first query.
func (f *flags) run(cmd *cobra.Command, server string) error {
	f.Pin = f.CPU >= 0
	if err := errors.Join(f.madeUp(cmd), f.prepare(server)); err != nil {
		return err
	}
	if err := probe(cmd.Context(), &f.Options); err != nil {
		return err
	}
	done := showProgress(cmd.ErrOrStderr(), &f.Options)
	result, err := load.Run(cmd.Context(), f.Options)
	done()
	if result.Sent > 0 || err == nil {
		if err := f.write(cmd.OutOrStdout(), &result); err != nil {
			return err
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	// Every registry has some of the names of the sample: _apps, _instances, _peer, _api.
	if f.file == "" && f.machines == 0 && result.RCodes["NOERROR"] < result.Answered/2 {
		fmt.Fprintf(cmd.ErrOrStderr(), "The server lacks most of the names asked for, which are those of the sample organisation.\nAsk for its own with --queries FILE.\n")
	}
	return nil
}

// madeUp returns a fault for each flag of made-up machines that is set without
// --machines.
func (f *flags) madeUp(cmd *cobra.Command) error {
	var faults []error
	for _, name := range []string{"seed", "count"} {
		if cmd.Flags().Changed(name) && f.machines == 0 {
			faults = append(faults, fmt.Errorf("%s: is about made-up machines; want --machines NUMBER, too", name))
		}
	}
	return errors.Join(faults...)
}

// prepare completes the options. The error has a line for each fault; a faulty
// field gets a valid value, so that it is reported once.
func (f *flags) prepare(server string) error {
	var faults []error
	var err error
	if f.Server, err = parseServer(server); err != nil {
		faults = append(faults, err)
		f.Server = netip.AddrPortFrom(netip.IPv6Loopback(), 53)
	}
	if !slices.Contains(formats, f.format) {
		faults = append(faults, fmt.Errorf("format: must be one of %s, got %q", strings.Join(formats, ", "), f.format))
	}
	if f.Queries, err = f.load(); err != nil {
		faults = append(faults, err)
		f.Queries = []dataset.Query{{Message: make([]byte, 12)}}
	}
	return errors.Join(append(faults, f.Validate())...)
}

// parseServer reads an address, with a port if it is not 53.
func parseServer(s string) (netip.AddrPort, error) {
	server, err := netip.ParseAddrPort(s)
	if err != nil {
		var addr netip.Addr
		addr, err = netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
		server = netip.AddrPortFrom(addr, 53)
	}
	switch {
	case err != nil:
		return server, fmt.Errorf("server: want an IP address, with a port if it is not 53, such as 127.0.0.1:5300 or [::1]:5300, got %q", s)
	case server.Port() == 0:
		return server, fmt.Errorf("server: port must be from 1 to 65535, got %q", s)
	case server.Addr().Zone() != "":
		return server, fmt.Errorf("server: addresses with a zone cannot be asked, got %q", s)
	}
	return server, nil
}

func (f *flags) write(w io.Writer, r *load.Result) error {
	switch f.format {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	case "benchmark":
		return r.WriteBenchmark(w, f.name)
	}
	return r.WriteText(w)
}
