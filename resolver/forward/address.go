package forward

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// Ports of upstreams that name none (RFC 1035, Section 4.2; RFC 7858, Section
// 3.1).
const (
	portDNS = 53
	portTLS = 853
)

// An Upstream is where a server is and how it is asked. Upstreams that are == are
// the same.
type Upstream struct {
	Addr netip.AddrPort
	// TLS asks over TLS only (RFC 7858). The certificate must be good for Name,
	// or for the address if Name is empty.
	TLS  bool
	Name string
}

// ParseUpstream reads HOST[:PORT] or tls://HOST[:PORT][#NAME], where HOST is an
// IP address; with a port, IPv6 addresses stand in brackets.
func ParseUpstream(s string) (Upstream, error) {
	rest, overTLS := strings.CutPrefix(s, "tls://")
	u := Upstream{TLS: overTLS}
	port := uint16(portDNS)
	if overTLS {
		var named bool
		port = portTLS
		rest, u.Name, named = strings.Cut(rest, "#")
		if _, ok := dns.IsDomainName(u.Name); named && (u.Name == "" || !ok) {
			return Upstream{}, fmt.Errorf("%q: what follows # is not the name of a server", s)
		}
		u.Name = strings.ToLower(strings.TrimSuffix(u.Name, "."))
	}
	if addr, err := netip.ParseAddrPort(rest); err == nil {
		if addr.Port() == 0 {
			return Upstream{}, fmt.Errorf("%q: no server is at port 0", s)
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
		return Upstream{}, fmt.Errorf("%q: not an IP address, or one and a port; names cannot be looked up before there is an upstream", s)
	}
	u.Addr = netip.AddrPortFrom(addr.Unmap(), port)
	return u, nil
}

// String returns u as ParseUpstream reads it.
func (u Upstream) String() string {
	switch {
	case u.TLS && u.Name != "":
		return "tls://" + u.Addr.String() + "#" + u.Name
	case u.TLS:
		return "tls://" + u.Addr.String()
	}
	return u.Addr.String()
}

// A Suffix is a domain name, and stands for every name at or below it. Suffixes
// that are == are the same.
type Suffix struct{ name string } // in wire format and lower case

// ParseSuffix reads a domain name, with or without its last dot.
func ParseSuffix(s string) (Suffix, error) {
	var buf [255]byte
	if s == "" {
		return Suffix{}, errors.New(`a domain name cannot be empty; the root is "."`)
	}
	n, err := dns.PackDomainName(dns.CanonicalName(s), buf[:], 0, nil, false)
	if err != nil {
		return Suffix{}, fmt.Errorf("%q is not a domain name", s)
	}
	return Suffix{string(buf[:n])}, nil
}

// ParseForward reads SUFFIX=UPSTREAM[,UPSTREAM]….
func ParseForward(s string) (Forward, error) {
	name, list, ok := strings.Cut(s, "=")
	if !ok {
		return Forward{}, fmt.Errorf("%q: want SUFFIX=UPSTREAM, such as corp.example=10.0.0.53", s)
	}
	suffix, err := ParseSuffix(name)
	if err != nil {
		return Forward{}, err
	}
	f := Forward{Suffix: suffix}
	for item := range strings.SplitSeq(list, ",") {
		u, err := ParseUpstream(item)
		if err != nil {
			return Forward{}, err
		}
		f.Upstreams = append(f.Upstreams, u)
	}
	return f, nil
}

// String returns the name with its last dot.
func (s Suffix) String() string {
	name, _, err := dns.UnpackDomainName([]byte(s.name), 0)
	if err != nil {
		return "."
	}
	return name
}

func (s Suffix) wire() []byte { return []byte(s.name) }
