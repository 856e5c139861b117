package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// A setting is one value that users can set. Its flag, its environment variable, its key in the
// config file, its help text, its bounds and its entry in the sample file are all made from
// it.
//
// To add one:
//
//  1. Give config a field, with its unit in the type.
//  2. Describe it in settings_table.go, at its subject. Write help as the flag's
//     one line, and why as the reasons for an operator to change it or not.
//  3. Pass its path to addFlags in the commands that have it; serve has all.
//  4. Run go test ./cmd/internaldns -update, and read the change in
//     sample/internaldns.yaml.
//  5. Add a file to testdata/bad-config that gets it wrong.
type setting struct {
	path string // key in the config file
	arg  string // the word for its value in the help
	def  string // default, as a flag has it; "" if there is none
	eg   string // without a default, an example, as the config file has it
	help string
	why  string

	// value returns a value that checks a text and stores it in the config.
	value func(*config) value
	// outside reports that the config file cannot set it.
	outside bool
}

// A config holds the settings.
type config struct {
	Config     string        // file with more settings; "" for none
	Registry   string        // registry file; "" for the sample
	Listen     []string      // HOST:PORT of each; empty for the default
	Network    string        // prefix of the network of local clients; "" for none
	Clients    []string      // PREFIX=NETWORK[,REGION] of each
	Region     string        // code of the server's own region; "" for none
	TTL        time.Duration // whole seconds
	MaxUDPSize int           // octets

	Data             string   // directory; "" for none
	Etcd             []string // URL of each member; empty for none
	EtcdPrefix       string
	EtcdCA           string // file; "" for the certificates that the system trusts
	EtcdCert         string // file, and so is EtcdKey; "" for none
	EtcdKey          string
	EtcdUser         string // "" for none
	EtcdPasswordFile string
	Seed             bool
	API              string // HOST:PORT, unix:PATH or "off"
	APITokens        string // file; "" for none
	APILocal         bool
	APICert          string // file, and so is APIKey; "" for no TLS
	APIKey           string

	Upstream     []string // as forward.ParseUpstream reads each, or "off"; empty for those of ResolvConf
	ResolvConf   string   // file
	Forward      []string // as forward.ParseForward reads each
	Allow        []string // PREFIX of each; empty for the default
	CacheSize    int      // octets
	StaleAfter   time.Duration
	StaleAge     time.Duration // 0: never
	MaxInFlight  int
	MaxPerSource int

	Admin    string // HOST:PORT, or "off"
	LogLevel string
}

// subjects group the settings under headings in the help of serve.
var subjects = []struct {
	heading  string
	settings []setting
}{
	{"Answers, and the clients that get them", answerSettings},
	{"A registry that the API changes", keepSettings},
	{"Forwarded names", forwardSettings},
	{"For operators", operatorSettings},
}

// settings are all of them, in the order of the help.
var settings = slices.Concat(answerSettings, keepSettings, forwardSettings, operatorSettings)

// flag returns the name of the setting's flag, without hyphens before it.
func (s *setting) flag() string { return strings.ReplaceAll(s.path, "_", "-") }

// env returns the name of the setting's environment variable.
func (s *setting) env() string { return envPrefix + strings.ToUpper(s.path) }

// envPrefix begins the names of the environment variables.
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

// addFlags adds the flags of the settings with the given paths. Flags only hold
// text, because pflag stops at the first fault; load checks them all.
func addFlags(flags *pflag.FlagSet, paths ...string) {
	for _, path := range paths {
		s := findSetting(path)
		usage := s.help
		if s.def != "" {
			usage += " (default " + s.def + ")"
		}
		switch s.value(new(config)).(type) {
		case list:
			flags.VarP(&given{many: true, arg: s.arg}, s.flag(), "", usage)
		case toggle:
			flags.VarPF(&given{}, s.flag(), "", usage).NoOptDefVal = "true"
		default:
			flags.VarP(&given{arg: s.arg}, s.flag(), "", usage)
		}
	}
}

// A given holds the texts that a flag was given, in order.
type given struct {
	many  bool // all texts count; else only the last
	arg   string
	texts []string
}

// String, Set and Type implement pflag.Value.
func (g *given) String() string { return strings.Join(g.texts, " ") }

// Set adds a text.
func (g *given) Set(text string) error {
	if !g.many {
		g.texts = nil
	}
	g.texts = append(g.texts, text)
	return nil
}

// Type returns the word for the value in the help.
func (g *given) Type() string { return g.arg }

// value returns the flag's value in the form that the config file has.
func (g *given) value() any {
	if g.many {
		return g.texts
	}
	return g.texts[0]
}

// together returns the faults of settings that exclude or need each other, one a line.
func (c *config) together() error {
	var faults []error
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	hasEtcd := len(c.Etcd) > 0
	fault(c.Data != "" && hasEtcd, "data: the registry is stored in one place; want either --data or --etcd")
	fault(c.kept() && c.Registry != "" && !c.Seed,
		"registry: with --data or --etcd the registry is what is stored there; add --seed to import the file once, or leave --registry out")
	fault(c.Seed && !(c.kept() && c.Registry != ""), "seed: want --registry FILE, and --data or --etcd to import it into")
	if !hasEtcd {
		for _, path := range []string{"etcd_ca", "etcd_cert", "etcd_key", "etcd_user", "etcd_password_file"} {
			fault(*findSetting(path).value(c).(text).to != "", "%s: the registry is not stored in etcd; want --etcd URL, too", path)
		}
	}
	plain := func(url string) bool { return strings.HasPrefix(url, "http://") }
	fault(slices.ContainsFunc(c.Etcd, plain) && c.EtcdCA+c.EtcdCert+c.EtcdKey != "",
		"etcd: certificates are for etcd over TLS; want https in each --etcd, or no --etcd-ca, --etcd-cert and --etcd-key")
	fault((c.EtcdCert == "") != (c.EtcdKey == ""), "etcd_cert: a certificate and its key go together; want both or neither")
	fault((c.EtcdUser == "") != (c.EtcdPasswordFile == ""), "etcd_user: a user and a password go together; want both or neither")
	fault((c.APICert == "") != (c.APIKey == ""), "api_cert: a certificate and its key go together; want both or neither")
	if c.API == off {
		for _, path := range []string{"api_tokens", "api_cert", "api_key"} {
			fault(*findSetting(path).value(c).(text).to != "", "%s: the API is not served; want --api HOST:PORT, too", path)
		}
		fault(c.APILocal, "api_local: the API is not served; want --api HOST:PORT, too")
	} else {
		fault(c.API == c.Admin && !anyPort(c.API), "api: --admin is at %s, too; want two ports", c.API)
		fault(c.APITokens == "" && !c.APILocal,
			"api: no client could use it; want --api-tokens FILE, or --api-local to let in all clients on this host")
		fault(c.APITokens == "" && c.APILocal && !isLocalAPI(c.API),
			"api: %s can be reached from other hosts, whose clients need a token; want --api-tokens FILE", c.API)
	}
	return errors.Join(faults...)
}

// kept reports whether the server stores the registry, so that it can be changed.
func (c *config) kept() bool { return c.Data != "" || len(c.Etcd) > 0 }

// anyPort reports whether the system chooses the port of an address.
func anyPort(s string) bool { return strings.HasSuffix(s, ":0") }

// isLocalAPI reports whether only this host can reach an address of the API.
func isLocalAPI(s string) bool {
	if strings.HasPrefix(s, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
