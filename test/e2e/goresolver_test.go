package e2e

import (
	"net"
	"net/netip"
	"testing"
)

func TestGoResolver(t *testing.T) {
	server := serve(t)
	var big []string
	for i := range 100 {
		big = append(big, bigAddr(i).String())
	}
	for _, tr := range transports {
		r, ctx := goResolver(server, tr.tcp, netip.Addr{}), t.Context()
		ip := func(network string) func(string) string {
			return func(name string) string { return result(r.LookupIP(ctx, network, name)) }
		}
		for _, tt := range []struct {
			does string
			name string
			look func(string) string
			want string
		}{
			{"an app has the addresses of its started machines", "web.internal", ip("ip6"), quoted(webAMS, webSJC, webYYZ)},
			{"the same with A and AAAA", "web.internal", ip("ip"), quoted(webAMS, webSJC, webYYZ)},
			{"the same for the absolute name", "web.internal.", ip("ip"), quoted(webAMS, webSJC, webYYZ)},
			{"the same in any letter case", "Web.INTERNAL", ip("ip"), quoted(webAMS, webSJC, webYYZ)},
			{"an app has no IPv4 addresses", "web.internal", ip("ip4"), "not found"},
			{"a region has its machines", "sjc.web.internal", ip("ip"), quoted(webSJC)},
			{"the nearest machine is that in the client's region", "top1.nearest.of.web.internal", ip("ip"), quoted(webAMS)},
			{"an app without started machines is not found", "asleep.internal", ip("ip"), "not found"},
			{"an app that does not exist is not found", "absent.internal", ip("ip"), "not found"},
			{"another network's app is not found", "vault.internal", ip("ip"), "not found"},
			{"Flycast addresses are found", "web.flycast", ip("ip"), quoted("fdaa:0:18:0:1::3")},
			{"more addresses than fit a datagram are all returned", "big.internal", ip("ip"), quoted(big...)},

			{"a list is one text", "_apps.internal", func(n string) string { return result(r.LookupTXT(ctx, n)) },
				quoted("asleep,big,fly-builder-quiet-sun-7,pg,web")},
			{"an empty list is an empty text", "regions.asleep.internal", func(n string) string { return result(r.LookupTXT(ctx, n)) }, quoted("")},
			{"machines are listed", "vms.web.internal", func(n string) string { return result(r.LookupTXT(ctx, n)) },
				quoted("148e21dad76789 ams,3d8d9250a27de8 sjc,5683d56ea79d28 yyz")},
			{"an app has no text", "web.internal", func(n string) string { return result(r.LookupTXT(ctx, n)) }, "not found"},
			{"an app that does not exist has no list", "vms.absent.internal", func(n string) string { return result(r.LookupTXT(ctx, n)) }, "not found"},

			{"a machine's address has its name", webAMS, func(a string) string { return result(r.LookupAddr(ctx, a)) },
				quoted("148e21dad76789.vm.web.internal.")},
			{"a peer's address has its name", myPeer, func(a string) string { return result(r.LookupAddr(ctx, a)) },
				quoted("my-peer._peer.internal.")},
			{"an address in another network has none", "fdaa:3:9018:a7b:2dbb:3e15:aaea:2", func(a string) string { return result(r.LookupAddr(ctx, a)) }, "not found"},

			{"hosts are found", "web.internal", func(n string) string { return result(r.LookupHost(ctx, n)) }, quoted(webAMS, webSJC, webYYZ)},
			{"an app has no MX record", "web.internal", func(n string) string { return result(r.LookupMX(ctx, n)) }, "not found"},
			{"a name is its own canonical name", "web.internal", func(n string) string {
				cname, err := r.LookupCNAME(ctx, n)
				return result([]string{cname}, err)
			}, quoted("web.internal.")},
			{"the zone has a name server", "internal", func(n string) string {
				ns, err := r.LookupNS(ctx, n)
				var hosts []string
				for _, s := range ns {
					hosts = append(hosts, s.Host)
				}
				return result(hosts, err)
			}, quoted("_api.internal.")},
		} {
			t.Run(tr.name+"/"+tt.does, func(t *testing.T) {
				if got := tt.look(tt.name); got != tt.want {
					t.Errorf("%s\n got %s\nwant %s", tt.name, got, tt.want)
				}
			})
		}
	}
}

// Each client of one server sees its own network.
func TestTwoNetworksFromOneServer(t *testing.T) {
	server := serve(t)
	for _, tr := range transports {
		for _, tt := range []struct{ from, apps, web, vault string }{
			{"127.0.0.1", quoted("asleep,big,fly-builder-quiet-sun-7,pg,web"), quoted(webAMS, webSJC, webYYZ), "not found"},
			{"127.9.0.1", quoted("vault,web"), quoted("fdaa:3:9018:a7b:2dbb:3e15:aaea:2"), quoted("fdaa:3:9018:a7b:2dbb:3e15:bbbb:2")},
		} {
			r, ctx := goResolver(server, tr.tcp, netip.MustParseAddr(tt.from)), t.Context()
			if got := result(r.LookupTXT(ctx, "_apps.internal")); got != tt.apps {
				t.Errorf("%s over %s: apps are %s, want %s", tt.from, tr.name, got, tt.apps)
			}
			if got := result(r.LookupIP(ctx, "ip6", "web.internal")); got != tt.web {
				t.Errorf("%s over %s: web is at %s, want %s", tt.from, tr.name, got, tt.web)
			}
			if got := result(r.LookupIP(ctx, "ip6", "vault.internal")); got != tt.vault {
				t.Errorf("%s over %s: vault is at %s, want %s", tt.from, tr.name, got, tt.vault)
			}
		}
	}
}

// A name that is neither local nor forwarded is an error of the server, and not "not
// found": a program must not conclude that the name does not exist.
func TestOtherNamesAreRefusedToGoResolver(t *testing.T) {
	server := serve(t)
	_, err := goResolver(server, false, netip.Addr{}).LookupIP(t.Context(), "ip", "example.com.")
	dnsErr, ok := err.(*net.DNSError)
	if !ok || dnsErr.IsNotFound {
		t.Errorf("example.com: %v", err)
	}
}
