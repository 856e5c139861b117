package e2e

import (
	"context"
	"net"
	"net/netip"
	"testing"

	fly "github.com/azazeal/fly/dns"
)

// Every function of a library for Fly's names returns what org.json has.
func TestFlyLibrary(t *testing.T) {
	server := serve(t)
	for _, tr := range transports {
		r := goResolver(server, tr.tcp, netip.Addr{})
		d := fly.New(r)
		t.Run(tr.name, func(t *testing.T) { testFlyLibrary(t, d.Regions, d.Instances, d.Apps, d.Peers, d.Peer, d.PrivateIP) })

		// The functions of the package use Go's default resolver.
		t.Run(tr.name+" by default", func(t *testing.T) {
			d := net.DefaultResolver
			preferGo, dial := d.PreferGo, d.Dial
			defer func() { d.PreferGo, d.Dial = preferGo, dial }()
			d.PreferGo, d.Dial = r.PreferGo, r.Dial
			testFlyLibrary(t, fly.Regions, fly.Instances, fly.Apps, fly.Peers, fly.Peer, fly.PrivateIP)
		})
	}
}

func testFlyLibrary(t *testing.T,
	regions func(context.Context, string) ([]string, error),
	instances func(context.Context, string, string) ([]net.IP, error),
	apps, peers func(context.Context) ([]string, error),
	peer func(context.Context, string) (net.IP, error),
	privateIP func(context.Context) (net.IP, error),
) {
	ctx := t.Context()
	one := func(ip net.IP, err error) string { return result([]net.IP{ip}, err) }
	for _, tt := range []struct{ call, got, want string }{
		{"Regions(web)", result(regions(ctx, "web")), quoted("ams", "sjc", "yyz")},
		{"Regions(pg)", result(regions(ctx, "pg")), quoted("fra", "lab", "xx1")},
		{"Regions(asleep)", result(regions(ctx, "asleep")), quoted("")}, // the library splits the empty text
		{"Regions(absent)", result(regions(ctx, "absent")), "not found"},
		{"Instances(web)", result(instances(ctx, "web", "")), quoted(webAMS, webSJC, webYYZ)},
		{"Instances(web, yyz)", result(instances(ctx, "web", "yyz")), quoted(webYYZ)},
		{"Instances(web, sin)", result(instances(ctx, "web", "sin")), "not found"}, // stopped
		{"Instances(web, fra)", result(instances(ctx, "web", "fra")), "not found"},
		{"Instances(vault)", result(instances(ctx, "vault", "")), "not found"},
		{"Apps()", result(apps(ctx)), quoted("asleep", "big", "fly-builder-quiet-sun-7", "pg", "web")},
		{"Peers()", result(peers(ctx)), quoted("my-peer")},
		{"Peer(my-peer)", one(peer(ctx, "my-peer")), quoted(myPeer)},
		{"Peer(interactive-1f2e)", one(peer(ctx, "interactive-1f2e")), "not found"},
		{"Peer(phantoon)", one(peer(ctx, "phantoon")), "not found"},     // in another network
		{"PrivateIP() from loopback", one(privateIP(ctx)), "not found"}, // package netns sends from a 6PN address
	} {
		if tt.got != tt.want {
			t.Errorf("%s is %s, want %s", tt.call, tt.got, tt.want)
		}
	}
}
