package registry

import (
	"net/netip"
	"strings"
	"testing"
)

func TestFoldChangesOnlyASCIILetters(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""}, {"abc-09", "abc-09"}, {"ABC", "abc"}, {"aBc", "abc"}, {"@[`{", "@[`{"},
		{"É\xffK", "É\xffk"}, {"\u212a", "\u212a"}, // the Kelvin sign is no K
	} {
		if got := Fold(tt.in); got != tt.want {
			t.Errorf("Fold(%q) is %q, want %q", tt.in, got, tt.want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { Fold("all-lower-case-already") }); n != 0 {
		t.Errorf("folding a text in lower case takes %v allocations", n)
	}
}

func TestValidNames(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, tt := range []struct {
		s                string
		name, id, region bool
	}{
		{"a", true, true, true},
		{"0", true, true, true},
		{"web-1", true, true, false},
		{"a--b", true, true, false},
		{long, true, true, true},
		{long + "a", false, false, false},
		{"", false, false, false},
		{"-", false, true, false},
		{"-a", false, true, false},
		{"a-", false, true, false},
		{"Web", false, false, false},
		{"a_b", false, false, false},
		{"a.b", false, false, false},
		{"a b", false, false, false},
		{"a\x00", false, false, false},
		{"é", false, false, false},
		{"148e21dad76789", true, true, true},
		{"ams", true, true, true},
		{"vms", true, true, false},
		{"regions", true, true, false},
		{"global", true, true, false},
		{"vm", true, true, false},
		{"process", true, true, false},
		{"of", true, true, false},
		{"nearest", true, true, false},
		{"kv", true, true, false},
		{"all", true, true, false},
		{"alle", true, true, true},
	} {
		for _, kind := range []struct {
			what string
			err  error
			want bool
		}{{"a name", checkName(tt.s), tt.name}, {"a machine id", checkID(tt.s), tt.id}, {"a region", checkRegion(tt.s), tt.region}} {
			if got := kind.err == nil; got != kind.want {
				t.Errorf("is %q %s? %v, want %v", tt.s, kind.what, got, kind.want)
			}
		}
	}
}

func TestParseNetwork(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Network // 0: an error
	}{
		{"fdaa:0:18::/48", 0x18},
		{"fdaa:0000:0018::/48", 0x18},
		{"FDAA:0:18::/48", 0x18},
		{"fdaa:ffff:ffff::/48", 0xffffffff},
		{"fdaa:1:0::/48", 0x10000},
		{"fdaa:0:1:0:0:0:0:0/48", 1},
		{"fdaa::/48", 0},
		{"fdaa:0:18::1/48", 0},
		{"fdaa:0:18:1::/48", 0},
		{"fdaa:0:18::/47", 0},
		{"fdaa:0:18::/64", 0},
		{"fdaa::/16", 0},
		{"fdab:0:18::/48", 0},
		{"fdaa:0:18::", 0},
		{"fdaa:0:18::%lo/48", 0},
		{"10.0.0.0/8", 0},
		{"::ffff:10.0.0.0/48", 0},
		{"acme", 0},
		{"", 0},
	} {
		got, err := ParseNetwork(tt.in)
		if got != tt.want || (err == nil) != (tt.want != 0) {
			t.Errorf("ParseNetwork(%q) is %v, %v; want %v", tt.in, got, err, tt.want)
		}
		if err != nil && !strings.Contains(err.Error(), "fdaa") {
			t.Errorf("%q does not have an example of a network", err)
		}
	}
}

func TestNetworksAndTheirAddresses(t *testing.T) {
	for _, tt := range []struct {
		n              Network
		prefix, server string
	}{
		{0x18, "fdaa:0:18::/48", "fdaa:0:18::3"},
		{0x10000, "fdaa:1::/48", "fdaa:1::3"},
		{0xffffffff, "fdaa:ffff:ffff::/48", "fdaa:ffff:ffff::3"},
	} {
		if got := tt.n.String(); got != tt.prefix || tt.n.Prefix().String() != tt.prefix {
			t.Errorf("network %d is %s, want %s", uint32(tt.n), got, tt.prefix)
		}
		if got := tt.n.Server().String(); got != tt.server {
			t.Errorf("the server of network %d is %s, want %s", uint32(tt.n), got, tt.server)
		}
		if got, err := ParseNetwork(tt.n.String()); got != tt.n || err != nil {
			t.Errorf("network %d is parsed back as %v, %v", uint32(tt.n), got, err)
		}
	}
	for _, tt := range []struct {
		addr string
		want Network // 0: none
	}{
		{"fdaa:0:18:a7b:7d:f066:b83b:2", 0x18},
		{"fdaa:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0xffffffff},
		{"fdaa::3", 0},
		{"fdaa:0:0:1::", 0},
		{"fdab:0:18::5", 0},
		{"fcaa:0:18::5", 0},
		{"::1", 0},
		{"10.0.0.1", 0},
		{"::ffff:10.0.0.1", 0},
	} {
		if got, ok := NetworkOf(netip.MustParseAddr(tt.addr)); ok != (tt.want != 0) || ok && got != tt.want {
			t.Errorf("the network of %s is %v, %v; want %v", tt.addr, got, ok, tt.want)
		}
	}
	if _, ok := NetworkOf(netip.Addr{}); ok {
		t.Error("the zero address is in a network")
	}
}
