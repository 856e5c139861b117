package main

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"
	"github.com/spf13/cobra"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone/explain"
)

func (p *program) explainCommand() *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use:   "explain [flags] [TYPE] NAME",
		Short: "Explain why a name has its answer",
		Long: `Answers one question from a registry file, without a server, and explains the
answer: the network and the region of the client, what the name stands for, and
which machines are left out of the answer, with the reason.

TYPE is AAAA unless given. Without --registry, the sample is used.`,
		Example: `  # Why is a machine not in the answer?
  internaldns explain --registry org.json --from fdaa:0:18:a7b:7d:f066:b83b:2 web.internal

  # Which machines are nearest to a WireGuard peer?
  internaldns explain --registry org.json --from fdaa:0:18:a7b:d6b:0:a:102 top2.nearest.of.web.internal

  # What does a container get that asks the server's address in the network?
  internaldns explain --registry org.json --from 172.17.0.5 --to fdaa:0:18::3 AAAA vault.internal

  # With the registry that a server stores, in --data or --etcd:
  internaldns export | internaldns explain --registry /dev/stdin --network fdaa:0:18::/48 pg.internal`,
		Args: wantArgs(1, 2, "web.internal"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var faults []error
			c, err := load(cmd.Flags(), p.environ)
			if err != nil {
				faults = append(faults, err)
			}
			qtype, name, err := question(args)
			if err != nil {
				faults = append(faults, err)
			}
			if qtype == dns.TypeNone {
				qtype = dns.TypeAAAA
			}
			src, err := netip.ParseAddr(from)
			if err != nil {
				faults = append(faults, fmt.Errorf("--from: %q is no IP address", from))
			}
			dst, err := netip.ParseAddr(to)
			if err != nil {
				faults = append(faults, fmt.Errorf("--to: %q is no IP address", to))
			}
			if err := errors.Join(faults...); err != nil {
				return err
			}
			return p.explain(c, src, dst, qtype, name)
		},
	}
	flags := cmd.Flags()
	addFlags(flags, "registry")
	flags.StringVar(&from, "from", "127.0.0.1", "the client's `ADDRESS`")
	flags.StringVar(&to, "to", "fdaa::3", "the `ADDRESS` that the client asks")
	addFlags(flags, "network", "client", "region", "config")
	return cmd
}

// explain prints the explanation of one answer from the registry of c.
func (p *program) explain(c config, src, dst netip.Addr, qtype uint16, name string) error {
	facts, err := c.facts()
	if err != nil {
		return err
	}
	store := registry.NewStore(nil)
	if _, err := store.Apply(store.Snapshot().Diff(facts)); err != nil {
		return err
	}
	snap := store.Snapshot()
	options := c.zone()
	options.Clients = clientMap(c, onlyNetwork(snap))
	_, err = fmt.Fprint(p.stdout, explain.Explain(snap, options, src, dst, qtype, name))
	return err
}

// facts returns the facts of the registry file of c. Without one, it returns the sample's, and
// places loopback in the sample's network.
func (c *config) facts() (*registry.Facts, error) {
	if c.Registry == "" {
		c.placeSample()
		return sampleFacts(), nil
	}
	return readRegistry(c.Registry)
}
