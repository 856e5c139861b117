//go:build linux

package peers

import (
	"context"
	"path/filepath"
)

// All forwarders have one thread for queries, one upstream, no list of clients,
// no log of queries, and do not validate: what is compared is a cache and the way
// past it. Each cache has room for some 250,000 names, which is internaldns'
// default; the templates say in what unit.

var unbound = Peer{
	Name:     "unbound",
	Get:      "apt-get install unbound",
	Forwards: true,
	Version:  func(ctx context.Context) (string, error) { return ask(ctx, "Version", "unbound", "-V") },
	Command: func(s *Site) ([]string, error) {
		return command("unbound", []string{"-d", "-c", filepath.Join(s.Dir, "unbound.conf")}, s, "unbound.conf")
	},
}

var dnsdist = Peer{
	Name:     "dnsdist",
	Get:      "apt-get install dnsdist",
	Forwards: true,
	Version:  func(ctx context.Context) (string, error) { return ask(ctx, "dnsdist", "dnsdist", "--version") },
	Command: func(s *Site) ([]string, error) {
		return command("dnsdist", []string{"--supervised", "--disable-syslog", "-C", filepath.Join(s.Dir, "dnsdist.conf")}, s, "dnsdist.conf")
	},
}

var dnsmasq = Peer{
	Name:     "dnsmasq",
	Get:      "apt-get install dnsmasq-base",
	Forwards: true,
	Version:  func(ctx context.Context) (string, error) { return ask(ctx, "version", "dnsmasq", "--version") },
	Command: func(s *Site) ([]string, error) {
		return command("dnsmasq", []string{"--keep-in-foreground", "--conf-file=" + filepath.Join(s.Dir, "dnsmasq.conf")}, s, "dnsmasq.conf")
	},
}
