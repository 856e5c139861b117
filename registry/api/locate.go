package api

import (
	"net/http"
	"sync"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api/objects"
)

// networkParam returns the network that the parameter network gives by name or
// prefix, and reports whether it is given. The network is 0 if it does not exist or
// the client may not see it.
func (c *call) networkParam() (registry.Network, bool) {
	v, given := c.query["network"]
	if !given || v[0] == "" {
		return 0, false
	}
	return c.networkNamed(v[0]), true
}

// networkNamed returns the network of a name or prefix; 0 if it does not exist or
// the client may not see it.
func (c *call) networkNamed(s string) registry.Network {
	n, err := registry.ParseNetwork(s)
	if err != nil {
		n, _ = c.snap.NetworkByName(registry.Fold(s))
	}
	if n == 0 || !c.who.sees(n) {
		return 0
	}
	return n
}

// networks returns the networks that the request is about: the one of its
// parameter, or else all that the client may see.
func (c *call) networks() []registry.Network {
	if n, given := c.networkParam(); given {
		if n == 0 {
			return nil
		}
		return []registry.Network{n}
	}
	if !c.who.all {
		return c.who.networks
	}
	var all []registry.Network
	for n := range c.snap.Networks() {
		all = append(all, n.Network)
	}
	return all
}

// app returns the key of the app that the path names. It must be one app: of the
// network that the request or its token gives, or of a name that is used once in
// the networks that the client may see.
//
// For a write in a network that is given, the app need not exist in c.snap: the
// keeper decides, which may know of an app earlier than this server's store.
func (c *call) app() (registry.AppKey, error) {
	name := registry.Fold(c.r.PathValue("app"))
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		if n := c.givenNetwork(); n != 0 {
			return registry.AppKey{Network: n, Name: name}, nil
		}
	}
	find := func() []registry.Network {
		return c.having(func(n registry.Network) bool { return c.snap.App(n, name) != nil })
	}
	var found []registry.Network
	if _, given := c.networkParam(); given || !c.who.all {
		found = find()
	} else {
		found = c.api.names.lookup(c, name, find)
	}
	switch len(found) {
	case 0:
		return registry.AppKey{}, objects.NoApp(name)
	case 1:
		return registry.AppKey{Network: found[0], Name: name}, nil
	}
	return registry.AppKey{}, ambiguous("apps", name, found)
}

// givenNetwork returns the network that the request or its token gives, or 0.
func (c *call) givenNetwork() registry.Network {
	if n, given := c.networkParam(); given {
		return n
	}
	if len(c.who.networks) == 1 {
		return c.who.networks[0]
	}
	return 0
}

// having returns those networks that the request is about for which has is true.
func (c *call) having(has func(registry.Network) bool) (found []registry.Network) {
	for _, n := range c.networks() {
		if has(n) {
			found = append(found, n)
		}
	}
	return found
}

// maxListed bounds how many networks a failure lists.
const maxListed = 100

// ambiguous returns the failure of a request whose name several objects have.
func ambiguous(kind, name string, found []registry.Network) error {
	f := failf(http.StatusConflict, "%d networks have %s named %s: say which one with ?network=", len(found), kind, registry.Quote(name))
	for _, n := range found[:min(len(found), maxListed)] {
		f.Body.Networks = append(f.Body.Networks, n.String())
	}
	return f
}

// networkLabel returns the name of a network, or its prefix if it has none.
func (c *call) networkLabel(n registry.Network) string {
	if name := c.snap.NetworkName(n); name != "" {
		return name
	}
	return n.String()
}

// A nameCache remembers which networks have an app of a name. It is for clients
// that may see all networks and do not give one: a look at each of 100,000 networks
// takes 35 ms.
type nameCache struct {
	mu       sync.Mutex
	apps     uint64 // Feed.Apps when the names were found; if it has changed, they are not valid
	networks map[string][]registry.Network
}

// maxNames bounds how many names are remembered.
const maxNames = 4096

// lookup returns the networks in which c.snap has an app of that name. find looks in
// all of them.
func (n *nameCache) lookup(c *call, name string, find func() []registry.Network) []registry.Network {
	// The store is read after Apps. A commit is visible before Apps counts it, so
	// what find returns is valid as long as Apps does not change.
	apps := c.api.Feed.Apps()
	n.mu.Lock()
	if n.networks == nil || n.apps != apps || len(n.networks) >= maxNames {
		n.apps, n.networks = apps, make(map[string][]registry.Network)
	}
	known := n.networks[name]
	n.mu.Unlock()
	if known != nil {
		return keep(known, func(n registry.Network) bool { return c.snap.App(n, name) != nil })
	}

	c.snap = c.api.Store.Snapshot()
	c.setIndex(c.snap.Index)
	found := find()
	if len(found) > 0 {
		n.mu.Lock()
		if n.apps == apps {
			n.networks[name] = found
		}
		n.mu.Unlock()
	}
	return found
}
