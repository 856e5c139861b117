package main

import "time"

// answerSettings are about our own names: where they come from, who is answered,
// and how.
var answerSettings = []setting{
	{
		path: "config", arg: "FILE", outside: true,
		help:  "read settings from this YAML file; flags and environment win over it",
		why:   "Keys are the names of flags, with underscores.",
		to:    func(c *config) any { return &c.Config },
		check: notEmpty,
	},
	{
		path: "registry", arg: "FILE", eg: "org.json",
		help: "the registry: a JSON or YAML file of apps and machines (default: a built-in sample)",
		why: `The registry file, JSON or YAML. It is followed: within 2 s of a change, the
difference is applied, unless the new file has a fault; then the facts stay as
they were.`,
		to:    func(c *config) any { return &c.Registry },
		check: notEmpty,
	},
	{
		path: "listen", arg: "HOST:PORT", eg: `["[::]:53"]`,
		help: "answer queries here, over UDP and TCP; may be repeated (default: [::]:53 with a registry, else [::1]:5300 and 127.0.0.1:5300)",
		why: `Where queries are answered, over UDP and TCP. [::]:53 is every address of the
machine, IPv4 too. An address that no interface has yet is no fault: queries are
answered once it arrives. Ports below 1024 need a privilege.`,
		to:    func(c *config) any { return &c.Listen },
		check: checkHostPort,
	},
	{
		path: "network", arg: "PREFIX", eg: "fdaa:0:18::/48",
		help: "place local clients (loopback, link-local, private addresses) in this network",
		why: `The network that clients are in whose address is no 6PN address: those in
127.0.0.0/8, ::1/128, 169.254.0.0/16, fe80::/10, 10.0.0.0/8, 172.16.0.0/12,
192.168.0.0/16 and fc00::/7. Anything else needs an entry of client. If neither is
set and the registry has exactly one network, loopback is placed in it.`,
		to:    func(c *config) any { return &c.Network },
		check: checkNetwork,
	},
	{
		path: "client", arg: "PREFIX=NETWORK[,REGION]", eg: `["172.17.0.0/16=fdaa:0:18::/48,ams"]`,
		help: "place clients from PREFIX in NETWORK, and in REGION; may be repeated",
		why: `Which network clients are in whose address is no 6PN address, and in which
region. The longest prefix wins, and an entry here wins over network.`,
		to:       func(c *config) any { return &c.Clients },
		check:    checkClient,
		together: checkClients,
	},
	{
		path: "region", arg: "CODE", eg: "ams",
		help: "the server's own region, for clients whose region is not known",
		why: `The region from which "nearest" is counted for clients whose own region is not
known: they are no machine and no peer, and no entry of client says it.`,
		to:    func(c *config) any { return &c.Region },
		check: checkRegion,
	},
	{
		path: "ttl", arg: "DURATION", def: "5s",
		min: 0, max: int64(24 * time.Hour), whole: time.Second,
		help: "how long clients may keep an answer, in whole seconds",
		why: `How long clients may keep an answer. A machine can stop at any moment and its
address may soon be another machine's; a longer TTL trades load for stale
addresses, second for second.`,
		to: func(c *config) any { return &c.TTL },
	},
	{
		path: "max_udp_size", arg: "OCTETS", def: "8192",
		min: 512, max: 65507,
		help: "largest response over UDP, for clients that take as much",
		why: `The largest response over UDP, in octets, for clients that take as much. What
is larger is truncated, and the client asks again over TCP. Above 1232 responses
may be cut into fragments on the way, which some networks lose; 65507 is the most
that a datagram over IPv4 can hold.`,
		to: func(c *config) any { return &c.MaxUDPSize },
	},
}
