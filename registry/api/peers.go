package api

import (
	"net/http"

	"github.com/internaldns/internaldns/registry"
)

type peerBody struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Region  string `json:"region,omitzero"`
	Network string `json:"network"`
}

func (c *call) peerBody(p *registry.Peer) peerBody {
	return peerBody{p.Name, p.Address.String(), p.Region, p.Network().String()}
}

// listPeers is GET /v1/peers.
func (c *call) listPeers() error {
	return list(c, `{"peers":[`, func(yield func(peerBody) bool) {
		for _, n := range c.networks() {
			for p := range c.snap.PeersIn(n) {
				if !yield(c.peerBody(p)) {
					return
				}
			}
		}
	})
}

// peer returns the peer of the path: one of the network that the request or its
// token says, or of a name that is not used twice.
func (c *call) peer() (*registry.Peer, error) {
	name := registry.Fold(c.r.PathValue("name"))
	found := c.having(func(n registry.Network) bool { return c.snap.Peer(n, name) != nil })
	switch len(found) {
	case 0:
		return nil, noPeer(name)
	case 1:
		return c.snap.Peer(found[0], name), nil
	}
	return nil, ambiguous("peers", name, found)
}

func noPeer(name string) error { return failf(http.StatusNotFound, "peer %s not found", quote(name)) }

// getPeer is GET /v1/peers/{name}.
func (c *call) getPeer() error {
	p, err := c.peer()
	if err != nil {
		return err
	}
	c.etag(p.Modified)
	return c.answer(http.StatusOK, c.peerBody(p))
}

// putPeer is PUT /v1/peers/{name}. The peer is one of the network of its address.
func (c *call) putPeer() error {
	p := registry.Peer{Name: registry.Fold(c.r.PathValue("name"))}
	f, err := c.readForm(p.String())
	if err != nil {
		return err
	}
	if name := f.text("name"); name != "" && registry.Fold(name) != p.Name {
		f.faultf("name", "%s is not the name of the path", quote(name))
	}
	p.Address, p.Region = f.address("address"), registry.Fold(f.text("region"))
	said := f.text("network")
	f.none()
	if p.Address.IsValid() {
		f.check(registry.Facts{Peers: []registry.Peer{p}})
	}
	if n, given := c.networkParam(); given && p.Address.IsValid() && n != p.Network() {
		f.faultf("address", "%v is outside the network that the request names", p.Address)
	}
	if said != "" && p.Address.IsValid() && said != p.Network().String() {
		f.faultf("network", "%s is not the network of the address", quote(said))
	}
	if err := f.err(); err != nil {
		return err
	}
	cond, err := c.precondition()
	if err != nil {
		return err
	}
	created := false
	err = c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		old := c.visiblePeer(s, p.Network(), p.Name)
		if err := cond.checkPeer(old); err != nil {
			return w, err
		}
		created = old == nil
		w.Events = []registry.Event{registry.Put(&p)}
		return w, nil
	})
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return c.answer(status, c.peerBody(&p))
}

// visiblePeer returns a peer of a network that is for the asker, or nil.
func (c *call) visiblePeer(s *registry.Snapshot, n registry.Network, name string) *registry.Peer {
	if !c.who.sees(n) {
		return nil
	}
	return s.Peer(n, name)
}

func (p precondition) checkPeer(o *registry.Peer) error {
	if o == nil {
		return p.check(false, 0)
	}
	return p.check(true, o.Modified)
}

// deletePeer is DELETE /v1/peers/{name}.
func (c *call) deletePeer() error {
	p, err := c.peer()
	if err != nil {
		return err
	}
	cond, err := c.precondition()
	if err != nil {
		return err
	}
	network, name := p.Network(), p.Name
	err = c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		old := s.Peer(network, name)
		if err := cond.checkPeer(old); err != nil {
			return w, err
		}
		if old == nil {
			return w, noPeer(name)
		}
		w.Events = []registry.Event{registry.Delete(registry.Key{Kind: registry.KindPeer, Network: network, Name: name})}
		return w, nil
	})
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
