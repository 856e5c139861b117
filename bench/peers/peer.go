//go:build linux

package peers

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// To add a server: write its configuration into templates/ and its entry into
// installed, and extend the golden files of TestConfigurations (go test
// ./bench/peers -update).

// A peer is one server: how to recognise, configure and start it.
type peer struct {
	name string
	get  string // how to install it
	// version returns what the installed server prints as its version. It fails if
	// there is none.
	version func(context.Context) (string, error)
	// command writes the configuration into site.Dir and returns the command that
	// runs the server in the foreground.
	command func(*site) ([]string, error)

	echo     bool // returns queries and answers none
	admin    bool // serves Prometheus metrics
	registry bool // reads the registry file, not the master file
	forwards bool // forwards to the site's upstream
}

// A site is what a server is given to serve.
type site struct {
	Dir      string         // for the server's files
	Listen   netip.AddrPort // UDP and TCP
	Admin    netip.AddrPort // HTTP, for servers that have it
	Registry string         // registry file
	Master   string         // master file of the same names
	Network  netip.Prefix   // the network of clients on loopback
	Upstream netip.AddrPort // what forwarders forward to
}

// Names of servers that others refer to.
const (
	nameEcho     = "echo"
	nameSized    = "echo-300"
	nameOurs     = "internaldns"
	nameWildcard = "internaldns-any"
	nameMetrics  = "internaldns-admin"
	nameForward  = "internaldns-forward"
	nameMap      = "miekg-map"
	nameKnot     = "knot"
	nameCoreDNS  = "coredns"
)

// sizedOctets is about the mean size of a response to the queries: an address
// record has 28 octets, and an app eight or nine of them.
const sizedOctets = 300

const getCoreDNS = "go install github.com/coredns/coredns@" + coreDNSVersion + ", or --install-coredns"

// A program is a server of another project.
type program struct {
	name, get    string // of the peer
	file         string
	version      string // the argument that prints the version
	word         string // begins the version in the output
	args, config string // separated by spaces
	forwards     bool
}

// installed are the servers of other projects. In their arguments, $DIR is the
// directory of the server.
//
// All forwarders have one thread for queries, one upstream, no list of clients, no
// log of queries, and do not validate: the cache and the way past it are compared.
// Each cache has room for some 250,000 names, the default of internaldns; the
// templates say in which unit.
var installed = []program{
	{nameKnot, "apt-get install knot", "knotd", "--version", "knotd", "-c $DIR/knot.conf", "knot.conf", false},
	{"nsd", "apt-get install nsd", "nsd", "-v", "NSD", "-d -c $DIR/nsd.conf", "nsd.conf", false},
	{"powerdns", "apt-get install pdns-server pdns-backend-bind", "pdns_server", "--version", "PowerDNS", "--config-dir=$DIR", "pdns.conf zones.conf", false},
	{"bind", "apt-get install bind9", "named", "-v", "BIND", "-g -n 1 -c $DIR/named.conf", "named.conf", false},
	{nameCoreDNS, getCoreDNS, "coredns", "-version", "CoreDNS", "-conf $DIR/Corefile", "Corefile", false},
	{"unbound", "apt-get install unbound", "unbound", "-V", "Version", "-d -c $DIR/unbound.conf", "unbound.conf", true},
	{"dnsdist", "apt-get install dnsdist", "dnsdist", "--version", "dnsdist", "--supervised --disable-syslog -C $DIR/dnsdist.conf", "dnsdist.conf", true},
	{"dnsmasq", "apt-get install dnsmasq-base", "dnsmasq", "--version", "Dnsmasq", "--keep-in-foreground --conf-file=$DIR/dnsmasq.conf", "dnsmasq.conf", true},
	{"coredns-forward", getCoreDNS, "coredns", "-version", "CoreDNS", "-conf $DIR/Corefile.forward", "Corefile.forward", true},
}

// forwarders returns the names of the servers that forward.
func forwarders() []string {
	all := []string{nameForward}
	for _, s := range installed {
		if s.forwards {
			all = append(all, s.name)
		}
	}
	return all
}

// authoritative returns the names of the echo and of the servers that answer local
// names, each in one way.
func authoritative() []string {
	all := []string{nameEcho, nameOurs}
	for _, s := range installed {
		if !s.forwards {
			all = append(all, s.name)
		}
	}
	return append(all, nameMap)
}

// names returns the names of all servers, in the order in which they are shown.
func names() []string {
	return append(append(authoritative(), nameSized, nameWildcard, nameMetrics), forwarders()...)
}

// peer returns the server of that name, or NAME=FILE.
func (r *run) peer(name string) peer {
	base, file, _ := strings.Cut(name, "=")
	switch base {
	case nameEcho:
		return r.echoPeer(name, 0)
	case nameSized:
		return r.echoPeer(name, sizedOctets)
	case nameMap:
		return r.mapPeer()
	}
	for _, s := range installed {
		if s.name == base {
			return r.installedPeer(s)
		}
	}
	return r.ours(name, base, file)
}

