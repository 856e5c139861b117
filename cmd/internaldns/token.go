package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api"
)

func (p *program) tokenCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "token [flags] NAME [NETWORK…]",
		Short: "Make a token for the control API",
		Long: `Makes a token for the control API and prints it: the secret that a client shows.
Its line for the server's --api-tokens file, which holds only a hash, is added to
--file, or printed on standard error. A running server takes it up by itself. A
token with networks, given by prefix, is for these only, and what is in others
does not exist for it; one without is for everything.`,
		Example: `  internaldns token --file tokens deploy > deploy.token
  internaldns token --file tokens acme-ci fdaa:0:18::/48 > ci.token`,
		Args: wantArgs(1, 1000, "deploy fdaa:0:18::/48"),
		RunE: func(_ *cobra.Command, args []string) error {
			var networks []registry.Network
			var faults []error
			for _, s := range args[1:] {
				n, err := registry.ParseNetwork(s)
				networks, faults = append(networks, n), append(faults, err)
			}
			if err := errors.Join(faults...); err != nil {
				return err
			}
			secret, line := api.NewToken(args[0], networks...)
			if file == "" {
				fmt.Fprintf(p.stderr, "the line for the server's --api-tokens file:\n%s\n", line)
			} else if err := appendLine(file, line); err != nil {
				return err
			}
			_, err := fmt.Fprintln(p.stdout, secret)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "add the token's line to this `FILE`")
	return cmd
}

// appendLine adds a line to a file, made if need be, that only its owner reads.
func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, line)
	return errors.Join(err, f.Close())
}
