//go:build linux

package netns

import (
	"bufio"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// Every question of expect.tsv, sent from the client's own address to fdaa::3, has
// the answer of the file.
func TestExpected(t *testing.T) {
	for _, listen := range []string{"[fdaa::3]:53", "[::]:53"} {
		t.Run(listen, func(t *testing.T) {
			serve(t, listen)
			for _, network := range []string{"udp", "tcp"} {
				testExpected(t, network)
			}
		})
	}
}

func testExpected(t *testing.T, network string) {
	f, err := os.Open("../../zone/testdata/expect.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	conns := make(map[string]*dns.Conn)
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		n++
		part := strings.SplitN(lines.Text(), "\t", 5)
		client, qtype, name, want := part[0], part[1], part[2], strings.TrimSuffix(part[3]+" "+part[4], " ")
		if conns[client] == nil {
			conns[client] = dial(t, network, client, server)
		}
		if got := outcome(exchange(t, conns[client], dns.StringToType[qtype], name)); got != want {
			t.Errorf("%s %s over %s, asked by %s\n got %s\nwant %s", qtype, name, network, client, got, want)
		}
	}
	if n != 531 {
		t.Errorf("asked %d questions, want 531", n)
	}
}

// The network of a client follows from both addresses of its query.
func TestTheNetworkOfAClient(t *testing.T) {
	serve(t, "[::]:53")
	const (
		own     = "fdaa:0:18::3" // the server's address over WireGuard
		other   = "fdaa:3:9018::3"
		nowhere = "fdaa:0:99::3"
		web     = "NOERROR fdaa:0:18:a7b:7d:f066:b83b:2 fdaa:0:18:a7b:1d3:cb60:76c3:2 fdaa:0:18:a7b:1d3:ea9b:7cc0:2"
	)
	for _, tt := range []struct {
		does, from, to string
		qtype          uint16
		name, want     string
	}{
		{"a machine is in its own network", machine, server, dns.TypeAAAA, "web.internal", web},
		{"also at the server's address in its network", machine, own, dns.TypeAAAA, "web.internal", web},
		{"also at any address of its network", machine, "fdaa:0:18::99", dns.TypeAAAA, "web.internal", web},
		{"an address of no machine is in the network it names", "fdaa:0:18:dead::1", server, dns.TypeAAAA, "web.internal", web},
		{"a machine that asks at another network's address is refused", machine, other, dns.TypeAAAA, "web.internal", "REFUSED"},
		{"over WireGuard, the destination address gives the network", laptop, own, dns.TypeAAAA, "web.internal", web},
		{"and the address of the server", laptop, own, dns.TypeAAAA, "_api.internal", "NOERROR " + own},
		{"the same for the other network", laptop, other, dns.TypeTXT, "_apps.internal", `NOERROR "vault,web"`},
		{"a network without facts is empty", laptop, nowhere, dns.TypeAAAA, "web.internal", "NXDOMAIN"},
		{"other destination addresses give no network", laptop, "fdaa:0:18::99", dns.TypeAAAA, "web.internal", "REFUSED"},
		{"a client without a network is refused", laptop, server, dns.TypeAAAA, "web.internal", "REFUSED"},
		{"fdaa::3 itself is in no network", server, server, dns.TypeAAAA, "web.internal", "REFUSED"},
		{"IPv4 loopback is in no network here", "127.0.0.1", "127.0.0.1", dns.TypeAAAA, "web.internal", "REFUSED"},
		{"a machine knows its own address", machine, server, dns.TypeAAAA, "fly-local-6pn", "NOERROR " + machine},
		{"a peer has its own region", "fdaa:0:18:a7b:d6b:0:a:102", server, dns.TypeAAAA, "top1.nearest.of.pg.internal", "NOERROR fdaa:0:18:a7b:8c:1:3:2"},
	} {
		for _, network := range []string{"udp", "tcp"} {
			if got := outcome(exchange(t, dial(t, network, tt.from, tt.to), tt.qtype, tt.name)); got != tt.want {
				t.Errorf("%s: %s from %s at %s over %s\n got %s\nwant %s", tt.does, tt.name, tt.from, tt.to, network, got, tt.want)
			}
		}
	}
}

// A server can start before its address exists.
func TestAnAddressCanBeAddedLater(t *testing.T) {
	late := []string{"2001:db8::53", "192.0.2.53"}
	serve(t, "[2001:db8::53]:53", "192.0.2.53:53", "[fdaa::3]:53")
	for _, addr := range late {
		prefix := netip.PrefixFrom(netip.MustParseAddr(addr), netip.MustParseAddr(addr).BitLen())
		if err := ip("addr add " + prefix.String() + " dev lo"); err != nil {
			t.Fatal(err)
		}
		if err := reach(addr); err != nil {
			t.Fatal(err)
		}
		for _, network := range []string{"udp", "tcp"} {
			if got := outcome(exchange(t, dial(t, network, addr, addr), dns.TypeAAAA, "web.internal")); got != "REFUSED" {
				t.Errorf("at %s over %s: %s, want REFUSED, from a client without a network", addr, network, got)
			}
		}
		if err := ip("addr del " + prefix.String() + " dev lo"); err != nil {
			t.Fatal(err)
		}
	}
	if got := outcome(exchange(t, dial(t, "udp", machine, server), dns.TypeAAAA, "ams.web.internal")); got != "NOERROR "+machine {
		t.Errorf("at fdaa::3: %s", got)
	}
}
