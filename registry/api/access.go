package api

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api/objects"
)

// A grant says which facts a client may see and change: those of all networks, or of
// some.
type grant struct {
	all      bool
	networks []registry.Network
	token    *token // nil without one
}

// sees reports whether the facts of n are in the grant.
func (g *grant) sees(n registry.Network) bool {
	return g.all || slices.Contains(g.networks, n)
}

// needAll refuses a request that concerns all networks if the grant is for some.
func (g *grant) needAll(what string) error {
	if g.all {
		return nil
	}
	return failf(http.StatusForbidden, "%s takes a token for all networks", what)
}

// admit returns the grant of the client that sends r.
func (a *API) admit(r *http.Request) (*grant, error) {
	if err := fromBrowser(r); err != nil {
		return nil, err
	}
	if auth, given := r.Header["Authorization"]; given {
		return a.byToken(auth)
	}
	if !a.Local || !isLocal(r) {
		return nil, unauthorized("a bearer token is required")
	}
	return &grant{all: true}, notRebound(r)
}

// byToken returns the grant of the token in an Authorization header.
func (a *API) byToken(auth []string) (*grant, error) {
	// Fly's clients name the scheme of some of their tokens FlyV1.
	scheme, secret, _ := strings.Cut(auth[0], " ")
	if len(auth) > 1 || !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "FlyV1") {
		return nil, unauthorized("want Authorization: Bearer TOKEN")
	}
	if a.Tokens == nil {
		return nil, unauthorized("the token is not known")
	}
	g := a.Tokens.grant(strings.TrimSpace(secret))
	if g == nil {
		return nil, unauthorized("the token is not known")
	}
	return g, nil
}

// unauthorized returns the failure of a request of an unknown client.
func unauthorized(why string) *objects.Failure {
	f := failf(http.StatusUnauthorized, "%s", why)
	f.Challenge = true
	return f
}

// fromBrowser refuses requests that a web page has a browser send. The API has no
// pages, so every request with an origin comes from another site.
func fromBrowser(r *http.Request) error {
	site := r.Header.Get("Sec-Fetch-Site")
	if r.Header["Origin"] != nil || site != "" && site != "none" {
		return failf(http.StatusForbidden, "requests of web pages are refused")
	}
	return nil
}

// notRebound refuses requests without a token that were sent to a name which a
// stranger may own: the page of such a name can make a browser resolve it to the
// server's address, and read the responses (DNS rebinding).
func notRebound(r *http.Request) error {
	if network(r) == "unix" {
		return nil
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	if _, err := netip.ParseAddr(host); err == nil || strings.EqualFold(host, "localhost") || strings.EqualFold(host, "_api.internal") {
		return nil
	}
	return failf(http.StatusForbidden, "without a token, the server is to be called by its address, localhost or _api.internal, not %s", registry.Quote(host))
}

// isLocal reports whether r came over a Unix socket, or from loopback without a
// header that a proxy adds.
func isLocal(r *http.Request) bool {
	if r.Header["Forwarded"] != nil || r.Header["X-Forwarded-For"] != nil {
		return false
	}
	if network(r) == "unix" {
		return true
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && from.Addr().Unmap().IsLoopback()
}

// network returns the network of r's connection: tcp or unix.
func network(r *http.Request) string {
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return addr.Network()
	}
	return ""
}

// mayWrite refuses events outside the grant. It also refuses ids that machines
// outside the grant have, because the registry's fault would name the machine.
// write calls it for every write, whatever the routes have checked before.
func (g *grant) mayWrite(s *registry.Snapshot, events []registry.Event) error {
	if g.all {
		return nil
	}
	var faults registry.Faults
	for _, e := range events {
		for _, n := range networksOf(e) {
			if !g.sees(n) {
				return failf(http.StatusForbidden, "the token is not for %v", n)
			}
		}
		if m, ok := e.Fact.(*registry.Machine); ok && !e.Delete && !m.Gone() {
			if o := s.Machine(m.ID); o != nil && !g.sees(o.Network) {
				faults = append(faults, registry.Fault{Object: m.String(), Field: "id", Problem: "is already another machine's id"})
			}
		}
	}
	return faults.Err()
}

// covers reports whether all networks that an event concerns are in the grant.
func (g *grant) covers(e registry.Event) bool {
	return !slices.ContainsFunc(networksOf(e), func(n registry.Network) bool { return !g.sees(n) })
}

// networksOf returns the networks that an event concerns. Network 0 stands for all:
// only a grant for all networks has it.
func networksOf(e registry.Event) []registry.Network {
	k := e.Fact.Key()
	if k.Kind == registry.KindNetwork {
		return []registry.Network{0} // names are unique among all networks
	}
	if f, ok := e.Fact.(*registry.Flycast); ok && !e.Delete {
		return []registry.Network{k.In(), f.Owner}
	}
	return []registry.Network{k.In()}
}
