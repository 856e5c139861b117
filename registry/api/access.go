package api

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/internaldns/internaldns/registry"
)

// A grant is what somebody may see and change: facts of all networks, or of
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

// needAll refuses, of those who have only some networks, what concerns all.
func (g *grant) needAll(what string) error {
	if g.all {
		return nil
	}
	return failf(http.StatusForbidden, "%s takes a token for all networks", what)
}

// admit says who sends r, or why nobody may that way.
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

// byToken says what the token of an Authorization header grants.
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

// unauthorized says that nobody known sent a request.
func unauthorized(why string) *failure {
	f := failf(http.StatusUnauthorized, "%s", why)
	f.challenge = true
	return f
}

// fromBrowser refuses what a page of another site has a browser send. We have no
// pages of our own, so whatever has an origin is such.
func fromBrowser(r *http.Request) error {
	site := r.Header.Get("Sec-Fetch-Site")
	if r.Header["Origin"] != nil || site != "" && site != "none" {
		return failf(http.StatusForbidden, "requests of web pages are refused")
	}
	return nil
}

// notRebound refuses requests without a token that came for a name which could
// be anybody's: a page can make a browser take our address for its own name's
// and so read our answers.
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
	return failf(http.StatusForbidden, "without a token, the server is to be called by its address, localhost or _api.internal, not %s", quote(host))
}

// isLocal reports whether r came over a Unix socket, or from loopback and not
// through a proxy that says so.
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

// network returns the network of the connection that r came by: tcp or unix.
func network(r *http.Request) string {
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return addr.Network()
	}
	return ""
}

// mayWrite refuses events outside of the grant, and ids that are taken where it
// does not reach: the registry would say by whom. It is asked about all writes,
// whatever the routes have checked before.
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

// networksOf returns the networks that an event concerns; network 0, which no
// grant but that of all has, for what concerns all.
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
