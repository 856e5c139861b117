package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/zone"
)

// loopback are the clients that are placed in the only network of a registry by default.
var loopback = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("::1/128"),
}

// local are the clients that --network places: loopback, link-local (RFC 3927, RFC 4291),
// private (RFC 1918) and unique local (RFC 4193) addresses. None of them is routed on the
// Internet. 6PN addresses are in fc00::/7 too, but have their network in the address.
var local = append(slices.Clone(loopback),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("fc00::/7"),
)

// sixPN holds all 6PN addresses, which contain the number of their network.
var sixPN = netip.MustParsePrefix("fdaa::/16")

// parseClient parses one entry of the client map, PREFIX=NETWORK[,REGION].
func parseClient(s string) (zone.Client, error) {
	var c zone.Client
	prefix, rest, ok := strings.Cut(s, "=")
	if !ok {
		return c, fmt.Errorf("want PREFIX=NETWORK[,REGION], such as 172.17.0.0/16=fdaa:0:18::/48,ams, got %q", s)
	}
	network, region, hasRegion := strings.Cut(rest, ",")
	var faults []error
	var err error
	if c.Prefix, err = parsePlaced(prefix); err != nil {
		faults = append(faults, err)
	}
	if c.Network, err = registry.ParseNetwork(network); err != nil {
		faults = append(faults, err)
	}
	if hasRegion {
		c.Region = registry.Fold(region)
		if err := checkRegion(region); err != nil {
			faults = append(faults, err)
		}
	}
	return c, errors.Join(faults...)
}

// parsePlaced parses the prefix of clients that are placed in a network.
func parsePlaced(s string) (netip.Prefix, error) {
	p, err := parsePrefix(s)
	if err == nil && sixPN.Overlaps(p) && p.Bits() >= sixPN.Bits() {
		return p, fmt.Errorf("%v is part of %v, where an address itself says its network", p, sixPN)
	}
	return p, err
}

// parsePrefix parses the prefix of clients' addresses.
func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is no prefix of addresses such as 172.17.0.0/16", s)
	case p.Masked() != p:
		return p, fmt.Errorf("%v has bits beyond its length; did you mean %v?", p, p.Masked())
	case p.Addr().Is4In6():
		return p, fmt.Errorf("%v is an IPv4 prefix written as IPv6; write it as IPv4", p)
	}
	return p, nil
}

// zone returns the options of package zone in c, without the client map.
func (c *config) zone() zone.Options {
	return zone.Options{TTL: uint32(c.TTL / time.Second), Region: registry.Fold(c.Region)}
}

// clientMap returns the client map of c. If c places no clients, loopback is placed in the
// network only, unless that is 0.
func clientMap(c config, only registry.Network) []zone.Client {
	var clients []zone.Client
	has := make(map[netip.Prefix]bool)
	for _, s := range c.Clients {
		client, err := parseClient(s)
		if err != nil {
			panic(fmt.Sprintf("client %q: %v", s, err)) // load has checked it
		}
		clients = append(clients, client)
		has[client.Prefix] = true
	}
	place := func(prefixes []netip.Prefix, n registry.Network) {
		for _, p := range prefixes {
			if !has[p] {
				clients = append(clients, zone.Client{Prefix: p, Network: n})
			}
		}
	}
	switch {
	case c.Network != "":
		n, err := registry.ParseNetwork(c.Network)
		if err != nil {
			panic(fmt.Sprintf("network %q: %v", c.Network, err)) // load has checked it
		}
		place(local, n)
	case len(clients) == 0 && only != 0:
		place(loopback, only)
	}
	return clients
}

// placesNone reports whether c places no clients, so that the registry decides.
func (c *config) placesNone() bool { return c.Network == "" && len(c.Clients) == 0 }

// onlyNetwork returns the network of s if it has exactly one, else 0.
func onlyNetwork(s *registry.Snapshot) registry.Network {
	only := registry.Network(0)
	for n := range s.Networks() {
		if only != 0 {
			return 0
		}
		only = n.Network
	}
	return only
}

// unplaced returns the regions in c that have no known distances: they are misspelt, or the
// registry lacks them.
func (c *config) unplaced(snap *registry.Snapshot) []string {
	regions := []string{registry.Fold(c.Region)}
	for _, s := range c.Clients {
		if client, err := parseClient(s); err == nil {
			regions = append(regions, client.Region)
		}
	}
	slices.Sort(regions)
	known := snap.Geography().Codes()
	return slices.DeleteFunc(slices.Compact(regions), func(code string) bool {
		return code == "" || slices.Contains(known, code)
	})
}
