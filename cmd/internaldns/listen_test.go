package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestWhereToListenFollowsFromWhatIsServed(t *testing.T) {
	both := []string{"127.0.0.1", "::1"}
	for _, tt := range []struct {
		name          string
		config        config
		here          []string // addresses of the machine
		want, skipped string
	}{
		{"the sample is for loopback, without privilege", config{}, both, "[::1]:5300 127.0.0.1:5300", ""},
		{"where IPv6 is turned off, the sample is for IPv4", config{}, []string{"127.0.0.1"}, "127.0.0.1:5300", "[::1]:5300"},
		{"where loopback is not up yet, the sample waits for it", config{}, nil, "[::1]:5300 127.0.0.1:5300", ""},
		{"a registry is served at every address", config{Registry: "org.json"}, both, "[::]:53", ""},
		{"--listen overrides the default", config{Registry: "org.json", Listen: []string{"[fdaa::3]:53"}}, both, "[fdaa::3]:53", ""},
		{"also for the sample", config{Listen: []string{"127.0.0.1:53"}}, both, "127.0.0.1:53", ""},
		{"no host is every host", config{Listen: []string{":53"}}, both, "[::]:53", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			listen, skipped := tt.config.listenOn(among(tt.here))
			if got := strings.Join(listen, " "); got != tt.want {
				t.Errorf("listens at %s, want %s", got, tt.want)
			}
			if got := strings.Join(skipped, " "); got != tt.skipped {
				t.Errorf("skips %q, want %q", got, tt.skipped)
			}
		})
	}
}

func TestAnAddressIsAbsentIfNoInterfaceHasIt(t *testing.T) {
	listen := []string{"[::]:53", "0.0.0.0:53", "127.0.0.1:53", "[fdaa::3]:53", "10.0.0.1:53"}
	got := absent(listen, among([]string{"127.0.0.1", "10.0.0.1"}))
	if want := []string{"[fdaa::3]:53"}; !slices.Equal(got, want) {
		t.Errorf("absent are %v, want %v", got, want)
	}
}

func TestLoopbackIsHere(t *testing.T) {
	here := interfaceAddrs()
	for _, addr := range []string{"127.0.0.1", "127.0.0.9", "::ffff:127.0.0.1"} {
		if !here(netip.MustParseAddr(addr)) {
			t.Errorf("no interface has %s", addr)
		}
	}
	if addr := netip.MustParseAddr("192.0.2.1"); here(addr) {
		t.Errorf("an interface has %s, which is for documentation only", addr)
	}
}

func TestABindFaultSaysWhatToDo(t *testing.T) {
	const inUse, denied = syscall.EADDRINUSE, syscall.EACCES
	for _, tt := range []struct {
		errno  syscall.Errno
		flag   string
		addrs  string
		want   string // in the hint
		remedy string
	}{
		{inUse, "listen", "127.0.0.1:5300", "choose another port with --listen 127.0.0.1:5301", "--listen 127.0.0.1:5301"},
		{inUse, "admin", "127.0.0.1:9153", "choose another port with --admin 127.0.0.1:9154", "--admin 127.0.0.1:9154"},
		{inUse, "listen", strings.Join(sampleListen, " "), "choose another port with --listen 127.0.0.1:5301", "--listen 127.0.0.1:5301"},
		{inUse, "listen", "10.0.0.1:53 10.0.0.2:53", "choose another port with --listen", ""},
		{inUse, "listen", "[::]:53", `choose another port with --listen "[::]:5300"`, `--listen "[::]:5300"`},
		{inUse, "listen", "[::1]:65535", "choose another port", `--listen "[::1]:5300"`},
		{denied, "listen", "0.0.0.0:53", "setcap cap_net_bind_service=+ep ", "--listen 0.0.0.0:5300"},
		{denied, "admin", "127.0.0.1:80", "or choose another port with --admin", "--admin 127.0.0.1:9153"},
		{syscall.EADDRNOTAVAIL, "listen", "10.0.0.1:53", "does not have the address", ""},
		{syscall.EAFNOSUPPORT, "listen", "[::]:53", "0.0.0.0:53", "--listen 0.0.0.0:53"},
		{syscall.EMFILE, "listen", "[::]:53", "too many open files", ""},
	} {
		err := fmt.Errorf("listen at %s: %w", tt.addrs, os.NewSyscallError("bind", tt.errno))
		got := newListenFault(err, tt.flag, strings.Fields(tt.addrs)...)
		if !errors.Is(got, tt.errno) || !strings.HasPrefix(got.Error(), err.Error()) || !strings.Contains(got.Error(), tt.want) || got.remedy != tt.remedy {
			t.Errorf("%v at %s: remedy %q, and says\n%v\nwant remedy %q, the error, and then %q", tt.errno, tt.addrs, got.remedy, got, tt.remedy, tt.want)
		}
	}
}

func among(addrs []string) func(netip.Addr) bool {
	return func(a netip.Addr) bool { return slices.Contains(addrs, a.String()) }
}
