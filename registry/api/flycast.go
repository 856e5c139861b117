package api

import (
	"net/http"
	"net/netip"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api/objects"
)

type flycastBody struct {
	Address string `json:"address"`
	App     string `json:"app"`
	Network string `json:"network"` // of the clients that see the address; it may be another than the app's
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

// flycastKey returns the app and the address that the path names.
func (c *call) flycastKey() (registry.AppKey, netip.Addr, error) {
	k, err := c.app()
	if err != nil {
		return k, netip.Addr{}, err
	}
	text := c.r.PathValue("address")
	addr, err := netip.ParseAddr(text)
	if err != nil {
		err = failf(http.StatusBadRequest, "%s is no address", registry.Quote(text))
	}
	return k, addr, err
}

// flycastOf returns the Flycast address addr if it belongs to the app, or nil.
func flycastOf(s *registry.Snapshot, k registry.AppKey, addr netip.Addr) *registry.Flycast {
	f := s.FlycastAt(addr)
	if f == nil || f.Owner != k.Network || f.App != k.Name {
		return nil
	}
	return f
}

// checkFlycast checks the precondition of a write to f, which may be nil. No index
// is stored with a Flycast address, so the index of its network is compared: it is
// never older.
func checkFlycast(p objects.Precondition, s *registry.Snapshot, f *registry.Flycast) error {
	if f == nil {
		return p.Check(false, 0)
	}
	return p.Check(true, s.NetworkIndex(f.Network()))
}

func noFlycast(addr netip.Addr) error {
	return failf(http.StatusNotFound, "flycast address %v not found", addr)
}

// getFlycast is GET /v1/apps/{app}/flycast/{address}.
func (c *call) getFlycast() error {
	k, addr, err := c.flycastKey()
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

// createFlycast is POST /v1/apps/{app}/flycast: it allocates an address.
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
	if wanted := form.String("network"); wanted != "" {
		if network = c.networkNamed(wanted); network == 0 {
			form.Faultf("network", "there is no network %s", registry.Quote(wanted))
		}
	}
	if err := form.End(); err != nil {
		return err
	}
	cond, err := c.precondition()
	if err != nil {
		return err
	}
	f := registry.Flycast{App: k.Name, Owner: k.Network}
	err = c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		if s.App(k.Network, k.Name) == nil {
			return w, objects.NoApp(k.Name)
		}
		if err := cond.Check(false, 0); err != nil { // it is a new address
			return w, err
		}
		f.Address, err = objects.NewFlycastAddress(s, network)
		w.Events = []registry.Event{registry.Put(&f)}
		return w, err
	})
	if err != nil {
		return err
	}
	return c.answer(http.StatusCreated, newFlycastBody(&f))
}

// putFlycast is PUT /v1/apps/{app}/flycast/{address}. It takes no address away from
// another app.
func (c *call) putFlycast() error {
	k, addr, err := c.flycastKey()
	if err != nil {
		return err
	}
	form, err := c.readForm("flycast")
	if err != nil {
		return err
	}
	if err := form.End(); err != nil {
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
			return w, objects.NoApp(k.Name)
		}
		w.Events = []registry.Event{registry.Put(&f)}
		if err := c.who.mayWrite(s, w.Events); err != nil {
			return w, err // before an error can tell which app has the address
		}
		old := flycastOf(s, k, addr)
		if err := checkFlycast(cond, s, old); err != nil {
			return w, err
		}
		if o := s.FlycastAt(addr); o != nil && old == nil {
			return w, failf(http.StatusConflict, "%v is an address of the app %s: delete it there first", addr, registry.Quote(o.App))
		}
		created = old == nil
		return w, nil
	})
	if err != nil {
		return err
	}
	return c.answer(okOrCreated(created), newFlycastBody(&f))
}

// deleteFlycast is DELETE /v1/apps/{app}/flycast/{address}.
func (c *call) deleteFlycast() error {
	k, addr, err := c.flycastKey()
	if err != nil {
		return err
	}
	cond, err := c.precondition()
	if err != nil {
		return err
	}
	return c.done(http.StatusNoContent, c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		if s.App(k.Network, k.Name) == nil {
			return w, objects.NoApp(k.Name)
		}
		f := flycastOf(s, k, addr)
		if err := checkFlycast(cond, s, f); err != nil {
			return w, err
		}
		if f == nil {
			return w, noFlycast(addr)
		}
		w.Events = []registry.Event{registry.Delete(f.Key())}
		return w, nil
	}))
}
