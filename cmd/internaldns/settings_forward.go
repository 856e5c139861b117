package main

import "time"

// forwardSettings are about the names that are not ours.
var forwardSettings = []setting{
	{
		path: "upstream", arg: "HOST[:PORT]", eg: `["9.9.9.9", "tls://1.1.1.1#one.one.one.one"]`,
		help: `forward names that are not ours to this server; may be repeated, or "off" (default: the nameservers of --resolv-conf)`,
		why: `Who is asked for names that are not ours: HOST[:PORT], or tls://HOST[:PORT]#NAME
over TLS, where the server must prove to be NAME. Several are asked in this order;
the next when one does not answer soon, or cannot. Names under internal, flycast,
fly-local-6pn and the 6PN reverse zone are never forwarded. Without upstreams it is
the nameservers of resolv_conf; "off" forwards nothing but what forward says, and
refuses the rest.`,
		to:       func(c *config) any { return &c.Upstream },
		check:    checkUpstream,
		together: checkUpstreams,
		alone:    off,
	},
	{
		path: "resolv_conf", arg: "FILE", def: "/etc/resolv.conf",
		help: "without --upstream, forward to the nameservers in this file, as it changes",
		why: `The file whose nameservers are asked if there is no upstream. It is followed as
it changes, and those that are ourselves are left out. Where this machine's own
resolv.conf names us alone, write those to ask to another file, or have the DHCP
client do so.`,
		to:    func(c *config) any { return &c.ResolvConf },
		check: notEmpty,
	},
	{
		path: "forward", arg: "SUFFIX=HOST[:PORT]", eg: `["corp.example=10.0.0.53", "corp.example=10.0.1.53"]`,
		help: "forward SUFFIX and what is below it to this server instead; may be repeated",
		why: `Who else is asked for a name and all below it. The longest suffix wins; one that
is listed several times has several upstreams. Names that are otherwise kept here
(10.in-addr.arpa, home.arpa, test and the like) are forwarded if they are named.`,
		to:       func(c *config) any { return &c.Forward },
		check:    checkForward,
		together: checkForwards,
	},
	{
		path: "allow", arg: "PREFIX", eg: `["10.0.0.0/8", "fdaa::/16"]`,
		help: "forward for clients in PREFIX only; may be repeated (default: loopback, link-local, private and unique local addresses)",
		why: `Which clients names are forwarded for; others are refused, or anyone could use
this server to attack others. If nothing is listed, it is those in 127.0.0.0/8,
::1/128, 169.254.0.0/16, fe80::/10, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 and
fc00::/7, which all of 6PN is in. Names of our own are answered by network, not by
this.`,
		to:    func(c *config) any { return &c.Allow },
		check: checkAllow,
	},
	{
		path: "cache_size", arg: "OCTETS", def: "67108864",
		min: 1 << 20, max: 1<<31 - 1,
		help: "octets of memory for forwarded answers",
		why: `How much memory forwarded answers may take, in octets. A name takes some 250, so
64 MiB hold a quarter of a million. What is asked for often stays.`,
		to: func(c *config) any { return &c.CacheSize },
	},
	{
		path: "stale_after", arg: "DURATION", def: "300ms",
		min: int64(time.Millisecond), max: int64(10 * time.Second), whole: time.Millisecond,
		help: "how long a client waits before it gets an answer that is out of date, if there is one",
		why: `How long a client waits for upstreams before it gets an answer that is out of
date, if there is one. Longer, and some clients have asked again by then; shorter,
and answers are out of date that need not be.`,
		to: func(c *config) any { return &c.StaleAfter },
	},
	{
		path: "stale_age", arg: "DURATION", def: "24h",
		min: 0, max: int64(7 * 24 * time.Hour), whole: time.Second,
		help: "how long an answer may be out of date; 0s for not at all",
		why: `How long after its time an answer is given while upstreams fail. Most names are
still where they were a day ago; 0s has clients see every outage.`,
		to: func(c *config) any { return &c.StaleAge },
	},
	{
		path: "max_in_flight", arg: "QUERIES", def: "10000",
		min: 1, max: 1_000_000,
		help: "queries that may wait for upstreams at one time",
		why: `How many queries may wait for upstreams at one time; those beyond are refused.
Each takes a socket and some 15 kB, and sockets never more than half of the files
that the process may have open (ulimit -n).`,
		to: func(c *config) any { return &c.MaxInFlight },
	},
	{
		path: "max_per_source", arg: "QUERIES", def: "2000",
		min: 1, max: 1_000_000,
		help: "queries of one client that may wait for upstreams at one time",
		why: `How many of them may be one client's, by its address, so that one that asks for
what nobody answers does not take the place of all others.`,
		to: func(c *config) any { return &c.MaxPerSource },
	},
}
