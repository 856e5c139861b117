package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/internal/client"
)

// The commands about apps, peers and networks, which have the same four verbs.

// A listedApp is what the commands print of an app.
type listedApp struct {
	Name          string `json:"name"`
	Network       string `json:"network"`
	NetworkPrefix string `json:"network_prefix"`
	MachineCount  int    `json:"machine_count"`
}

func (p *program) appsCommand() *cobra.Command {
	cmd := group("apps", "List, add and remove apps", `Lists, adds and removes apps of the registry that a server's control API serves.`,
		`  internaldns apps list
  internaldns apps put shop --network fdaa:0:18::/48
  internaldns apps rm shop`)
	c := p.apiFlags(cmd)
	c.networkFlag(cmd)
	c.jsonFlag(cmd)
	show := func(w io.Writer, apps ...listedApp) {
		fmt.Fprintln(w, "NAME\tNETWORK\tMACHINES")
		for _, a := range apps {
			network := a.NetworkPrefix
			if a.Network != network {
				network += " (" + a.Network + ")"
			}
			fmt.Fprintf(w, "%s\t%s\t%d\n", a.Name, network, a.MachineCount)
		}
	}
	cmd.AddCommand(
		c.verb("list", "", "List the apps of all networks, or of one", "", 0, 0, func(cmd *cobra.Command, _ []string) error {
			body, _, err := c.ask(cmd.Context(), client.Request{Method: "GET", Path: client.Path("apps")})
			if err != nil {
				return err
			}
			return printAnswer(c, body, func(w io.Writer, v struct{ Apps []listedApp }) { show(w, v.Apps...) })
		}),
		c.verb("get", "APP", "Show one app", "pg", 1, 1, func(cmd *cobra.Command, args []string) error {
			body, _, err := c.ask(cmd.Context(), client.Request{Method: "GET", Path: client.Path("apps", args[0])})
			if err != nil {
				return err
			}
			return printAnswer(c, body, func(w io.Writer, a listedApp) { show(w, a) })
		}),
		c.verb("put", "APP", "Add an app, and its network if that is new; an app that exists stays", "shop --network fdaa:0:18::/48", 1, 1, func(cmd *cobra.Command, args []string) error {
			app := map[string]string{"app_name": args[0]}
			if c.network != "" {
				app["network"] = c.network
			}
			body, header, err := c.ask(cmd.Context(), client.Request{Method: "POST", Path: client.Path("apps"), Body: client.JSON(app)})
			if exitStatus(err) == exitConflict && c.network != "" {
				body, header, err = c.ask(cmd.Context(), client.Request{Method: "GET", Path: client.Path("apps", args[0])})
			}
			if err != nil {
				return err
			}
			var a listedApp
			if err := json.Unmarshal(body, &a); err != nil {
				return fmt.Errorf("the answer of the API: %w", err)
			}
			return c.done(header, body, "app %s is in %s", a.Name, a.NetworkPrefix)
		}),
		c.removal("APP", "Remove an app with its machines and Flycast (private proxy) addresses", "shop", "app", func(args []string) string { return client.Path("apps", args[0]) }),
	)
	return cmd
}

// A listedPeer is what the commands print of a peer.
type listedPeer struct{ Name, Address, Region, Network string }

func (p *program) peersCommand() *cobra.Command {
	cmd := group("peers", "List, add and remove WireGuard peers", `Lists, adds and removes WireGuard peers of the registry that a server's control
API serves. A peer is a host, such as a laptop, that WireGuard connects to the
network that its address names.`,
		`  internaldns peers put laptop fdaa:0:18:a7b:d6b:0:a:199 --region ams
  internaldns peers list
  internaldns peers rm laptop`)
	c := p.apiFlags(cmd)
	c.networkFlag(cmd)
	c.jsonFlag(cmd)
	show := func(w io.Writer, peers ...listedPeer) {
		fmt.Fprintln(w, "NAME\tADDRESS\tREGION\tNETWORK")
		for _, p := range peers {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.Name, p.Address, p.Region, p.Network)
		}
	}
	var region string
	put := c.verb("put", "NAME ADDRESS", "Add or replace a peer", "laptop fdaa:0:18:a7b:d6b:0:a:199 --region ams", 2, 2, func(cmd *cobra.Command, args []string) error {
		peer := map[string]string{"address": args[1]}
		if region != "" {
			peer["region"] = region
		}
		body, header, err := c.ask(cmd.Context(), client.Request{Method: "PUT", Path: client.Path("peers", args[0]), Body: client.JSON(peer)})
		if err != nil {
			return err
		}
		return c.done(header, body, "peer %s is stored", args[0])
	})
	put.Flags().StringVar(&region, "region", "", "`REGION` in which the peer is")
	c.indexFlag(put)
	cmd.AddCommand(
		c.verb("list", "", "List the peers of all networks, or of one", "", 0, 0, func(cmd *cobra.Command, _ []string) error {
			body, _, err := c.ask(cmd.Context(), client.Request{Method: "GET", Path: client.Path("peers")})
			if err != nil {
				return err
			}
			return printAnswer(c, body, func(w io.Writer, v struct{ Peers []listedPeer }) { show(w, v.Peers...) })
		}),
		c.verb("get", "NAME", "Show one peer", "my-peer", 1, 1, func(cmd *cobra.Command, args []string) error {
			body, _, err := c.ask(cmd.Context(), client.Request{Method: "GET", Path: client.Path("peers", args[0])})
			if err != nil {
				return err
			}
			return printAnswer(c, body, func(w io.Writer, p listedPeer) { show(w, p) })
		}),
		put,
		c.removal("NAME", "Remove a peer", "laptop", "peer", func(args []string) string { return client.Path("peers", args[0]) }),
	)
	return cmd
}

