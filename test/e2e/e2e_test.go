package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/internaldns/internaldns/test/internal/program"
)

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }

// registryFile writes org.json with one more app, big, and returns its path. The
// addresses of its hundred machines do not fit a UDP response of 1,232 octets.
func registryFile(t testing.TB) string {
	t.Helper()
	org, err := os.ReadFile("../../cmd/internaldns/sample/org.json")
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal(org, &file); err != nil {
		t.Fatal(err)
	}
	var machines []any
	for i := range 100 {
		machines = append(machines, map[string]any{
			"id": fmt.Sprintf("%014x", i), "state": "started", "region": "ams", "private_ip": bigAddr(i).String(),
		})
	}
	file["apps"] = append(file["apps"].([]any), map[string]any{"name": "big", "network": "fdaa:0:18::/48", "machines": machines})
	org, err = json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "org.json")
	if err := os.WriteFile(path, org, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// bigAddr returns the address of a machine of app big.
func bigAddr(i int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("fdaa:0:18:b16:0:%x:1:2", i))
}

// serve starts the program. Clients on loopback are in network fdaa:0:18::/48, and
// those in 127.9.0.0/16 in the other network of org.json.
func serve(t testing.TB) netip.AddrPort {
	t.Helper()
	return program.Serve(t, "--registry", registryFile(t), "--listen", "127.0.0.1:0", "--admin", "off", "--upstream", "off",
		"--client", "127.0.0.0/8=fdaa:0:18::/48,ams", "--client", "127.9.0.0/16=fdaa:3:9018::/48").Addrs[0]
}

// goResolver returns Go's own resolver with one server, whose response it waits for
// as long as resolv.conf says, by default 5 s and twice. It sends from the address
// from, if that is valid, and over TCP only, if tcp is true.
func goResolver(server netip.AddrPort, tcp bool, from netip.Addr) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		if tcp {
			network = "tcp"
		}
		var d net.Dialer
		if from.IsValid() {
			d.LocalAddr = &net.UDPAddr{IP: from.AsSlice()}
			if network == "tcp" {
				d.LocalAddr = &net.TCPAddr{IP: from.AsSlice()}
			}
		}
		return d.DialContext(ctx, network, server.String())
	}}
}

var transports = []struct {
	name string
	tcp  bool
}{{"UDP", false}, {"TCP", true}}

// result writes the result of a lookup: its items in ascending order, or the kind of
// its error.
func result[T any](items []T, err error) string {
	if dnsErr, ok := errors.AsType[*net.DNSError](err); ok && dnsErr.IsNotFound {
		return "not found"
	}
	if err != nil {
		return err.Error()
	}
	var s []string
	for _, item := range items {
		s = append(s, fmt.Sprintf("%q", fmt.Sprint(item)))
	}
	slices.Sort(s)
	return strings.Join(s, " ")
}

// Addresses of machines in org.json.
const (
	webAMS = "fdaa:0:18:a7b:7d:f066:b83b:2"
	webSJC = "fdaa:0:18:a7b:1d3:cb60:76c3:2"
	webYYZ = "fdaa:0:18:a7b:1d3:ea9b:7cc0:2"
	myPeer = "fdaa:0:18:a7b:d6b:0:a:102"
)

// quoted writes items as result does.
func quoted(items ...string) string { return result(items, nil) }
