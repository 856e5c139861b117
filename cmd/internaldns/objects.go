package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/internal/client"
)

// A listedApp is the part of an app that the commands print.
type listedApp struct {
	Name          string `json:"name"`
	Network       string `json:"network"`
	NetworkPrefix string `json:"network_prefix"`
	MachineCount  int    `json:"machine_count"`
}

func (p *program) appsCommand() *cobra.Command {
	cmd, c := p.group("apps", "List, add and remove apps", `Lists, adds and removes apps of the registry that a server's control API serves.`,
		`  internaldns apps list
  internaldns apps put shop --network fdaa:0:18::/48
  internaldns apps rm shop`)
	c.networkFlag(cmd)
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
	list, get := readers(c, "APP", "pg", "List the apps of all networks, or of one", "Show one app", show)
	cmd.AddCommand(
		list, get,
		c.verb("put", "APP", "Add an app, and its network if that is new; an existing app is not changed", "shop --network fdaa:0:18::/48", 1, 1, func(cmd *cobra.Command, args []string) error {
			app := map[string]string{"app_name": args[0]}
			if c.network != "" {
				app["network"] = c.network
			}
			body, header, err := c.ask(cmd.Context(), client.Request{Method: http.MethodPost, Path: client.Path("apps"), Body: client.JSON(app)})
			if exitStatus(err) == exitConflict && c.network != "" {
				body, header, err = c.ask(cmd.Context(), client.Request{Method: http.MethodGet, Path: client.Path("apps", args[0])})
			}
			if err != nil {
				return err
			}
			a, err := decoded[listedApp](body)
			if err != nil {
				return err
			}
			return c.done(header, body, "app %s is in %s", a.Name, a.NetworkPrefix)
		}),
		c.removal("APP", "Remove an app with its machines and Flycast (private proxy) addresses", "shop", "app", func(args []string) string { return client.Path("apps", args[0]) }),
	)
	return cmd
}

// A listedPeer is the part of a peer that the commands print.
type listedPeer struct{ Name, Address, Region, Network string }

func (p *program) peersCommand() *cobra.Command {
	cmd, c := p.group("peers", "List, add and remove WireGuard peers", `Lists, adds and removes WireGuard peers of the registry that a server's control
API serves. A peer is a host, such as a laptop, that WireGuard connects to the
network that its address names.`,
		`  internaldns peers put laptop fdaa:0:18:a7b:d6b:0:a:199 --region ams
  internaldns peers list
  internaldns peers rm laptop`)
	c.networkFlag(cmd)
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
		body, header, err := c.ask(cmd.Context(), client.Request{Method: http.MethodPut, Path: client.Path("peers", args[0]), Body: client.JSON(peer)})
		if err != nil {
			return err
		}
		return c.done(header, body, "peer %s is stored", args[0])
	})
	put.Flags().StringVar(&region, "region", "", "`REGION` in which the peer is")
	c.indexFlag(put)
	list, get := readers(c, "NAME", "my-peer", "List the peers of all networks, or of one", "Show one peer", show)
	cmd.AddCommand(
		list, get,
		put,
		c.removal("NAME", "Remove a peer", "laptop", "peer", func(args []string) string { return client.Path("peers", args[0]) }),
	)
	return cmd
}

// A listedNetwork is the part of a network that the commands print.
type listedNetwork struct {
	Name, Prefix string
	Index        uint64
}

func (p *program) networksCommand() *cobra.Command {
	cmd, c := p.group("networks", "List and name networks", `Lists the networks of the registry that a server's control API serves, and
gives them names. A network is a private IPv6 network, a /48 in fdaa::/16, whose
clients see its apps only. It exists while it has an app, a peer or a name.`,
		`  internaldns networks list
  internaldns networks put acme fdaa:0:18::/48
  internaldns networks get acme
  internaldns networks rm acme`)
	show := func(w io.Writer, networks ...listedNetwork) {
		fmt.Fprintln(w, "PREFIX\tNAME\tINDEX")
		for _, n := range networks {
			fmt.Fprintf(w, "%s\t%s\t%d\n", n.Prefix, n.Name, n.Index)
		}
	}
	list, get := readers(c, "NETWORK", "fdaa:0:18::/48", "List all networks", "Show one network, by name or prefix", show)
	cmd.AddCommand(
		list, get,
		c.verb("put", "NAME [PREFIX]", "Name the network of a prefix, or a free one", "acme fdaa:0:18::/48", 1, 2, func(cmd *cobra.Command, args []string) error {
			network := map[string]string{}
			if len(args) == 2 {
				network["prefix"] = args[1]
			}
			body, header, err := c.ask(cmd.Context(), client.Request{Method: http.MethodPut, Path: client.Path("networks", args[0]), Body: client.JSON(network)})
			if err != nil {
				return err
			}
			n, err := decoded[listedNetwork](body)
			if err != nil {
				return err
			}
			return c.done(header, body, "network %s is %s", n.Name, n.Prefix)
		}),
		c.removal("NETWORK", "Remove the name of a network; its apps and peers stay", "acme", "network", func(args []string) string { return client.Path("networks", args[0]) }),
	)
	return cmd
}

// group returns a command that only has others below it, and what they ask the API with.
func (p *program) group(name, short, long, example string) (*cobra.Command, *apiClient) {
	cmd := &cobra.Command{
		Use: name, Short: short, Long: long + "\n\n" + exitHelp, Example: example,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c := p.apiFlags(cmd)
	c.jsonFlag(cmd)
	return cmd, c
}

// A listing is the API's list of objects, under the name of their kind.
type listing[T any] struct{ Apps, Peers, Networks []T }

// readers returns the verbs list and get of a group. show prints objects.
func readers[T any](c *apiClient, arg, eg, listShort, getShort string, show func(w io.Writer, objects ...T)) (list, get *cobra.Command) {
	list = c.verb("list", "", listShort, "", 0, 0, func(cmd *cobra.Command, _ []string) error {
		body, _, err := c.ask(cmd.Context(), client.Request{Method: http.MethodGet, Path: client.Path(c.group)})
		if err != nil {
			return err
		}
		return printAnswer(c, body, func(w io.Writer, v listing[T]) { show(w, slices.Concat(v.Apps, v.Peers, v.Networks)...) })
	})
	get = c.verb("get", arg, getShort, eg, 1, 1, func(cmd *cobra.Command, args []string) error {
		body, _, err := c.ask(cmd.Context(), client.Request{Method: http.MethodGet, Path: client.Path(c.group, args[0])})
		if err != nil {
			return err
		}
		return printAnswer(c, body, func(w io.Writer, object T) { show(w, object) })
	})
	return list, get
}

// verb returns a command of a group that takes from least to most arguments. args names
// them for the help, and eg is an example of them, perhaps with flags.
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
			// In a URL these mean the path itself or the one above, so the request
			// would be for another object.
			if arg == "" || arg == "." || arg == ".." {
				return fmt.Errorf("no object can be called %q", arg)
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
		body, header, err := c.ask(cmd.Context(), client.Request{Method: http.MethodDelete, Path: path(args)})
		if err != nil {
			return err
		}
		return c.done(header, bytes.TrimSpace(body), "%s %s is gone", noun, args[len(args)-1])
	})
	c.indexFlag(cmd)
	return cmd
}
