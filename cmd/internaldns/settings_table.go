package main

import (
	"time"
)

// answerSettings are about the names that this server answers itself: their source,
// the clients, and the answers.
var answerSettings = []setting{
	{
		path: "config", arg: "FILE", outside: true,
		help:  "read settings from this YAML file; flags and environment override it",
		why:   "Keys are the names of flags, with underscores.",
		value: func(c *config) value { return text{&c.Config, notEmpty} },
	},
	{
		path: "registry", arg: "FILE", eg: "org.json",
		help: "the registry: a JSON or YAML file of apps and machines (default: a built-in sample)",
		why: `The registry file, JSON or YAML. It is followed: within 2 s of a change, the
difference is applied, unless the new file has a fault; then the facts stay as
they were.`,
		value: func(c *config) value { return text{&c.Registry, notEmpty} },
	},
	{
		path: "listen", arg: "HOST:PORT", eg: `["[::]:53"]`,
		help: "answer queries here, over UDP and TCP; may be repeated (default: [::]:53 with a registry, else [::1]:5300 and 127.0.0.1:5300)",
		why: `Where queries are answered, over UDP and TCP. [::]:53 is every address of the
machine, IPv4 too. An address that no interface has yet is no fault: queries are
answered once it arrives. Ports below 1024 need a privilege.`,
		value: func(c *config) value { return list{to: &c.Listen, check: checkHostPort} },
	},
	{
		path: "network", arg: "PREFIX", eg: "fdaa:0:18::/48",
		help: "place local clients (loopback, link-local, private addresses) in this network",
		why: `The network of clients without a 6PN address, which would say it: those in
127.0.0.0/8, ::1/128, 169.254.0.0/16, fe80::/10, 10.0.0.0/8, 172.16.0.0/12,
192.168.0.0/16 and fc00::/7. Anything else needs an entry of client. If neither is
set and the registry has exactly one network, loopback is placed in it.`,
		value: func(c *config) value { return text{&c.Network, checkNetwork} },
	},
	{
		path: "client", arg: "PREFIX=NETWORK[,REGION]", eg: `["172.17.0.0/16=fdaa:0:18::/48,ams"]`,
		help: "place clients from PREFIX in NETWORK, and in REGION; may be repeated",
		why: `The network, and the region, of clients without a 6PN address. The longest prefix
wins, and an entry here overrides network.`,
		value: func(c *config) value { return list{to: &c.Clients, check: checkClient, together: checkClients} },
	},
	{
		path: "region", arg: "CODE", eg: "ams",
		help: "the server's own region, for clients whose region is not known",
		why: `The region from which "nearest" is counted for clients whose own region is not
known: they are neither a machine nor a peer (a host connected to the network by
WireGuard), and no entry of client names it.`,
		value: func(c *config) value { return text{&c.Region, checkRegion} },
	},
	{
		path: "ttl", arg: "DURATION", def: "5s",
		help: "how long clients may keep an answer, in whole seconds",
		why: `How long clients may keep an answer. A machine can stop at any moment and its
address may soon be another machine's; a longer TTL trades load for stale
addresses, second for second.`,
		value: func(c *config) value { return duration{&c.TTL, 0, 24 * time.Hour, time.Second} },
	},
	{
		path: "max_udp_size", arg: "OCTETS", def: "8192",
		help: "largest response over UDP, for clients that accept as much",
		why: `The largest response over UDP, in octets, for clients that accept as much. What
is larger is truncated, and the client asks again over TCP. Above 1232 responses
may be cut into fragments on the way, which some networks lose; 65507 is the most
that a datagram over IPv4 can hold.`,
		value: func(c *config) value { return number{&c.MaxUDPSize, 512, 65507} },
	},
}

