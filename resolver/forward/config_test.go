package forward

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/internal/filewatch"
)

func TestParseUpstream(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"192.0.2.1", "192.0.2.1:53"},
		{"192.0.2.1:5353", "192.0.2.1:5353"},
		{"2001:db8::1", "[2001:db8::1]:53"},
		{"[2001:db8::1]", "[2001:db8::1]:53"},
		{"[2001:db8::1]:5353", "[2001:db8::1]:5353"},
		{"fe80::1%eth0", "[fe80::1%eth0]:53"},
		{"::ffff:192.0.2.1", "192.0.2.1:53"},
		{"tls://1.1.1.1#One.one.one.one.", "tls://1.1.1.1:853#one.one.one.one"},
		{"tls://1.1.1.1", "tls://1.1.1.1:853"},
		{"tls://[2606:4700:4700::1111]:8853#one.one.one.one", "tls://[2606:4700:4700::1111]:8853#one.one.one.one"},
		{"", "fault"},
		{"dns.example.com", "fault"},
		{"dns.example.com:53", "fault"},
		{"192.0.2.1:0", "fault"},
		{"192.0.2.1:65536", "fault"},
		{"192.0.2.1:", "fault"},
		{"192.0.2", "fault"},
		{"tls://", "fault"},
		{"tls://1.1.1.1#", "fault"},
		{"https://1.1.1.1", "fault"},
		{"192.0.2.1#name", "fault"},
	} {
		u, err := ParseUpstream(tt.in)
		got := u.String()
		if err != nil {
			got = "fault"
		}
		if got != tt.want {
			t.Errorf("%q: got %s (%v), want %s", tt.in, got, err, tt.want)
		}
		if err != nil {
			continue
		}
		if again, err := ParseUpstream(u.String()); err != nil || again != u {
			t.Errorf("%q: its own text %s does not read the same: %v %v", tt.in, u, again, err)
		}
	}
}

func TestParseForward(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"corp.example=10.0.0.53", "corp.example. 10.0.0.53:53"},
		{"Corp.Example.=10.0.0.53:5353,tls://10.0.0.54#a.b", "corp.example. 10.0.0.53:5353 tls://10.0.0.54:853#a.b"},
		{".=10.0.0.53", ". 10.0.0.53:53"},
		{"10.in-addr.arpa=10.0.0.53", "10.in-addr.arpa. 10.0.0.53:53"},
		{"corp.example", "fault"},
		{"=10.0.0.53", "fault"},
		{"corp..example=10.0.0.53", "fault"},
		{strings.Repeat("a", 64) + ".example=10.0.0.53", "fault"},
		{"corp.example=", "fault"},
		{"corp.example=10.0.0.53,", "fault"},
	} {
		f, err := ParseForward(tt.in)
		got := f.Suffix.String()
		for _, u := range f.Upstreams {
			got += " " + u.String()
		}
		if err != nil {
			got = "fault"
		}
		if got != tt.want {
			t.Errorf("%q: got %s (%v), want %s", tt.in, got, err, tt.want)
		}
	}
}

// All faults are named at once, each beginning with its field.
func TestConfigFaults(t *testing.T) {
	own := []netip.AddrPort{addrPort("10.0.0.1:53"), addrPort("[::]:5300")}
	_, err := New(Config{
		Upstreams: []Upstream{
			{Addr: addrPort("10.0.0.1:53")}, {Addr: addrPort("10.0.0.1:5353")}, {Addr: addrPort("127.0.0.1:5300")}, {Addr: addrPort("[::1]:5300")},
			{Addr: addrPort("10.0.0.1:5353")}, {Addr: addrPort("0.0.0.0:53")}, {Addr: addrPort("203.0.113.77:5300")},
		},
		Forwards: []Forward{
			{suffix(t, "web.internal"), []Upstream{upstreamA}},
			{suffix(t, "corp.example"), []Upstream{{Addr: addrPort("10.0.0.1:53")}}},
			{Suffix: suffix(t, "empty.example")},
		},
		Local: isLocal, Own: own, Log: zap.NewNop(),
		MaxInFlight: -1, StaleAfter: -time.Second, CacheOctets: -5,
	})
	want := []string{
		"max_in_flight: must be positive, got -1",
		"cache_octets: must be positive, got -5",
		"stale_after: must be positive, got -1s",
		"upstream: 10.0.0.1:53 is an address that this server listens at",
		"upstream: 127.0.0.1:5300 is an address that this server listens at",
		"upstream: [::1]:5300 is an address that this server listens at",
		"upstream: 10.0.0.1:5353 is named twice",
		"upstream: 0.0.0.0:53 is not the address of a server",
		"forward web.internal.: is in a local zone, and those are never forwarded",
		"forward corp.example.: 10.0.0.1:53 is an address that this server listens at",
		"forward empty.example.: has no upstream",
	}
	if err == nil || err.Error() != strings.Join(want, "\n") {
		t.Errorf("got\n%v\nwant\n%s", err, strings.Join(want, "\n"))
	}
}

func TestResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	list := func(f *Forwarder) string {
		var s []string
		for _, u := range f.Status().Upstreams {
			s = append(s, u.Upstream)
		}
		return strings.Join(s, " ")
	}
	write("# a comment\nsearch example.com\nnameserver 127.0.0.1\nnameserver 10.0.0.53 \n\tnameserver fe80::1%eth0\nnameserver nonsense\nnameserver 10.0.0.53\noptions edns0\n;nameserver 10.9.9.9\n")
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{ResolvConf: path, Own: []netip.AddrPort{addrPort("127.0.0.1:53")}})
		want := "10.0.0.53:53 [fe80::1%eth0]:53"
		if got := list(f); got != want {
			t.Errorf("nameservers are %s, want %s", got, want)
		}
		kept := f.upstreams()[0]
		for _, step := range []struct{ name, content, want string }{
			{"a file that says nothing new changes nothing", "nameserver 10.0.0.53\nnameserver fe80::1%eth0\n#\n", want},
			{"new nameservers take over", "nameserver 10.0.0.54\nnameserver 10.0.0.53\n", "10.0.0.54:53 10.0.0.53:53"},
			{"an empty file changes nothing", "", "10.0.0.54:53 10.0.0.53:53"},
			{"a file with only this server changes nothing", "nameserver 127.0.0.1\n", "10.0.0.54:53 10.0.0.53:53"},
			{"then it goes on", "nameserver 10.0.0.53\n", "10.0.0.53:53"},
		} {
			write(step.content)
			time.Sleep(2*filewatch.Interval + time.Millisecond)
			synctest.Wait()
			if got := list(f); got != step.want {
				t.Errorf("%s: nameservers are %s, want %s", step.name, got, step.want)
			}
		}
		if f.upstreams()[0] != kept {
			t.Error("a nameserver that stayed lost what was known of it")
		}
		os.Remove(path)
		time.Sleep(2*filewatch.Interval + time.Millisecond)
		if got := list(f); got != "10.0.0.53:53" {
			t.Errorf("without the file nameservers are %s, want the last ones", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f := start(t, Config{ResolvConf: path})
		if got := show(stub.cached(t, f, "A www.example.")); got != "REFUSED EDE 20" {
			t.Errorf("without the file: %s, want REFUSED", got)
		}
		write("nameserver 10.0.0.53\n")
		time.Sleep(2*filewatch.Interval + time.Millisecond)
		synctest.Wait()
		if got := list(f); got != "10.0.0.53:53" {
			t.Errorf("nameservers are %s, want the one that came", got)
		}
	})
}
