package upstream

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// Default ports (RFC 1035, Section 4.2; RFC 7858, Section 3.1).
const (
	PortDNS = 53
	portTLS = 853
)

// An Address is where an upstream server is, and how it is asked. Addresses that
// are == are the same server.
type Address struct {
	Addr netip.AddrPort
	// TLS is set for servers that are asked over TLS only (RFC 7858). The
	// certificate must be valid for Name, or for the address if Name is empty.
	TLS  bool
	Name string
}

// ParseAddress reads HOST[:PORT] or tls://HOST[:PORT][#NAME]. HOST is an IP
// address. An IPv6 address with a port must be in brackets.
func ParseAddress(s string) (Address, error) {
	rest, overTLS := strings.CutPrefix(s, "tls://")
	u := Address{TLS: overTLS}
	port := uint16(PortDNS)
	if overTLS {
		var named bool
		port = portTLS
		rest, u.Name, named = strings.Cut(rest, "#")
		if _, ok := dns.IsDomainName(u.Name); named && (u.Name == "" || !ok) {
			return Address{}, fmt.Errorf("%q: what follows # is not the name of a server", s)
		}
		u.Name = strings.ToLower(strings.TrimSuffix(u.Name, "."))
	}
	if addr, err := netip.ParseAddrPort(rest); err == nil {
		if addr.Port() == 0 {
			return Address{}, fmt.Errorf("%q: no server is at port 0", s)
		}
		u.Addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
		return u, nil
	}
	host := rest
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return Address{}, fmt.Errorf("%q: not an IP address, or one and a port; names cannot be looked up before there is an upstream", s)
	}
	u.Addr = netip.AddrPortFrom(addr.Unmap(), port)
	return u, nil
}

// String returns u in the form that ParseAddress reads.
func (u Address) String() string {
	switch {
	case u.TLS && u.Name != "":
		return "tls://" + u.Addr.String() + "#" + u.Name
	case u.TLS:
		return "tls://" + u.Addr.String()
	}
	return u.Addr.String()
}
