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
	"slices"
	"strings"
	"text/template"
)

// To add a server: write its configuration into templates/, its Peer into
// servers.go and its name into Known, and extend the golden files of
// TestConfigurations (go test ./bench/peers -update).

// Site is what a server is given to serve.
type Site struct {
	Dir      string         // the server's own, for its files
	Listen   netip.AddrPort // UDP and TCP
	Admin    netip.AddrPort // HTTP, for servers that have it
	Registry string         // registry file
	Master   string         // master file of the same names
	Network  netip.Prefix   // the network of clients on loopback
	Upstream netip.AddrPort // what forwarders forward to
}

// Peer is one server: how to recognise, configure and start it.
type Peer struct {
	Name string
	// Get is what to do to have the server, for whoever has not.
	Get string
	// Version returns what the installed server says of itself. It fails if
	// there is none.
	Version func(context.Context) (string, error)
	// Command writes what the server needs into site.Dir and returns the
	// command that runs it in the foreground.
	Command func(site *Site) ([]string, error)

	// Echo says that it returns queries and answers none.
	Echo bool
	// Wildcard says that it listens on all addresses.
	Wildcard bool
	// Admin says that it serves Prometheus metrics.
	Admin bool
	// Registry says that it reads the registry file, not the master file.
	Registry bool
	// Forwards says that it forwards, to the site's upstream.
	Forwards bool
}

//go:embed templates
var templates embed.FS

// configure writes the named templates, filled from the site, into its directory.
func configure(site *Site, names ...string) error {
	for _, name := range names {
		t, err := template.ParseFS(templates, "templates/"+name+".tmpl")
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, site); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(site.Dir, name), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// find returns the path of a program: servers are often where only root looks.
func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed", name)
}

// ask returns the line of a program's output that has the word in it. Many
// servers print their version with an exit status that says failure.
func ask(ctx context.Context, word string, argv ...string) (string, error) {
	path, err := find(argv[0])
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, path, argv[1:]...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, word) {
			return strings.TrimSpace(line), nil
		}
	}
	return "", errors.Join(fmt.Errorf("%s does not say its version", argv[0]), err)
}

// Tools are the programs that this module brings or builds, by path.
type Tools struct {
	Self        string // this program: it has the hidden commands of Self…
	InternalDNS string // "" if it could not be built
	InternalErr error  // why not
	Echo        string // the echo in C, "" for the one in Go
	EchoErr     error  // why the one in Go
	CoreDNS     string // "" to look for it in PATH
}

// The hidden commands of Tools.Self.
const (
	SelfEcho = "serve-echo" // ADDRESS:PORT LEAST
	SelfMap  = "serve-map"  // ADDRESS:PORT MASTER
)

// Names of servers that others refer to.
const (
	nameEcho     = "echo"
	nameSized    = "echo-300"
	nameOurs     = "internaldns"
	nameWildcard = "internaldns-any"
	nameMetrics  = "internaldns-admin"
	nameKnot     = "knot"
	nameCoreDNS  = "coredns"
	nameForward  = "internaldns-forward"
)

// Known returns every server, in the order in which they are shown.
func Known(t Tools) []Peer {
	return []Peer{
		echoPeer(t, 0), ours(t, nameOurs), knot, nsd, powerdns, bind, mapPeer(t), coredns(t),
		echoPeer(t, sizedOctets), ours(t, nameWildcard), ours(t, nameMetrics),
		ours(t, nameForward), unbound, dnsdist, dnsmasq, corednsForward(t),
	}
}

// forwarders returns the names of those known that forward.
func forwarders() []string {
	var names []string
	for _, p := range Known(Tools{}) {
		if p.Forwards {
			names = append(names, p.Name)
		}
	}
	return names
}

// Names returns the names of Known.
func Names() []string {
	var names []string
	for _, p := range Known(Tools{}) {
		names = append(names, p.Name)
	}
	return names
}

// choose returns the known peers with those names, in the order of Known.
func choose(all []Peer, names ...string) []Peer {
	var chosen []Peer
	for _, p := range all {
		if slices.Contains(names, p.Name) {
			chosen = append(chosen, p)
		}
	}
	return chosen
}
