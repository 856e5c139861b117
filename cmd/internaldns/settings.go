package main

import (
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// A setting is one thing that users can set. Its flag, its environment
// variable, its key in the config file, its help text, its bounds and its entry
// in the sample file all come from here.
//
// To add one:
//
//  1. Give config a field, with its unit in the type.
//  2. Describe it in settings. Write help as the flag's one line, and why as
//     what an operator asks who wonders whether to change it.
//  3. Hand its path to addFlags in the commands that take it.
//  4. Run go test ./cmd/internaldns -update, and read the change in
//     sample/internaldns.yaml.
//  5. Add a file to testdata/bad-config that gets it wrong.
type setting struct {
	path string // key in the config file
	arg  string // what the help calls its value
	def  string // default, as one writes it; "" if there is none
	eg   string // without a default, an example, as the config file has it
	help string
	why  string

	// to returns where its value belongs: a *string, *[]string, *int or
	// *time.Duration.
	to func(*config) any
	// min and max bound a number, inclusive. For durations they count
	// nanoseconds.
	min, max int64
	// check says what is wrong with a text, or with one item of a list; together
	// says what is wrong with items that are each right. Both may be nil.
	check    func(string) error
	together func([]string) error
	// outside is set for what has no place in the config file.
	outside bool
}

// config is what can be set.
type config struct {
	Config     string        // file with more settings; "" for none
	Registry   string        // registry file; "" for the sample
	Listen     []string      // HOST:PORT of each; empty for the default
	Network    string        // prefix of the network of local clients; "" for none
	Clients    []string      // PREFIX=NETWORK[,REGION] of each
	Region     string        // code of the server's own region; "" for none
	TTL        time.Duration // whole seconds
	MaxUDPSize int           // octets
	Admin      string        // HOST:PORT, or "off"
	LogLevel   string
}

var settings = []setting{
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
		why: `The registry file, JSON or YAML. It is watched: when it changes, the difference
is applied, unless the new file has a fault; then the facts stay as they were.`,
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
		min: 0, max: int64(24 * time.Hour),
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
	{
		path: "admin", arg: "HOST:PORT", def: "127.0.0.1:9153",
		help: `serve /healthz, /readyz and /metrics over HTTP here, or nowhere if "off"`,
		why: `Where /healthz, /readyz and /metrics are served over HTTP. There is no
password: whoever reaches it can read all three. "off" turns it off.`,
		to:    func(c *config) any { return &c.Admin },
		check: checkAdmin,
	},
	{
		path: "log_level", arg: "LEVEL", def: "info",
		help:  "least serious of the messages that are logged: debug, info, warn or error",
		why:   "The least serious of the messages that are logged: debug, info, warn or error.\nQueries are never logged.",
		to:    func(c *config) any { return &c.LogLevel },
		check: checkLogLevel,
	},
}

// flag returns the name of the setting's flag, without hyphens before it.
func (s *setting) flag() string { return strings.ReplaceAll(s.path, "_", "-") }

// env returns the name of the setting's environment variable.
func (s *setting) env() string { return envPrefix + strings.ToUpper(s.path) }

// envPrefix begins the names of our environment variables.
const envPrefix = "INTERNALDNS_"

// findSetting returns the setting of that path, or nil.
func findSetting(path string) *setting {
	for i := range settings {
		if settings[i].path == path {
			return &settings[i]
		}
	}
	return nil
}

// addFlags adds the flags of the settings with the given paths. Flags hold text
// as it was given: load parses it, so that all faults are found at once.
func addFlags(flags *pflag.FlagSet, paths ...string) {
	for _, path := range paths {
		s := findSetting(path)
		usage := s.help
		if s.def != "" {
			usage += " (default " + s.def + ")"
		}
		switch s.to(new(config)).(type) {
		case *[]string:
			flags.VarP(&given{many: true, arg: s.arg}, s.flag(), "", usage)
		default:
			flags.VarP(&given{arg: s.arg}, s.flag(), "", usage)
		}
	}
}

// given is the value of a flag: the texts it was given, in order.
type given struct {
	many  bool // all count; otherwise the last
	arg   string
	texts []string
}

// String, Set and Type implement pflag.Value.
func (g *given) String() string { return strings.Join(g.texts, " ") }

// Set takes one more text.
func (g *given) Set(text string) error {
	if !g.many {
		g.texts = nil
	}
	g.texts = append(g.texts, text)
	return nil
}

// Type returns what the help calls the value.
func (g *given) Type() string { return g.arg }

// value returns the flag's value as a config file would have it.
func (g *given) value() any {
	if g.many {
		return g.texts
	}
	return g.texts[0]
}