// keepSettings are about a registry that changes while the server runs: where it is
// stored, and which clients may change it.
var keepSettings = []setting{
	{
		path: "data", arg: "DIR", eg: "/var/lib/internaldns",
		help: "store the registry in this directory, and let --api change it",
		why: `The directory in which the registry is stored, made if it does not exist. What
the API has acknowledged is on disk, and survives a crash.`,
		value: func(c *config) value { return text{&c.Data, notEmpty} },
	},
	{
		path: "etcd", arg: "URL", eg: `["http://10.0.0.1:2379", "http://10.0.0.2:2379"]`,
		help: "store the registry in etcd, for any number of servers; may be repeated, once for each member",
		why: `The members of an etcd cluster that holds the registry. Every server has all of
it in memory, sees every change within a second, and goes on answering while
etcd cannot be reached.`,
		value: func(c *config) value { return list{to: &c.Etcd, check: checkEtcd} },
	},
	{
		path: "etcd_prefix", arg: "KEY", def: "/internaldns",
		help:  "what the registry's keys in etcd begin with",
		why:   "What the registry's keys in etcd begin with. Registries of different prefixes\nare independent of each other.",
		value: func(c *config) value { return text{&c.EtcdPrefix, checkEtcdPrefix} },
	},
	{
		path: "etcd_ca", arg: "FILE", eg: "/etc/internaldns/etcd-ca.pem",
		help:  "authorities to trust for etcd, a file of PEM certificates (default: those of the system)",
		why:   "The authorities, as PEM certificates, that may sign for etcd. Without it they\nare those that the system trusts.",
		value: func(c *config) value { return text{&c.EtcdCA, notEmpty} },
	},
	{
		path: "etcd_cert", arg: "FILE", eg: "/etc/internaldns/etcd.pem",
		help: "client certificate for etcd, with --etcd-key",
		why: `The certificate, as PEM, by which etcd identifies this server. It is read again
when it changes, and used for new connections.`,
		value: func(c *config) value { return text{&c.EtcdCert, notEmpty} },
	},
	{
		path: "etcd_key", arg: "FILE", eg: "/etc/internaldns/etcd-key.pem",
		help:  "key of --etcd-cert",
		why:   "The key of etcd_cert.",
		value: func(c *config) value { return text{&c.EtcdKey, notEmpty} },
	},
	{
		path: "etcd_user", arg: "NAME", eg: "internaldns",
		help:  "user of etcd, with --etcd-password-file",
		why:   "The etcd user that may read and write below etcd_prefix, if etcd requires one.",
		value: func(c *config) value { return text{&c.EtcdUser, notEmpty} },
	},
	{
		path: "etcd_password_file", arg: "FILE", eg: "/etc/internaldns/etcd-password",
		help:  "file with the password of --etcd-user",
		why:   "A file that holds the password of etcd_user, and nothing else. A line break at\nits end is ignored.",
		value: func(c *config) value { return text{&c.EtcdPasswordFile, notEmpty} },
	},
	{
		path: "seed", eg: "true",
		help: "import --registry once, into a --data or --etcd that is empty",
		why: `Whether a registry file is imported into data or etcd while nothing is stored
there. Later the file is ignored.`,
		value: func(c *config) value { return toggle{&c.Seed} },
	},
	{
		path: "api", arg: "HOST:PORT", def: off,
		help: `serve the control API here, at unix:PATH, or nowhere if "off"`,
		why: `Where the control API is served, over HTTP: HOST:PORT or unix:PATH. Clients made
for Fly.io look at _api.internal:4280. "off" turns it off.`,
		value: func(c *config) value { return text{&c.API, checkAPI} },
	},
	{
		path: "api_tokens", arg: "FILE", eg: "/etc/internaldns/tokens",
		help: "clients that may use the API: a file of tokens, as internaldns token makes them",
		why: `The tokens that clients of the API must show, and what each is for: a file of
lines that internaldns token prints. It is read again when it changes.`,
		value: func(c *config) value { return text{&c.APITokens, notEmpty} },
	},
	{
		path: "api_local", eg: "true",
		help: "let clients on loopback or a Unix socket use the API without a token",
		why: `Whether clients on loopback or a Unix socket may do everything without a token.
On a host with several users, all of them may.`,
		value: func(c *config) value { return toggle{&c.APILocal} },
	},
	{
		path: "api_cert", arg: "FILE", eg: "/etc/internaldns/api.pem",
		help: "serve the API over TLS with this certificate, and --api-key",
		why: `The certificate, as PEM, with which the API is served over TLS. It is read again
with its key when they change, and on SIGHUP; while they have a fault, the last
good ones stay.`,
		value: func(c *config) value { return text{&c.APICert, notEmpty} },
	},
	{
		path: "api_key", arg: "FILE", eg: "/etc/internaldns/api-key.pem",
		help:  "key of --api-cert",
		why:   "The key of api_cert.",
		value: func(c *config) value { return text{&c.APIKey, notEmpty} },
	},
}

