package api

import (
	"net/http"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api/objects"
)

type peerBody struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Region  string `json:"region,omitzero"`
	Network string `json:"network"`
}

func newPeerBody(p *registry.Peer) peerBody {
	return peerBody{p.Name, p.Address.String(), p.Region, p.Network().String()}
}

// listPeers is GET /v1/peers.
func (c *call) listPeers() error {
	return list(c, `{"peers":[`, func(yield func(peerBody) bool) {
		for _, n := range c.networks() {
			for p := range c.snap.PeersIn(n) {
				if !yield(newPeerBody(p)) {
					return
				}
			}
		}
	})
}

// peer returns the peer that the path names. It must be one: of the network that
// the request or its token gives, or of a name that is used once in the networks
// that the client may see.
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

func noPeer(name string) error {
	return failf(http.StatusNotFound, "peer %s not found", registry.Quote(name))
}

// getPeer is GET /v1/peers/{name}.
func (c *call) getPeer() error {
	p, err := c.peer()
	if err != nil {
		return err
	}
	c.etag(p.Modified)
	return c.answer(http.StatusOK, newPeerBody(p))
}

// checkPeer checks the precondition of a write to a peer, or to none if o is nil.
func checkPeer(p objects.Precondition, o *registry.Peer) error {
	if o == nil {
		return p.Check(false, 0)
	}
	return p.Check(true, o.Modified)
}

// putPeer is PUT /v1/peers/{name}. The peer is in the network of its address.
func (c *call) putPeer() error {
	p := registry.Peer{Name: registry.Fold(c.r.PathValue("name"))}
	f, err := c.readForm(p.String())
	if err != nil {
		return err
	}
	f.SameName(p.Name)
	p.Address, p.Region = f.Address("address"), registry.Fold(f.String("region"))
	network := f.String("network")
	f.End()
	if p.Address.IsValid() {
		f.Check(registry.Facts{Peers: []registry.Peer{p}})
	}
	if n, given := c.networkParam(); given && p.Address.IsValid() && n != p.Network() {
		f.Faultf("address", "%v is outside the network that the request names", p.Address)
	}
	if network != "" && p.Address.IsValid() && network != p.Network().String() {
		f.Faultf("network", "%s is not the network of the address", registry.Quote(network))
	}
	if err := f.Faults.Err(); err != nil {
		return err
	}
	cond, err := c.precondition()
	if err != nil {
		return err
	}
	created := false
	err = c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		var old *registry.Peer
		if c.who.sees(p.Network()) {
			old = s.Peer(p.Network(), p.Name)
		}
		if err := checkPeer(cond, old); err != nil {
			return w, err
		}
		created = old == nil
		w.Events = []registry.Event{registry.Put(&p)}
		return w, nil
	})
	if err != nil {
		return err
	}
	return c.answer(okOrCreated(created), newPeerBody(&p))
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
	k := p.Key()
	return c.done(http.StatusNoContent, c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		old := s.Peer(k.Network, k.Name)
		if err := checkPeer(cond, old); err != nil {
			return w, err
		}
		if old == nil {
			return w, noPeer(k.Name)
		}
		w.Events = []registry.Event{registry.Delete(k)}
		return w, nil
	}))
}
