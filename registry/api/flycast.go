package api

import (
	"net/http"
	"net/netip"

	"github.com/internaldns/internaldns/registry"
)

type flycastBody struct {
	Address string `json:"address"`
	App     string `json:"app"`
	Network string `json:"network"` // in which the address is seen, which may be another than the app's
}

func newFlycastBody(f *registry.Flycast) flycastBody {
	return flycastBody{f.Address.String(), f.App, f.Network().String()}
}

// listFlycast is GET /v1/apps/{app}/flycast.
func (c *call) listFlycast() error {
	k, err := c.app()
	if err != nil {
		return err
	}
	addresses := []flycastBody{}
	for f := range c.snap.FlycastOf(c.snap.App(k.Network, k.Name)) {
		addresses = append(addresses, newFlycastBody(f))
	}
	return c.answer(http.StatusOK, struct {
		Flycast []flycastBody `json:"flycast"`
	}{addresses})
}

// flycastAt returns the app and the address of the path.
func (c *call) flycastAt() (registry.AppKey, netip.Addr, error) {
	k, err := c.app()
	if err != nil {
		return k, netip.Addr{}, err
	}
	text := c.r.PathValue("address")
	addr, err := netip.ParseAddr(text)
	if err != nil {
		err = failf(http.StatusBadRequest, "%s is no address", quote(text))
	}
	return k, addr, err
}

// flycastOf returns an address if it is the app's, or nil.
func flycastOf(s *registry.Snapshot, k registry.AppKey, addr netip.Addr) *registry.Flycast {
	f := s.FlycastAt(addr)
	if f == nil || f.Owner != k.Network || f.App != k.Name {
		return nil
	}
	return f
}

// checkFlycast checks a precondition. Addresses do not know when they were put;
// but what is not newer than the last change of their network is not newer than
// they are.
func (p precondition) checkFlycast(s *registry.Snapshot, f *registry.Flycast) error {
	if f == nil {
		return p.check(false, 0)
	}
	return p.check(true, s.NetworkIndex(f.Network()))
}

func noFlycast(addr netip.Addr) error {
	return failf(http.StatusNotFound, "flycast address %v not found", addr)
}

// getFlycast is GET /v1/apps/{app}/flycast/{address}.
func (c *call) getFlycast() error {
	k, addr, err := c.flycastAt()
	if err != nil {
		return err
	}
	f := flycastOf(c.snap, k, addr)
	if f == nil {
		return noFlycast(addr)
	}
	c.etag(c.snap.NetworkIndex(f.Network()))
	return c.answer(http.StatusOK, newFlycastBody(f))
}

// createFlycast is POST /v1/apps/{app}/flycast: an address that is free.
func (c *call) createFlycast() error {
	k, err := c.app()
	if err != nil {
		return err
	}
	form, err := c.readForm("flycast")
	if err != nil {
		return err
	}
	network := k.Network
	if wanted := form.text("network"); wanted != "" {
		if network = c.networkNamed(wanted); network == 0 {
			form.faultf("network", "there is no network %s", quote(wanted))
		}
	}
	form.none()
	if err := form.err(); err != nil {
		return err
	}
	cond, err := c.precondition()
	if err != nil {
		return err
	}
	f := registry.Flycast{App: k.Name, Owner: k.Network}
	err = c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		if s.App(k.Network, k.Name) == nil {
			return w, noApp(k.Name)
		}
		if err := cond.check(false, 0); err != nil { // it is a new one
			return w, err
		}
		f.Address, err = newFlycastAddress(s, network)
		w.Events = []registry.Event{registry.Put(&f)}
		return w, err
	})
	if err != nil {
		return err
	}
	return c.answer(http.StatusCreated, newFlycastBody(&f))
}

// putFlycast is PUT /v1/apps/{app}/flycast/{address}. It takes the address from no
// other app.
func (c *call) putFlycast() error {
	k, addr, err := c.flycastAt()
	if err != nil {
		return err
	}
	form, err := c.readForm("flycast")
	if err != nil {
		return err
	}
	form.none()
	if err := form.err(); err != nil {
		return err
	}
	cond, err := c.precondition()
	if err != nil {
		return err
	}
	f := registry.Flycast{Address: addr, App: k.Name, Owner: k.Network}
	created := false
	err = c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		if s.App(k.Network, k.Name) == nil {
			return w, noApp(k.Name)
		}
		w.Events = []registry.Event{registry.Put(&f)}
		if err := c.who.mayWrite(s, w.Events); err != nil {
			return w, err // before saying who has the address
		}
		old := flycastOf(s, k, addr)
		if err := cond.checkFlycast(s, old); err != nil {
			return w, err
		}
		if o := s.FlycastAt(addr); o != nil && old == nil {
			return w, failf(http.StatusConflict, "%v is an address of the app %s: delete it there first", addr, quote(o.App))
		}
		created = old == nil
		return w, nil
	})
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return c.answer(status, newFlycastBody(&f))
}

// deleteFlycast is DELETE /v1/apps/{app}/flycast/{address}.
func (c *call) deleteFlycast() error {
	k, addr, err := c.flycastAt()
	if err != nil {
		return err
	}
	cond, err := c.precondition()
	if err != nil {
		return err
	}
	err = c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		if s.App(k.Network, k.Name) == nil {
			return w, noApp(k.Name)
		}
		f := flycastOf(s, k, addr)
		if err := cond.checkFlycast(s, f); err != nil {
			return w, err
		}
		if f == nil {
			return w, noFlycast(addr)
		}
		w.Events = []registry.Event{registry.Delete(registry.Key{Kind: registry.KindFlycast, Address: addr})}
		return w, nil
	})
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
