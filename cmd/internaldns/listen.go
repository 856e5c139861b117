package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"go.uber.org/zap"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api"
	"github.com/internaldns/internaldns/resolver"
	"github.com/internaldns/internaldns/resolver/forward"
)

// The addresses at which queries are answered by default: with a registry, port 53 of every
// address; with the sample, a port of loopback, which needs no privilege and is closed to
// other hosts.
var (
	defaultListen = []string{"[::]:53"}
	sampleListen  = []string{"[::1]:5300", "127.0.0.1:5300"}
)

// bind binds all sockets, and makes the forwarder, which needs their addresses. If one of
// these fails, it closes the others. The admin listener and the API are nil if they are off.
func (s *server) bind() (*resolver.Server, *admin, *api.Server, error) {
	var late lateForwarder
	resolver, fault := s.listen(&late)
	api, apiFault := s.listenAPI()
	admin, adminFault := s.listenAdmin()
	err := s.cure(fault, apiFault, adminFault)
	if err == nil {
		s.addrs = resolver.Addrs()
		err = s.newForwarder(&late)
	}
	if err == nil {
		s.scrape.MustRegister(s.collectors()...)
		if api != nil {
			s.apiAddr = api.Addr()
		}
		return resolver, admin, api, nil
	}
	if resolver != nil {
		resolver.Close()
	}
	if admin != nil {
		admin.listener.Close()
	}
	if api != nil {
		api.Close()
	}
	return nil, nil, nil, err
}

// cure joins the faults. If one command line avoids all of them, it adds that line.
func (s *server) cure(faults ...*listenFault) error {
	var errs []error
	line, cured := s.retype, s.retype != ""
	for _, f := range faults {
		if f != nil {
			errs = append(errs, f)
			line += " " + f.remedy
			cured = cured && f.remedy != ""
		}
	}
	if cured && len(errs) > 0 {
		errs = append(errs, errors.New("to start it all the same, type: "+line))
	}
	return errors.Join(errs...)
}

// bound returns the addresses of the sockets, for the log.
func bound(resolver *resolver.Server, admin *admin, api *api.Server) []zap.Field {
	fields := []zap.Field{zap.Stringers("dns", resolver.Addrs())}
	if admin != nil {
		fields = append(fields, zap.String("admin", admin.addr()))
	}
	if api != nil {
		fields = append(fields, zap.String("api", api.Addr()))
	}
	return fields
}

// listen binds the sockets for queries. The resolver forwards through late.
func (s *server) listen(late *lateForwarder) (*resolver.Server, *listenFault) {
	here := interfaceAddrs()
	listen, skipped := s.config.listenOn(here)
	for _, addr := range skipped {
		s.log.Warn("this machine does not have the address, so it is left out", zap.String("listen", addr))
	}
	for _, addr := range absent(listen, here) {
		s.log.Warn("the address is on no interface; queries are answered once it is", zap.String("listen", addr))
	}
	c := resolver.Config{Listen: listen, Zone: s.publisher, Metrics: &s.dns, MaxUDPSize: s.config.MaxUDPSize, ReniceOthers: true, Log: s.log}
	if s.config.forwards() {
		c.Forward = late
	}
	srv, err := resolver.Listen(c)
	if err != nil {
		return nil, newListenFault(err, "listen", listen...)
	}
	return srv, nil
}

// listenAdmin binds the admin listener. It returns nil if that is off.
func (s *server) listenAdmin() (*admin, *listenFault) {
	if s.config.Admin == off {
		return nil, nil
	}
	pages := adminPages{ready: s.notReady, scrape: s.scrape, status: s.status}
	if s.config.forwards() {
		pages.flush = func(name forward.Suffix, below bool) int { return s.forwarder.Flush(name, below) }
	}
	a, err := listenAdmin(s.config.Admin, pages)
	if err != nil {
		return nil, newListenFault(fmt.Errorf("admin: %w", err), "admin", s.config.Admin)
	}
	return a, nil
}

