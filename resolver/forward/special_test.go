package forward

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/internaldns/internaldns/metrics"
)

func TestSpecialNames(t *testing.T) {
	zero := strings.Repeat("0.", 31) + "ip6.arpa."
	do := stub
	do.do = true
	for _, tt := range []struct {
		name, question, want string
		c                    client
	}{
		{"localhost is this machine", "A localhost.", "NOERROR [localhost. 10800 A 127.0.0.1]", stub},
		{"localhost is this machine, over IPv6 too", "AAAA localhost.", "NOERROR [localhost. 10800 AAAA ::1]", stub},
		{"so is everything below it", "A a.b.LocalHost.", "NOERROR [a.b.localhost. 10800 A 127.0.0.1]", stub},
		{"localhost has no other data", "MX localhost.", "NOERROR authority [localhost. 10800 SOA]", stub},
		{"invalid does not exist", "A invalid.", "NXDOMAIN authority [invalid. 10800 SOA]", stub},
		{"test has no names", "A www.test.", "NXDOMAIN authority [test. 10800 SOA]", stub},
		{"nor anything below it", "TXT a.b.invalid.", "NXDOMAIN authority [invalid. 10800 SOA]", stub},
		{"onion does not exist", "A facebook.onion.", "NXDOMAIN authority [onion. 10800 SOA]", stub},
		{"alt does not exist", "A a.alt.", "NXDOMAIN authority [alt. 10800 SOA]", stub},
		{"private addresses have no names", "PTR 1.2.3.10.in-addr.arpa.", "NXDOMAIN authority [10.in-addr.arpa. 10800 SOA]", stub},
		{"but their zone exists", "PTR 10.in-addr.arpa.", "NOERROR authority [10.in-addr.arpa. 10800 SOA]", stub},
		{"and has an SOA", "SOA 10.in-addr.arpa.", "NOERROR [10.in-addr.arpa. 10800 SOA]", stub},
		{"and an NS", "NS 168.192.in-addr.arpa.", "NOERROR [168.192.in-addr.arpa. 10800 NS 168.192.in-addr.arpa.]", stub},
		{"172.16 is private", "PTR 1.1.16.172.in-addr.arpa.", "NXDOMAIN authority [16.172.in-addr.arpa. 10800 SOA]", stub},
		{"172.31 is private", "PTR 1.1.31.172.in-addr.arpa.", "NXDOMAIN authority [31.172.in-addr.arpa. 10800 SOA]", stub},
		{"172.32 is not", "PTR 1.1.32.172.in-addr.arpa.", "no response", stub},
		{"172.in-addr.arpa is not", "NS 172.in-addr.arpa.", "no response", stub},
		{"::1 has no name, but a zone", "PTR 1." + zero, "NOERROR", stub},
		{"unique local addresses have none", "PTR 1.0.d.f.ip6.arpa.", "NXDOMAIN authority [d.f.ip6.arpa. 10800 SOA]", stub},
		{"link-local addresses have none", "PTR 1.b.e.f.ip6.arpa.", "NXDOMAIN authority [b.e.f.ip6.arpa. 10800 SOA]", stub},
		{"home.arpa is special", "A printer.home.arpa.", "NXDOMAIN authority [home.arpa. 10800 SOA]", stub},
		{"its DS is too, for clients that do not validate", "DS home.arpa.", "NOERROR authority [home.arpa. 10800 SOA]", stub},
		{"but a client that validates needs the proof", "DS home.arpa.", "no response", do},
		{"the DS of others stays", "DS 10.in-addr.arpa.", "NOERROR authority [10.in-addr.arpa. 10800 SOA]", do},
		{"carrier-grade addresses have no names", "PTR 1.0.64.100.in-addr.arpa.", "NXDOMAIN authority [64.100.in-addr.arpa. 10800 SOA]", stub},
		{"up to 100.127", "PTR 1.0.127.100.in-addr.arpa.", "NXDOMAIN authority [127.100.in-addr.arpa. 10800 SOA]", stub},
		{"100.63 is public", "PTR 1.0.63.100.in-addr.arpa.", "no response", stub},
		{"100.128 is public", "PTR 1.0.128.100.in-addr.arpa.", "no response", stub},
		{"upstreams' encrypted resolvers are not those of this server", "TYPE64 _dns.resolver.arpa.", "NOERROR authority [resolver.arpa. 10800 SOA]", stub},
		{"nor does anything else there", "A a.b.resolver.arpa.", "NOERROR authority [resolver.arpa. 10800 SOA]", stub},
		{"resolver.arpa is a zone", "NS resolver.arpa.", "NOERROR [resolver.arpa. 10800 NS resolver.arpa.]", stub},
		{"service.arpa is special", "PTR _http._tcp.default.service.arpa.", "NXDOMAIN authority [service.arpa. 10800 SOA]", stub},
		{"but a client that validates needs the proof for it too", "DS service.arpa.", "no response", do},
		{"the example names are ordinary", "A www.example.", "no response", stub},
		{"example.com is ordinary", "A example.com.", "no response", stub},
		{"a name that only ends alike is ordinary", "A contest.", "no response", stub},
		{"the suffix of a Forward is forwarded", "PTR 1.5.10.in-addr.arpa.", "no response", stub},
		{"also the name itself", "A corp.test.", "no response", stub},
		{"and its neighbor is not", "A other.test.", "NXDOMAIN authority [test. 10800 SOA]", stub},
		{"a name exists that a Forward is below", "A test.", "NOERROR authority [test. 10800 SOA]", stub},
		{"also in an empty zone", "PTR 6.10.in-addr.arpa.", "NOERROR authority [10.in-addr.arpa. 10800 SOA]", stub},
		{"and its neighbor does not", "PTR 7.10.in-addr.arpa.", "NXDOMAIN authority [10.in-addr.arpa. 10800 SOA]", stub},
		{"a name exists that the local reverse zone is below", "PTR a.d.f.ip6.arpa.", "NOERROR authority [d.f.ip6.arpa. 10800 SOA]", stub},
		{"a Forward above a special name does not change it", "A www.onion.", "NXDOMAIN authority [onion. 10800 SOA]", stub},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newForwarder(t, Config{
				Upstreams: []Upstream{upstreamA},
				Forwards: []Forward{
					{suffix(t, "5.10.in-addr.arpa"), []Upstream{upstreamB}},
					{suffix(t, "8.6.10.in-addr.arpa"), []Upstream{upstreamB}},
					{suffix(t, "corp.test"), []Upstream{upstreamB}},
					{suffix(t, "."), []Upstream{upstreamB}},
				},
			})
			got := show(tt.c.cached(t, f, tt.question))
			if tt.want == "NOERROR" { // the SOA is long
				got, _, _ = strings.Cut(got, " ")
			}
			if got != tt.want {
				t.Errorf("%s\n got %s\nwant %s", tt.question, got, tt.want)
			}
		})
	}
}

