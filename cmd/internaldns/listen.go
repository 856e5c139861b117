package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// Where queries are answered if nobody says where. With a registry that is
// where resolvers look for a server, on every address. Without one nobody means
// to serve a network, so it is where no privilege is needed and nobody else can
// reach it.
var (
	defaultListen = []string{"[::]:53"}
	sampleListen  = []string{"[::1]:5300", "127.0.0.1:5300"}
)

// listenOn returns where queries shall be answered. here reports whether the
// machine has an address. Of the sample's addresses, skipped ones are those it
// lacks: [::1], where IPv6 is turned off.
func (c *config) listenOn(here func(netip.Addr) bool) (listen, skipped []string) {
	switch {
	case len(c.Listen) > 0:
		for _, s := range c.Listen {
			if strings.HasPrefix(s, ":") {
				s = "[::]" + s // no host stands for all of them
			}
			listen = append(listen, s)
		}
		return listen, nil
	case c.Registry != "":
		return defaultListen, nil
	}
	for _, s := range sampleListen {
		if here(netip.MustParseAddrPort(s).Addr()) {
			listen = append(listen, s)
		} else {
			skipped = append(skipped, s)
		}
	}
	return listen, skipped
}

// absent returns those of the HOST:PORT that are on no interface. Sockets can be
// bound there, but queries arrive only once the address does.
func absent(listen []string, here func(netip.Addr) bool) []string {
	var out []string
	for _, s := range listen {
		a, err := netip.ParseAddrPort(s)
		if err == nil && !a.Addr().IsUnspecified() && !here(a.Addr()) {
			out = append(out, s)
		}
	}
	return out
}

// interfaceAddrs returns a function that reports whether an address is on an
// interface now. If the system does not tell, all are.
func interfaceAddrs() func(netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return func(netip.Addr) bool { return true }
	}
	var prefixes []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			prefixes = append(prefixes, p)
		}
	}
	return func(a netip.Addr) bool {
		a = a.Unmap().WithZone("")
		for _, p := range prefixes {
			// All of 127.0.0.0/8 is loopback, of others only the address itself.
			if p.Addr() == a || a.Is4() && a.IsLoopback() && p.Contains(a) {
				return true
			}
		}
		return false
	}
}

// listenFault makes of an error from binding a socket one that says what to do.
// flag is the one that says where to listen.
func listenFault(err error, flag string) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = fmt.Sprintf("another program listens there (ss -lunpt shows which); stop it, or choose another port with --%s", flag)
	case errors.Is(err, syscall.EACCES):
		hint = fmt.Sprintf("ports below 1024 need a privilege: give it with"+
			" setcap cap_net_bind_service=+ep $(command -v internaldns), or choose another port with --%s", flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = fmt.Sprintf("this machine does not have the address; choose another with --%s", flag)
	case errors.Is(err, syscall.EAFNOSUPPORT):
		hint = fmt.Sprintf("this machine has no IPv6; choose an IPv4 address, such as 0.0.0.0:53, with --%s", flag)
	default:
		return err
	}
	return fmt.Errorf("%w\n%s", err, hint)
}
