package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/internaldns/internaldns/registry"
)

// tryThese are the questions that the banner suggests: one for addresses, one for text, and one
// whose answer depends on the client's region.
var tryThese = []string{
	"AAAA web.internal",
	"TXT _instances.internal",
	"TXT top2.nearest.of.web.internal",
}

// writeBanner prints what the sample holds, and commands to ask the server for it, which work
// unchanged. self is the command that runs this program.
func writeBanner(w io.Writer, snap *registry.Snapshot, server netip.AddrPort, self string) error {
	if server.Addr().IsUnspecified() { // the server is at ::, but not every client can send there
		loopback := netip.IPv6Loopback()
		if server.Addr().Is4() {
			loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		server = netip.AddrPortFrom(loopback, server.Port())
	}
	b := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(b, "This is internaldns with a sample organisation. For your own:\n\n")
	fmt.Fprintf(b, "  %s serve --registry FILE\n\n", self)
	fmt.Fprintf(b, "  NETWORK\tAPP\tMACHINES\tSTARTED\n")
	for n := range snap.Networks() {
		network := n.Network.String()
		for a := range snap.AppsIn(n.Network) {
			machines, started := 0, 0
			for m := range snap.Machines(a) {
				if m.Gone() {
					continue
				}
				machines++
				if m.Started() {
					started++
				}
			}
			fmt.Fprintf(b, "  %s\t%s\t%d\t%d\n", network, a.Name, machines, started)
		}
	}
	fmt.Fprintf(b, "\nYou, on this machine, are in network %s, region %s. Ask:\n\n", sampleNetwork, sampleRegion)
	for _, q := range tryThese {
		fmt.Fprintf(b, "  dig @%s -p %d %s\n", server.Addr(), server.Port(), q)
	}
	fmt.Fprintf(b, "\nor, where there is no dig:\n\n")
	for _, q := range tryThese {
		fmt.Fprintf(b, "  %s dig @%s %s\n", self, server, q)
	}
	fmt.Fprintln(b)
	return b.Flush()
}

// self returns the command that runs this program again: its name if the shell finds it, else
// its path, or "go run" if that has built it, since it removes the program afterwards.
func self() string {
	path, err := os.Executable()
	if err != nil {
		return programName
	}
	if found, err := exec.LookPath(programName); err == nil && sameFile(found, path) {
		return programName
	}
	if passing(path) {
		return "go run ./cmd/internaldns"
	}
	return path
}

// passing reports whether "go run" has built the program at path, and will remove it.
func passing(path string) bool {
	return strings.Contains(path, string(filepath.Separator)+"go-build")
}

// executable returns the path of this program; if "go run" has built it, the path of the
// program that "make build" makes.
func executable() string {
	path, err := os.Executable()
	switch {
	case err != nil:
		return programName
	case passing(path):
		return "bin/" + programName
	}
	return path
}

const programName = "internaldns"

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}
