//go:build linux

package harness

import (
	"errors"
	"net/netip"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/bench/dnsload"
	"github.com/internaldns/internaldns/bench/servers"
)

// Helpers returns the commands that scenarios start from their own executable:
// the load generator and two servers.
func Helpers() []*cobra.Command {
	return []*cobra.Command{
		dnsload.Command("bench load", nil),
		{
			Use: "serve-echo ADDRESS:PORT LEAST", Hidden: true, Args: cobra.ExactArgs(2),
			RunE: func(_ *cobra.Command, args []string) error {
				addr, err1 := netip.ParseAddrPort(args[0])
				least, err2 := strconv.Atoi(args[1])
				if err := errors.Join(err1, err2); err != nil {
					return err
				}
				return servers.Echo(addr, least)
			},
		},
		{
			Use: "serve-map ADDRESS:PORT MASTER", Hidden: true, Args: cobra.ExactArgs(2),
			RunE: func(cmd *cobra.Command, args []string) error {
				file, err := os.Open(args[1])
				if err != nil {
					return err
				}
				zone, err := servers.ReadMap(file)
				if err := errors.Join(err, file.Close()); err != nil {
					return err
				}
				return zone.Serve(cmd.Context(), args[0])
			},
		},
	}
}

// RunHelper runs the helper command that the first argument of this program
// names, and exits; otherwise it returns. Tests of scenarios call it first in
// TestMain.
func RunHelper() {
	for _, cmd := range Helpers() {
		if len(os.Args) < 2 || cmd.Name() != os.Args[1] {
			continue
		}
		cmd.SetArgs(os.Args[2:])
		if cmd.Execute() != nil { // it has printed the error
			os.Exit(1)
		}
		os.Exit(0)
	}
}
