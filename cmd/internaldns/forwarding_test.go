package main

import (
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/resolver/forward"
)

func TestWhoIsAskedFollowsFromTheSettings(t *testing.T) {
	for _, tt := range []struct {
		name     string
		config   config
		forwards bool
		want     string
	}{
		{"by default it is the nameservers of the machine", config{ResolvConf: "/etc/resolv.conf"}, true, "file /etc/resolv.conf"},
		{"upstreams win over them", config{ResolvConf: "/etc/resolv.conf", Upstream: []string{"9.9.9.9", "tls://1.1.1.1#one.one"}}, true,
			"9.9.9.9:53 tls://1.1.1.1:853#one.one"},
		{"a suffix leaves the rest as it is", config{ResolvConf: "/etc/resolv.conf", Forward: []string{"corp.example=10.0.0.53:5353", "corp.example=10.0.1.53"}}, true,
			"file /etc/resolv.conf corp.example.=10.0.0.53:5353 corp.example.=10.0.1.53:53"},
		{"off is off", config{ResolvConf: "/etc/resolv.conf", Upstream: []string{off}}, false, ""},
		{"but for what is forwarded by its suffix", config{ResolvConf: "/etc/resolv.conf", Upstream: []string{off}, Forward: []string{"corp.example=10.0.0.53"}}, true,
			"corp.example.=10.0.0.53:53"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.config.forwards(); got != tt.forwards {
				t.Errorf("forwards: %v, want %v", got, tt.forwards)
			}
			f := tt.config.forwarding(zap.NewNop())
			var parts []string
			if f.ResolvConf != "" {
				parts = append(parts, "file "+f.ResolvConf)
			}
			for _, u := range f.Upstreams {
				parts = append(parts, u.String())
			}
			for _, s := range f.Forwards {
				for _, u := range s.Upstreams {
					parts = append(parts, s.Suffix.String()+"="+u.String())
				}
			}
			if got := strings.Join(parts, " "); got != tt.want {
				t.Errorf("asks %s, want %s", got, tt.want)
			}
		})
	}
}

// The defaults of the settings are the defaults of package forward.
func TestTheDefaultsAreThoseOfPackageForward(t *testing.T) {
	c := defaults()
	got := c.forwarding(zap.NewNop())
	if got.MaxInFlight != 10_000 || got.MaxPerSource != 2_000 || got.CacheOctets != 64<<20 ||
		got.StaleAfter.String() != "300ms" || got.StaleAge.String() != "24h0m0s" || got.Allow != nil {
		t.Errorf("by default: %+v", got)
	}
	for _, p := range forward.DefaultAllow {
		if !strings.Contains(strings.Join(strings.Fields(findSetting("allow").why), " "), p.String()) {
			t.Errorf("the setting allow does not say that %v is allowed by default", p)
		}
	}
	c.StaleAge = 0
	if got := c.forwarding(zap.NewNop()).StaleAge; got >= 0 {
		t.Errorf("with a stale_age of 0s, package forward is given %v, want less than nothing", got)
	}
}

// An upstream with the server's own address and port would be a loop, and is refused. Other
// ports and addresses are allowed.
func TestOurOwnAddressIsNoUpstream(t *testing.T) {
	for _, tt := range []struct {
		name, listen, upstream string // %d is the port that is listened at
		want                   string // in the fault; "" if there is none
	}{
		{"the address and port that the server listens at", "127.0.0.1:0", "127.0.0.1:%d", "upstream: 127.0.0.1:%d is an address that this server listens at"},
		{"with every address, loopback", "0.0.0.0:0", "127.0.0.1:%d", "an address that this server listens at"},
		{"with every address, other loopback", "0.0.0.0:0", "127.9.9.9:%d", "an address that this server listens at"},
		{"with every address, IPv4 too", "[::]:0", "127.0.0.1:%d", "an address that this server listens at"},
		{"over TLS too", "127.0.0.1:0", "tls://127.0.0.1:%d", "an address that this server listens at"},
		{"another port is another server", "127.0.0.1:0", "127.0.0.1:1", ""},
		{"another address is another server", "127.0.0.1:0", "127.0.0.2:%d", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _, _ := newFake(t)
			s.config.Listen = []string{tt.listen}
			var late lateForwarder
			srv, fault := s.listen(&late)
			if fault != nil {
				t.Fatal(fault)
			}
			defer srv.Close()
			s.addrs = srv.Addrs()
			port := s.addrs[0].Port()
			s.config.Upstream = []string{strings.ReplaceAll(tt.upstream, "%d", fmt.Sprint(port))}
			want := strings.ReplaceAll(tt.want, "%d", fmt.Sprint(port))
			err := s.newForwarder(&late)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("at %v, with upstream %s: %v, want %q", s.addrs, s.config.Upstream[0], err, want)
			}
		})
	}
}