// A listedNetwork is what the commands print of a network.
type listedNetwork struct {
	Name, Prefix string
	Index        uint64
}

func (p *program) networksCommand() *cobra.Command {
	cmd := group("networks", "List and name networks", `Lists the networks of the registry that a server's control API serves, and
gives them names. A network is a private IPv6 network, a /48 in fdaa::/16, whose
clients see its apps only. It exists while it has an app, a peer or a name.`,
		`  internaldns networks list
  internaldns networks put acme fdaa:0:18::/48
  internaldns networks get acme
  internaldns networks rm acme`)
	c := p.apiFlags(cmd)
	c.jsonFlag(cmd)
	show := func(w io.Writer, networks ...listedNetwork) {
		fmt.Fprintln(w, "PREFIX\tNAME\tINDEX")
		for _, n := range networks {
			fmt.Fprintf(w, "%s\t%s\t%d\n", n.Prefix, n.Name, n.Index)
		}
	}
	cmd.AddCommand(
		c.verb("list", "", "List all networks", "", 0, 0, func(cmd *cobra.Command, _ []string) error {
			body, _, err := c.ask(cmd.Context(), client.Request{Method: "GET", Path: client.Path("networks")})
			if err != nil {
				return err
			}
			return printAnswer(c, body, func(w io.Writer, v struct{ Networks []listedNetwork }) { show(w, v.Networks...) })
		}),
		c.verb("get", "NETWORK", "Show one network, by name or prefix", "fdaa:0:18::/48", 1, 1, func(cmd *cobra.Command, args []string) error {
			body, _, err := c.ask(cmd.Context(), client.Request{Method: "GET", Path: client.Path("networks", args[0])})
			if err != nil {
				return err
			}
			return printAnswer(c, body, func(w io.Writer, n listedNetwork) { show(w, n) })
		}),
		c.verb("put", "NAME [PREFIX]", "Name the network of a prefix, or a free one", "acme fdaa:0:18::/48", 1, 2, func(cmd *cobra.Command, args []string) error {
			network := map[string]string{}
			if len(args) == 2 {
				network["prefix"] = args[1]
			}
			body, header, err := c.ask(cmd.Context(), client.Request{Method: "PUT", Path: client.Path("networks", args[0]), Body: client.JSON(network)})
			if err != nil {
				return err
			}
			var n listedNetwork
			if err := json.Unmarshal(body, &n); err != nil {
				return fmt.Errorf("the answer of the API: %w", err)
			}
			return c.done(header, body, "network %s is %s", n.Name, n.Prefix)
		}),
		c.removal("NETWORK", "Take the name from a network; what is in it stays", "acme", "network", func(args []string) string { return client.Path("networks", args[0]) }),
	)
	return cmd
}

// group returns a command that only has others below it.
func group(name, short, long, example string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Long: long + "\n\n" + exitHelp, Example: example,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
}

// verb returns a command of a group with at least least and at most most arguments.
// args names them for the help, and eg is an example of them, perhaps with flags.
func (c *apiClient) verb(name, args, short, eg string, least, most int, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: strings.TrimSpace(name + " [flags] " + args), Short: short, Args: wantArgs(least, most, eg),
		Example: strings.TrimRight("  "+programName+" "+c.group+" "+name+" "+eg, " "),
	}
	if most == 0 {
		cmd.Args = noArgs
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, arg := range args {
			// In a URL these mean the path itself or the one above, so that the
			// request would be about something else.
			if arg == "" || arg == "." || arg == ".." {
				return fmt.Errorf("nothing can be called %q", arg)
			}
		}
		if err := c.open(); err != nil {
			return err
		}
		return run(cmd, args)
	}
	return cmd
}

// removal returns the verb rm of a group.
func (c *apiClient) removal(args, short, eg, noun string, path func(args []string) string) *cobra.Command {
	n := len(strings.Fields(args))
	cmd := c.verb("rm", args, short, eg, n, n, func(cmd *cobra.Command, args []string) error {
		body, header, err := c.ask(cmd.Context(), client.Request{Method: http.MethodDelete, Path: path(args), Query: url.Values{}})
		if err != nil {
			return err
		}
		return c.done(header, bytes.TrimSpace(body), "%s %s is gone", noun, args[len(args)-1])
	})
	c.indexFlag(cmd)
	return cmd
}
