package api

import (
	"net/http"

	"github.com/internaldns/internaldns/registry"
)

// networkParam returns the network that the parameter network names, by name or
// prefix, and whether it is given. One that there is not, or that is not for the
// asker, is 0.
func (c *call) networkParam() (registry.Network, bool) {
	v, given := c.query["network"]
	if !given || v[0] == "" {
		return 0, false
	}
	return c.networkNamed(v[0]), true
}

// networkNamed returns the network of a name or prefix, or 0 if there is none or
// it is not for the asker.
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

// networks returns the networks that the request is about: the one that its
// parameter names, else all that are for the asker.
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
// network that the request or its token says, or of a name that is not used
// twice in the networks that are for the asker.
//
// For a write in a network that is said, the app need not be there: whether it is
// is the keeper's to say, which may know of it before we do.
func (c *call) app() (registry.AppKey, error) {
	name := registry.Fold(c.r.PathValue("app"))
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		if n := c.said(); n != 0 {
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
		return registry.AppKey{}, noApp(name)
	case 1:
		return registry.AppKey{Network: found[0], Name: name}, nil
	}
	return registry.AppKey{}, ambiguous("apps", name, found)
}

// said returns the network that the request or its token says, or 0.
func (c *call) said() registry.Network {
	if n, given := c.networkParam(); given {
		return n
	}
	if len(c.who.networks) == 1 {
		return c.who.networks[0]
	}
	return 0
}

// having returns the networks that the request can be about in which there is
// something.
func (c *call) having(something func(registry.Network) bool) (found []registry.Network) {
	for _, n := range c.networks() {
		if something(n) {
			found = append(found, n)
		}
	}
	return found
}

// maxListed bounds how many networks a failure lists.
const maxListed = 100

// ambiguous says that a name alone does not say which object is meant.
func ambiguous(kind, name string, found []registry.Network) error {
	f := failf(http.StatusConflict, "%d networks have %s named %s: say which one with ?network=", len(found), kind, quote(name))
	for _, n := range found[:min(len(found), maxListed)] {
		f.body.Networks = append(f.body.Networks, n.String())
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
