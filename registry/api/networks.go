package api

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api/objects"
)

type networkBody struct {
	Name   string `json:"name,omitzero"`
	Prefix string `json:"prefix"`
	// Index is that of the last commit that changed an answer in the network.
	Index uint64 `json:"index"`
}

func (c *call) networkBody(n registry.Network) networkBody {
	return networkBody{c.snap.NetworkName(n), n.String(), c.snap.NetworkIndex(n)}
}

// listNetworks is GET /v1/networks.
func (c *call) listNetworks() error {
	return list(c, `{"networks":[`, func(yield func(networkBody) bool) {
		for _, n := range c.networks() {
			if !yield(c.networkBody(n)) {
				return
			}
		}
	})
}

// network returns the network that the path gives by name or prefix. It has a name
// or facts.
func (c *call) network() (registry.Network, error) {
	text := c.r.PathValue("name")
	n := c.networkNamed(text)
	if n == 0 || !c.snap.Known(n) {
		return 0, noNetwork(text)
	}
	return n, nil
}

func noNetwork(name string) error {
	return failf(http.StatusNotFound, "network %s not found", registry.Quote(name))
}

// getNetwork is GET /v1/networks/{name}.
func (c *call) getNetwork() error {
	n, err := c.network()
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", nameTag(c.snap.NetworkName(n)))
	return c.answer(http.StatusOK, c.networkBody(n))
}

// nameTag is the ETag of a network's name. It holds the name, because no index is
// stored for it.
func nameTag(name string) string { return `"name:` + name + `"` }

// checkName checks the precondition of a write to a network's name; "" if it has
// none. Unlike with objects, an If-Match must be exactly the ETag.
func (c *call) checkName(name string) error {
	header := c.r.Header
	if match, given := header["If-Match"]; given {
		switch {
		case len(match) != 1 || match[0] != "*" && (len(match[0]) < 2 || match[0][:1] != `"`):
			return failf(http.StatusBadRequest, "If-Match must be the ETag of the network or *, got %s", registry.Quote(match[0]))
		case name == "":
			return failf(http.StatusPreconditionFailed, "it does not exist, or not any more")
		case match[0] != "*" && match[0] != nameTag(name):
			return failf(http.StatusPreconditionFailed, "it was changed since: its name is %s", registry.Quote(name))
		}
	}
	if none, given := header["If-None-Match"]; given {
		switch {
		case len(none) != 1 || none[0] != "*":
			return failf(http.StatusBadRequest, "If-None-Match must be *, got %s", registry.Quote(none[0]))
		case name != "":
			return failf(http.StatusPreconditionFailed, "it exists already")
		}
	}
	return nil
}

// putNetwork is PUT /v1/networks/{name}: it names the network of a prefix, or
// allocates one. If-Match and If-None-Match are about the network that has the
// name, or, if none has it, the one that gets it.
func (c *call) putNetwork() error {
	if err := c.who.needAll("naming a network"); err != nil {
		return err
	}
	name := registry.NetworkName{Name: registry.Fold(c.r.PathValue("name"))}
	f, err := c.readForm("network " + registry.Quote(name.Name))
	if err != nil {
		return err
	}
	f.SameName(name.Name)
	if prefix := f.String("prefix"); prefix != "" {
		if name.Network, err = registry.ParseNetwork(prefix); err != nil {
			f.Faultf("prefix", "%v", err)
		}
	}
	f.Take("index") // GET shows it
	f.End()
	f.Check(registry.Facts{Networks: []registry.NetworkName{{Network: max(name.Network, 1), Name: name.Name}}})
	if err := f.Faults.Err(); err != nil {
		return err
	}
	wanted, created := name.Network, false
	err = c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		holder, is := s.NetworkByName(name.Name)
		name.Network = wanted
		switch {
		case wanted == 0 && is:
			name.Network = holder
		case wanted == 0:
			name.Network, err = objects.NewNetwork(s)
		case is && holder != wanted:
			return w, failf(http.StatusConflict, "%s is the name of %v: delete it there first", registry.Quote(name.Name), holder)
		}
		if err != nil {
			return w, err
		}
		before := s.NetworkName(name.Network)
		if err := c.checkName(before); err != nil {
			return w, err
		}
		created = before == ""
		w.Events = []registry.Event{registry.Put(&name)}
		return w, nil
	})
	if err != nil {
		return err
	}
	c.snap = c.api.Store.Snapshot()
	return c.answer(okOrCreated(created), networkBody{name.Name, name.Network.String(), c.snap.NetworkIndex(name.Network)})
}

// deleteNetwork is DELETE /v1/networks/{name}: it deletes the name. The network's
// apps stay.
func (c *call) deleteNetwork() error {
	if err := c.who.needAll("taking a network's name"); err != nil {
		return err
	}
	n, err := c.network()
	if err != nil {
		return err
	}
	return c.done(http.StatusNoContent, c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		name := s.NetworkName(n)
		if err := c.checkName(name); err != nil {
			return w, err
		}
		if name == "" {
			return w, noNetwork(c.r.PathValue("name"))
		}
		w.Events = []registry.Event{registry.Delete(registry.Key{Kind: registry.KindNetwork, Network: n})}
		return w, nil
	}))
}

// A regionBody is a region as Fly's API shows it, with the fields by which clients
// choose one.
type regionBody struct {
	Code             string  `json:"code"`
	Name             string  `json:"name"`
	Latitude         float64 `json:"latitude"`
	Longitude        float64 `json:"longitude"`
	GatewayAvailable bool    `json:"gateway_available"`
	RequiresPaidPlan bool    `json:"requires_paid_plan"`
	Deprecated       bool    `json:"deprecated"`
}

// listRegions is GET /v1/platform/regions. The nearest is the client's own region,
// or else the server's.
func (c *call) listRegions() error {
	all := maps.Clone(registry.BuiltinRegions())
	for r := range c.snap.Regions() {
		all[r.Code] = *r
	}
	regions := make([]regionBody, 0, len(all))
	for _, r := range all {
		regions = append(regions, regionBody{
			Code: r.Code, Name: r.Name, Latitude: r.Latitude, Longitude: r.Longitude, GatewayAvailable: true,
		})
	}
	slices.SortFunc(regions, func(a, b regionBody) int { return strings.Compare(a.Code, b.Code) })
	return c.answer(http.StatusOK, struct {
		Regions []regionBody `json:"Regions"`
		Nearest string       `json:"Nearest"`
	}{regions, c.region()})
}