// ours returns internaldns: on one address and without its admin listener, as the
// others are; on all addresses; with metrics; or as a forwarder. file is the
// program, or "" for that of the plan.
func (r *run) ours(name, variant, file string) peer {
	p := peer{name: name, get: "go build ./cmd/internaldns", admin: variant == nameMetrics, registry: true, forwards: variant == nameForward}
	program := func() (string, error) {
		if file != "" {
			return filepath.Abs(file)
		}
		if r.internaldns == "" {
			return "", errors.Join(errors.New("internaldns is not built"), r.internaldnsErr)
		}
		return r.internaldns, nil
	}
	p.version = func(ctx context.Context) (string, error) {
		path, err := program()
		if err != nil {
			return "", err
		}
		return printed(ctx, "internaldns", path, "version")
	}
	p.command = func(s *site) ([]string, error) {
		path, err := program()
		listen, admin := s.Listen.String(), "off"
		if variant == nameWildcard {
			listen = "[::]:" + strconv.Itoa(int(s.Listen.Port()))
		}
		if p.admin {
			admin = s.Admin.String()
		}
		client := "=" + s.Network.String() + ",ams"
		argv := []string{
			path, "serve", "--registry", s.Registry, "--listen", listen,
			"--client", "127.0.0.0/8" + client, "--client", "::1/128" + client, "--admin", admin,
		}
		if p.forwards {
			argv = append(argv, "--upstream", s.Upstream.String())
		}
		return argv, err
	}
	return p
}

// echoPeer returns the echo, whose responses have at least that many octets.
func (r *run) echoPeer(name string, least int) peer {
	octets := strconv.Itoa(least)
	return peer{
		name: name, echo: true, get: "part of this program",
		version: func(context.Context) (string, error) {
			if r.echo != "" {
				return "recvmmsg and sendmmsg by 32, C", nil
			}
			return "recvmmsg and sendmmsg by 32, Go (no C compiler here)", nil
		},
		command: func(s *site) ([]string, error) {
			if r.echo != "" {
				return []string{r.echo, s.Listen.Addr().String(), strconv.Itoa(int(s.Listen.Port())), octets}, nil
			}
			return []string{r.self, "serve-echo", s.Listen.String(), octets}, nil
		},
	}
}

// mapPeer returns the server that one writes in an afternoon.
func (r *run) mapPeer() peer {
	return peer{
		name: nameMap, get: "part of this program",
		version: func(context.Context) (string, error) {
			version := ""
			if info, ok := debug.ReadBuildInfo(); ok {
				if i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == "github.com/miekg/dns" }); i >= 0 {
					version = info.Deps[i].Version
				}
			}
			return "miekg/dns " + version + ", a map of names, " + runtime.Version(), nil
		},
		command: func(s *site) ([]string, error) {
			return []string{r.self, "serve-map", s.Listen.String(), s.Master}, nil
		},
	}
}

// installedPeer returns a server of another project.
func (r *run) installedPeer(g program) peer {
	if strings.HasPrefix(g.name, nameCoreDNS) && r.coredns != "" {
		g.file = r.coredns
	}
	return peer{
		name: g.name, get: g.get, forwards: g.forwards,
		version: func(ctx context.Context) (string, error) { return printed(ctx, g.word, g.file, g.version) },
		command: func(s *site) ([]string, error) {
			path, err := find(g.file)
			argv := []string{path}
			for _, arg := range strings.Fields(g.args) {
				argv = append(argv, strings.ReplaceAll(arg, "$DIR", s.Dir))
			}
			for _, name := range strings.Fields(g.config) {
				err = errors.Join(err, configure(s, name))
			}
			return argv, err
		},
	}
}

// printed returns the rest of a line that a program prints, from the word on.
// Servers print their version with an exit status that says failure, so that the
// status is ignored.
func printed(ctx context.Context, word, program string, args ...string) (string, error) {
	path, err := find(program)
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if at := strings.Index(line, word); at >= 0 {
			line, _, _ = strings.Cut(line[at:], " (C)")
			return strings.TrimSpace(line), nil
		}
	}
	return "", errors.Join(fmt.Errorf("%s does not print its version", program), err)
}

// find returns the path of a program. Servers are often in directories that only
// root has in PATH.
func find(name string) (string, error) {
	if filepath.Base(name) != name {
		name, err := filepath.Abs(name) // servers run in directories of their own
		if err == nil {
			_, err = exec.LookPath(name)
		}
		return name, err
	}
	for _, dir := range []string{"", "/usr/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed", name)
}

//go:embed templates
var templates embed.FS

// configure writes a template, filled in from the site, into its directory.
func configure(s *site, name string) error {
	t, err := template.ParseFS(templates, "templates/"+name+".tmpl")
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, s); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.Dir, name), b.Bytes(), 0o644)
}
