//go:build linux

package peers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

var knot = Peer{
	Name:    nameKnot,
	Get:     "apt-get install knot",
	Version: func(ctx context.Context) (string, error) { return ask(ctx, "Knot", "knotd", "--version") },
	Command: func(s *Site) ([]string, error) {
		return command("knotd", []string{"-c", filepath.Join(s.Dir, "knot.conf")}, s, "knot.conf")
	},
}

var nsd = Peer{
	Name:    "nsd",
	Get:     "apt-get install nsd",
	Version: func(ctx context.Context) (string, error) { return ask(ctx, "NSD", "nsd", "-v") },
	Command: func(s *Site) ([]string, error) {
		return command("nsd", []string{"-d", "-c", filepath.Join(s.Dir, "nsd.conf")}, s, "nsd.conf")
	},
}

var bind = Peer{
	Name:    "bind",
	Get:     "apt-get install bind9",
	Version: func(ctx context.Context) (string, error) { return ask(ctx, "BIND", "named", "-v") },
	Command: func(s *Site) ([]string, error) {
		return command("named", []string{"-g", "-n", "1", "-c", filepath.Join(s.Dir, "named.conf")}, s, "named.conf")
	},
}

var powerdns = Peer{
	Name: "powerdns",
	Get:  "apt-get install pdns-server pdns-backend-bind",
	Version: func(ctx context.Context) (string, error) {
		line, err := ask(ctx, "PowerDNS", "pdns_server", "--version")
		if i := strings.Index(line, "PowerDNS"); i >= 0 {
			line, _, _ = strings.Cut(line[i:], " (C)") // the time stands in front
		}
		return line, err
	},
	Command: func(s *Site) ([]string, error) {
		return command("pdns_server", []string{"--config-dir=" + s.Dir}, s, "pdns.conf", "zones.conf")
	},
}

// CoreDNSVersion is what the command installs, if asked to.
const CoreDNSVersion = "v1.15.0"

func coredns(t Tools) Peer { return corednsWith(t, nameCoreDNS, "Corefile") }

func corednsForward(t Tools) Peer {
	p := corednsWith(t, nameCoreDNS+"-forward", "Corefile.forward")
	p.Forwards = true
	return p
}

func corednsWith(t Tools, name, config string) Peer {
	program := t.CoreDNS
	if program == "" {
		program = "coredns"
	}
	return Peer{
		Name: name,
		Get:  "go install github.com/coredns/coredns@" + CoreDNSVersion + ", or --install-coredns",
		Version: func(ctx context.Context) (string, error) {
			return ask(ctx, "CoreDNS", program, "-version")
		},
		Command: func(s *Site) ([]string, error) {
			return command(program, []string{"-conf", filepath.Join(s.Dir, config)}, s, config)
		},
	}
}

// command finds the program, writes its configuration and returns the whole command.
func command(program string, args []string, s *Site, config ...string) ([]string, error) {
	path, err := find(program)
	if err != nil {
		return nil, err
	}
	if err := configure(s, config...); err != nil {
		return nil, fmt.Errorf("configure %s: %w", program, err)
	}
	return append([]string{path}, args...), nil
}

// exists reports whether there is a program at that path.
func exists(path string) bool {
	info, err := os.Stat(path)
	return path != "" && err == nil && !info.IsDir()
}