// forwardSettings are about the names that other servers answer.
var forwardSettings = []setting{
	{
		path: "upstream", arg: "HOST[:PORT]", eg: `["9.9.9.9", "tls://1.1.1.1#one.one.one.one"]`,
		help: `forward other names to this server; may be repeated, or "off" (default: the nameservers of --resolv-conf)`,
		why: `The servers for all other names: HOST[:PORT], or tls://HOST[:PORT]#NAME over TLS,
where the server must prove to be NAME. Several are asked in this order; the next
when one fails or does not answer soon. Names under internal, flycast,
fly-local-6pn and the 6PN reverse zone are never forwarded. Without upstreams it is
the nameservers of resolv_conf; "off" forwards nothing but what forward says, and
refuses the rest.`,
		value: func(c *config) value {
			return list{to: &c.Upstream, check: checkUpstream, together: checkUpstreams, alone: off}
		},
	},
	{
		path: "resolv_conf", arg: "FILE", def: "/etc/resolv.conf",
		help: "without --upstream, forward to the nameservers in this file, as it changes",
		why: `The file whose nameservers are asked if there is no upstream. It is followed as
it changes, and this server's own addresses are left out. If this machine's
resolv.conf names this server only, write the others to another file, or let the
DHCP client do so.`,
		value: func(c *config) value { return text{&c.ResolvConf, notEmpty} },
	},
	{
		path: "forward", arg: "SUFFIX=HOST[:PORT]", eg: `["corp.example=10.0.0.53", "corp.example=10.0.1.53"]`,
		help: "forward SUFFIX and what is below it to this server instead; may be repeated",
		why: `Other servers for a name and all below it. The longest suffix wins; one that is
listed several times has several upstreams. Names that are otherwise answered here
(10.in-addr.arpa, home.arpa, test and the like) are forwarded if listed.`,
		value: func(c *config) value { return list{to: &c.Forward, check: checkForward, together: checkForwards} },
	},
	{
		path: "allow", arg: "PREFIX", eg: `["10.0.0.0/8", "fdaa::/16"]`,
		help: "forward for clients in PREFIX only; may be repeated (default: loopback, link-local, private and unique local addresses)",
		why: `Which clients names are forwarded for; others are refused, or anyone could use
this server to attack others. If nothing is listed, it is those in 127.0.0.0/8,
::1/128, 169.254.0.0/16, fe80::/10, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 and
fc00::/7, which includes all of 6PN. For names under internal, a client's network
decides, not this.`,
		value: func(c *config) value { return list{to: &c.Allow, check: checkAllow} },
	},
	{
		path: "cache_size", arg: "OCTETS", def: "67108864",
		help: "octets of memory for forwarded answers",
		why: `How much memory forwarded answers may take, in octets. A name takes some 250, so
64 MiB hold a quarter of a million. Names that are asked for often stay.`,
		value: func(c *config) value { return number{&c.CacheSize, 1 << 20, 1<<31 - 1} },
	},
	{
		path: "stale_after", arg: "DURATION", def: "300ms",
		help: "how long a client waits before it gets an answer that is out of date, if there is one",
		why: `How long a client waits for upstreams before it gets an answer that is out of
date, if there is one. If it is too long, some clients have asked again; if it is
too short, more answers are out of date than need be.`,
		value: func(c *config) value {
			return duration{&c.StaleAfter, time.Millisecond, 10 * time.Second, time.Millisecond}
		},
	},
	{
		path: "stale_age", arg: "DURATION", def: "24h",
		help: "how long an answer may be out of date; 0s for not at all",
		why: `How long after it expired an answer is given while upstreams fail. Most names are
still where they were a day ago; with 0s, clients see every outage.`,
		value: func(c *config) value { return duration{&c.StaleAge, 0, 7 * 24 * time.Hour, time.Second} },
	},
	{
		path: "max_in_flight", arg: "QUERIES", def: "10000",
		help: "queries that may wait for upstreams at one time",
		why: `How many queries may wait for upstreams at one time; those beyond are refused.
Each takes a socket and some 3 kB, and sockets never more than half of the files
that the process may have open (ulimit -n).`,
		value: func(c *config) value { return number{&c.MaxInFlight, 1, 1_000_000} },
	},
	{
		path: "max_per_source", arg: "QUERIES", def: "2000",
		help: "queries of one client that may wait for upstreams at one time",
		why: `How many of them may be one client's, by its address, so that a client whose
queries are not answered does not take the place of all others.`,
		value: func(c *config) value { return number{&c.MaxPerSource, 1, 1_000_000} },
	},
}

// operatorSettings are about monitoring.
var operatorSettings = []setting{
	{
		path: "admin", arg: "HOST:PORT", def: "127.0.0.1:9153",
		help: `serve /healthz, /readyz, /metrics, /status and /flush over HTTP here, or nowhere if "off"`,
		why: `Where /healthz, /readyz, /metrics, /status and /flush are served over HTTP. There
is no password: every client that reaches it can read all of them and flush the
cache.
"off" turns it off.`,
		value: func(c *config) value { return text{&c.Admin, checkAdmin} },
	},
	{
		path: "log_level", arg: "LEVEL", def: "info",
		help:  "least serious of the messages that are logged: debug, info, warn or error",
		why:   "The least serious of the messages that are logged: debug, info, warn or error.\nQueries are never logged.",
		value: func(c *config) value { return text{&c.LogLevel, checkLogLevel} },
	},
}
