package forward

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/internaldns/internaldns/resolver/forward/upstream"
	"go.uber.org/zap"
)

// Config is what a Forwarder needs. Local and Log must be set. The zero values of
// other fields mean their defaults. Without Upstreams, ResolvConf and Forwards,
// forwarding is off: all but special names are REFUSED.
type Config struct {
	// Upstreams are asked for every name that no Forward covers: the first one
	// that is healthy, and the next one if that does not answer in time.
	Upstreams []Upstream
	// ResolvConf is the path of a resolv.conf(5). If Upstreams is empty, its
	// nameservers are used instead, and it is read again when it changes. An
	// address of Own is left out.
	ResolvConf string
	// Forwards set other upstreams for names at or below a suffix. The longest
	// suffix decides.
	Forwards []Forward

	// Local reports whether name, in wire format and lower case, is at or below
	// the apex of a local zone. Upstreams are never asked for such names, and
	// records of such owners are not believed. It is called from any goroutine.
	Local func(name []byte) bool
	// Own are the addresses that this server listens at. None of them can be an
	// upstream.
	Own []netip.AddrPort
	// Allow are the clients who may use forwarding. Default: DefaultAllow.
	Allow []netip.Prefix

	// MaxInFlight is how many queries may wait for upstreams. Default 10,000:
	// each takes a socket and some 3 kB. At most half of the files that the
	// process may open are sockets to upstreams.
	MaxInFlight int
	// MaxPerSource is how many of them may come from one address. Of a 6PN, that
	// is the /112 around the address, which one machine owns. Default 2,000.
	MaxPerSource int

	// CacheOctets limits the cache, overhead included. Default 64 MiB, which
	// holds some 250,000 names.
	CacheOctets int
	// StaleAfter is how long a client waits for a fresh answer before it gets one
	// that is out of date, if there is one (RFC 8767). Default 300 ms: most names
	// are resolved by then, and clients ask again after 1 s or more.
	StaleAfter time.Duration
	// StaleAge is how long an answer is served after it expired. Default 24 h.
	// Negative: never.
	StaleAge time.Duration

	// RootCAs are the authorities that the certificates of upstreams over TLS
	// are checked against. Default: those of the system.
	RootCAs *x509.CertPool

	Log *zap.Logger

	exchange upstream.Exchanger // of tests; nil: the network
}

// An Upstream is where an upstream server is, and how it is asked.
type Upstream = upstream.Address

// ParseUpstream reads HOST[:PORT] or tls://HOST[:PORT][#NAME]. HOST is an IP
// address. An IPv6 address with a port must be in brackets.
func ParseUpstream(s string) (Upstream, error) { return upstream.ParseAddress(s) }

// A Forward sets the upstreams for names at or below a suffix.
type Forward struct {
	Suffix    Suffix
	Upstreams []Upstream
}

// DefaultAllow are the clients who may use forwarding by default: loopback,
// link-local, private (RFC 1918) and unique local addresses (RFC 4193). A forwarder
// that is open to the Internet is soon used for attacks on others.
var DefaultAllow = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("::1/128"),
}

func (c *Config) setDefaults() {
	if c.Allow == nil {
		c.Allow = DefaultAllow
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = 10_000
	}
	if c.MaxPerSource == 0 {
		c.MaxPerSource = 2_000
	}
	if c.CacheOctets == 0 {
		c.CacheOctets = 64 << 20
	}
	if c.StaleAfter == 0 {
		c.StaleAfter = 300 * time.Millisecond
	}
	if c.StaleAge == 0 {
		c.StaleAge = 24 * time.Hour
	}
}

// validate returns all faults of c, joined.
func (c *Config) validate() error {
	var errs []error
	positive := func(name string, n int) {
		if n <= 0 {
			errs = append(errs, fmt.Errorf("%s: must be positive, got %d", name, n))
		}
	}
	positive("max_in_flight", c.MaxInFlight)
	positive("max_per_source", c.MaxPerSource)
	positive("cache_octets", c.CacheOctets)
	if c.StaleAfter < 0 {
		errs = append(errs, fmt.Errorf("stale_after: must be positive, got %v", c.StaleAfter))
	}
	own := newOwnAddrs(c.Own)
	check := func(name string, upstreams []Upstream) {
		for i, u := range upstreams {
			switch {
			case !u.Addr.IsValid() || u.Addr.Port() == 0 || u.Addr.Addr().IsUnspecified() || u.Addr.Addr().IsMulticast():
				errs = append(errs, fmt.Errorf("%s: %v is not the address of a server", name, u))
			case own.has(u.Addr):
				errs = append(errs, fmt.Errorf("%s: %v is an address that this server listens at", name, u))
			case slices.Contains(upstreams[:i], u):
				errs = append(errs, fmt.Errorf("%s: %v is named twice", name, u))
			}
		}
	}
	check("upstream", c.Upstreams)
	for _, f := range c.Forwards {
		name := "forward " + f.Suffix.String()
		if len(f.Upstreams) == 0 {
			errs = append(errs, fmt.Errorf("%s: has no upstream", name))
		}
		if c.Local(f.Suffix.wire()) {
			errs = append(errs, fmt.Errorf("%s: is in a local zone, and those are never forwarded", name))
		}
		check(name, f.Upstreams)
	}
	return errors.Join(errs...)
}

// ownAddrs are the addresses that this server listens at.
type ownAddrs struct {
	listen []netip.AddrPort
	here   []netip.Addr // of this machine, if one of listen is unspecified
}

func newOwnAddrs(listen []netip.AddrPort) ownAddrs {
	o := ownAddrs{listen: listen}
	if !slices.ContainsFunc(listen, func(a netip.AddrPort) bool { return a.Addr().IsUnspecified() }) {
		return o
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return o // has knows loopback addresses anyway
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			o.here = append(o.here, p.Addr())
		}
	}
	return o
}

// has reports whether a query to a would come back to this server.
func (o ownAddrs) has(a netip.AddrPort) bool {
	addr := a.Addr().Unmap().WithZone("")
	for _, l := range o.listen {
		switch {
		case l.Port() != a.Port():
		case l.Addr().Unmap().WithZone("") == addr:
			return true
		case l.Addr().IsUnspecified() && (l.Addr().Is6() || addr.Is4()) && (addr.IsLoopback() || slices.Contains(o.here, addr)):
			return true
		}
	}
	return false
}