// Every special name is answered here, and so is every name below it.
func TestEverySpecialNameIsAnsweredHere(t *testing.T) {
	f := newForwarder(t, Config{Upstreams: []Upstream{upstreamA}})
	for name := range specialNames {
		for _, question := range []string{"TXT " + name, "TXT a.b." + name} {
			if stub.cached(t, f, question) == nil {
				t.Errorf("%s would be forwarded", question)
			}
		}
	}
	if len(specialNames) != 8+15+2+16+64 {
		t.Errorf("%d names are special, want those of RFC 6303, RFC 7793 and eight others", len(specialNames))
	}
}

func TestWhoMayAsk(t *testing.T) {
	with := func(addr string, rd bool) client {
		c := stub
		c.Addr, c.rd = addrPort(addr).Addr(), rd
		return c
	}
	f := newForwarder(t, Config{Upstreams: []Upstream{upstreamA}})
	store(t, f, stub, "A www.example.", "www.example. 60 IN A 192.0.2.1")
	off := newForwarder(t, Config{})
	only := newForwarder(t, Config{Forwards: []Forward{{suffix(t, "corp.example"), []Upstream{upstreamB}}}})
	const refused, noForwarder = "REFUSED EDE 18", "REFUSED EDE 20"
	for _, tt := range []struct {
		name, question, want string
		f                    *Forwarder
		c                    client
	}{
		{"loopback may", "A www.example.", isTruth("www.example."), f, with("127.0.0.9:1", true)},
		{"a private address may", "A www.example.", isTruth("www.example."), f, with("192.168.1.1:1", true)},
		{"one written as IPv6 may", "A www.example.", isTruth("www.example."), f, with("[::ffff:10.0.0.1]:1", true)},
		{"a 6PN address may", "A www.example.", isTruth("www.example."), f, with("[fdaa::18]:1", true)},
		{"a link-local address with a zone may", "A www.example.", isTruth("www.example."), f, with("[fe80::1%eth0]:1", true)},
		{"a public address may not", "A www.example.", refused, f, with("203.0.113.1:1", true)},
		{"a public IPv6 address may not", "A www.example.", refused, f, with("[2001:db8::1]:1", true)},
		{"nor ask for special names", "A localhost.", refused, f, with("203.0.113.1:1", true)},
		{"without RD nothing comes from the cache", "A www.example.", noForwarder, f, with("127.0.0.1:1", false)},
		{"without upstreams names are refused", "A www.example.", noForwarder, off, stub},
		{"but special names are answered", "A localhost.", "NOERROR [localhost. 10800 A 127.0.0.1]", off, stub},
		{"with a Forward alone, its names are a miss", "A www.corp.example.", "no response", only, stub},
		{"and others refused", "A www.example.", noForwarder, only, stub},
	} {
		if got := show(tt.c.cached(t, tt.f, tt.question)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	hits, clients, rd := f.stats.Total(metrics.CacheHit), f.stats.Total(metrics.RefusedClient), f.stats.Total(metrics.RefusedRD)
	if hits != 5 || clients != 3 || rd != 1 {
		t.Errorf("counted %d hits, %d refused clients, %d queries refused because they lack RD; want 5, 3 and 1", hits, clients, rd)
	}
}

// TTLs count down, and never reach 0.
func TestTTLsCountDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newForwarder(t, Config{Upstreams: []Upstream{upstreamA}})
		store(t, f, stub, "A www.example.", "www.example. 3600 IN CNAME a.example.", "a.example. 60 IN A 192.0.2.1")
		for _, tt := range []struct {
			after int // seconds since the last
			want  string
		}{
			{0, "NOERROR [www.example. 3600 CNAME a.example.] [a.example. 60 A 192.0.2.1]"},
			{10, "NOERROR [www.example. 3590 CNAME a.example.] [a.example. 50 A 192.0.2.1]"},
			{49, "NOERROR [www.example. 3541 CNAME a.example.] [a.example. 1 A 192.0.2.1]"},
			{1, "no response"},
		} {
			time.Sleep(time.Duration(tt.after) * time.Second)
			if got := show(stub.cached(t, f, "A www.example.")); got != tt.want {
				t.Errorf("%ds later: %s, want %s", tt.after, got, tt.want)
			}
		}
	})
}
