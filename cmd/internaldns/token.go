package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

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
Its line for the server's --api-tokens file, which holds only a hash, is added
to --file, or printed on standard error. A running server reads the file again
by itself. A token with networks, given by prefix, gives access to these only:
for its holder, objects in other networks do not exist. A token without networks
gives access to everything.`,
		Example: `  internaldns token --file tokens deploy > deploy.token
  internaldns token --file tokens acme-ci fdaa:0:18::/48 > ci.token`,
		Args: wantArgs(1, 1000, "deploy fdaa:0:18::/48"),
		RunE: func(_ *cobra.Command, args []string) error {
			if words := strings.Fields(args[0]); len(words) != 1 || words[0] != args[0] || strings.Contains(args[0], "#") {
				return fmt.Errorf("%q is no name of a token: want one word, without #", args[0])
			}
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
			} else if err := addToken(file, line); err != nil {
				return err
			}
			_, err := fmt.Fprintln(p.stdout, secret)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "add the token's line to this `FILE`")
	return cmd
}

// addToken adds a line to a file of tokens. If there is no file, it makes one that only its
// owner can read. If the server would refuse the file with that line, because it repeats a
// name for example, the file is not changed.
func addToken(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	more := line + "\n"
	if len(text) > 0 && text[len(text)-1] != '\n' {
		more = "\n" + more // editors differ about the end of the last line
	}
	if err := api.CheckTokens(append(text, more...)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	_, err = f.WriteString(more)
	return errors.Join(err, f.Sync())
}