// listenAPI binds the API's address. It returns nil if the API is off.
func (s *server) listenAPI() (*api.Server, *listenFault) {
	c := &s.config
	if c.API == off {
		return nil, nil
	}
	fault := func(err error) *listenFault { return &listenFault{err: err} }
	config := api.Config{
		Store: s.store, Keeper: s.keeper, Feed: &s.feed, Ready: s.loading, Local: c.APILocal, Region: registry.Fold(c.Region), Log: s.log,
	}
	if c.APITokens != "" {
		tokens, err := api.ReadTokens(c.APITokens, s.log)
		if err != nil {
			return nil, fault(fmt.Errorf("api_tokens: %w", err))
		}
		config.Tokens = tokens
		s.followed = append(s.followed, tokens.Follower)
	}
	listen := api.ListenConfig{Address: c.API}
	if c.APICert != "" {
		cert, err := s.certificate("api_cert", c.APICert, c.APIKey)
		if err != nil {
			return nil, fault(err)
		}
		listen.TLS = &tls.Config{GetCertificate: cert.toClients}
	}
	a, err := api.New(config)
	if err != nil {
		return nil, fault(err)
	}
	s.api = a
	server, err := a.Listen(listen)
	if err != nil {
		return nil, newListenFault(fmt.Errorf("api: %w", err), "api", c.API)
	}
	return server, nil
}

// listenOn returns the addresses at which queries are answered. here reports whether the
// machine has an address. skipped are addresses of the sample that it lacks, such as [::1]
// if IPv6 is turned off.
func (c *config) listenOn(here func(netip.Addr) bool) (listen, skipped []string) {
	switch {
	case len(c.Listen) > 0:
		for _, s := range c.Listen {
			if strings.HasPrefix(s, ":") {
				s = "[::]" + s // an empty host is every address
			}
			listen = append(listen, s)
		}
		return listen, nil
	case c.Registry != "" || c.kept():
		return defaultListen, nil
	}
	for _, s := range sampleListen {
		if here(netip.MustParseAddrPort(s).Addr()) {
			listen = append(listen, s)
		} else {
			skipped = append(skipped, s)
		}
	}
	if len(listen) == 0 { // not even loopback is up yet
		return sampleListen, nil
	}
	return listen, skipped
}

// absent returns the addresses of listen that are on no interface. Sockets can be bound to
// them, but queries arrive only once an interface has the address.
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

// interfaceAddrs returns a function that reports whether an address is on an interface now.
// If the system does not list addresses, it reports true.
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

// A listenFault reports that sockets could not be bound.
type listenFault struct {
	err error
	// remedy is a flag and its value with which the program would start; "" if none is
	// known.
	remedy string
	hint   string // what the user can do; "" if that is not known
}

func (f *listenFault) Error() string {
	if f.hint == "" {
		return f.err.Error()
	}
	return f.err.Error() + "\n" + f.hint
}

func (f *listenFault) Unwrap() error { return f.err }

// newListenFault returns err, which is from binding sockets at addrs, and what the user can do
// about it. flag is the name of the flag that sets the addresses.
func newListenFault(err error, flag string, addrs ...string) *listenFault {
	f := &listenFault{err: err}
	another := "--" + flag
	if elsewhere := elsewhere(flag, addrs); elsewhere != "" {
		another += " " + elsewhere
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		f.hint = "another program listens there (ss -lunpt shows which); stop it, or choose another port with " + another
	case errors.Is(err, syscall.EACCES):
		f.hint = fmt.Sprintf("ports below 1024 need a privilege: give it with"+
			" sudo setcap cap_net_bind_service=+ep %s, or choose another port with %s", executable(), another)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		f.hint = fmt.Sprintf("this machine does not have the address; choose another with --%s", flag)
		return f
	case errors.Is(err, syscall.EAFNOSUPPORT):
		another = "--" + flag + " 0.0.0.0:53"
		f.hint = "this machine has no IPv6; choose an IPv4 address with " + another
	}
	if f.hint != "" && strings.Contains(another, " ") {
		f.remedy = another
	}
	return f
}

// elsewhere returns the same address with another port, quoted for a shell: the next port, or
// one that needs no privilege. If there are several addresses, other than the sample's, it
// returns "", because it does not know which of them failed.
func elsewhere(flag string, addrs []string) string {
	if len(addrs) != 1 && !slices.Equal(addrs, sampleListen) {
		return ""
	}
	a, err := netip.ParseAddrPort(addrs[len(addrs)-1])
	if err != nil {
		return ""
	}
	port := a.Port() + 1
	if a.Port() < 1024 || port == 0 {
		unprivileged := sampleListen[0]
		switch flag {
		case "admin":
			unprivileged = findSetting(flag).def
		case "api":
			unprivileged = "[::1]:4280"
		}
		port = netip.MustParseAddrPort(unprivileged).Port()
	}
	s := netip.AddrPortFrom(a.Addr(), port).String()
	if a.Addr().Is6() {
		return `"` + s + `"`
	}
	return s
}
