package api

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/internaldns/internaldns/registry"
	"github.com/internaldns/internaldns/registry/api/objects"
)

// An appBody is an app as Fly's API shows it, and its network's prefix.
type appBody struct {
	ID            string   `json:"id"`
	Name          string   `json:"name"`
	Status        string   `json:"status"`
	MachineCount  int      `json:"machine_count"`
	VolumeCount   int      `json:"volume_count"`
	Network       string   `json:"network"`
	NetworkPrefix string   `json:"network_prefix"`
	Organization  *orgBody `json:"organization,omitzero"`
}

// An orgBody is an app's network as Fly's clients expect it: there are no
// organizations here.
type orgBody struct {
	Name string `json:"name"`
	Slug string `json:"slug"`
}

// defaultNetwork is the name of the network of apps that are created without one,
// as in Fly's API.
const defaultNetwork = "default"

// appID returns the id of an app: 16 digits that depend on its network and name
// alone.
func appID(k registry.AppKey) string {
	sum := sha256.Sum256([]byte(k.Network.String() + "/" + k.Name))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}

func (c *call) appBody(a *registry.App) appBody {
	b := appBody{
		ID: appID(a.AppKey()), Name: a.Name, Status: "pending",
		Network: c.networkLabel(a.Network), NetworkPrefix: a.Network.String(),
	}
	for m := range c.snap.Machines(a) {
		if !m.Gone() {
			b.MachineCount++
		}
	}
	if b.MachineCount > 0 {
		b.Status = "deployed"
	}
	return b
}

// listApps is GET /v1/apps.
func (c *call) listApps() error {
	networks, total := c.networks(), 0
	for _, n := range networks {
		for range c.snap.AppsIn(n) {
			total++
		}
	}
	return list(c, fmt.Sprintf(`{"total_apps":%d,"apps":[`, total), func(yield func(appBody) bool) {
		for _, n := range networks {
			for a := range c.snap.AppsIn(n) {
				if !yield(c.appBody(a)) {
					return
				}
			}
		}
	})
}

// getApp is GET /v1/apps/{app}.
func (c *call) getApp() error {
	k, err := c.app()
	if err != nil {
		return err
	}
	a := c.snap.App(k.Network, k.Name)
	b := c.appBody(a)
	b.Organization = &orgBody{b.Network, b.Network}
	c.etag(a.Modified)
	return c.answer(http.StatusOK, b)
}

// checkApp checks the precondition of a write to an app, or to none if a is nil.
func checkApp(p objects.Precondition, a *registry.App) error {
	if a == nil {
		return p.Check(false, 0)
	}
	return p.Check(true, a.Modified)
}

// createApp is POST /v1/apps.
func (c *call) createApp() error {
	f, err := c.readForm("app")
	if err != nil {
		return err
	}
	name := f.String("app_name")
	if other := f.String("name"); name == "" {
		name = other // flyctl's name of the field
	}
	network := f.String("network")
	f.String("org_slug")
	key := registry.AppKey{Name: registry.Fold(name)}
	switch {
	case name != "":
		f.Check(registry.Facts{Apps: []registry.App{{Network: 1, Name: key.Name}}}) // in any network
	case len(f.Faults) == 0:
		f.Faultf("app_name", "is missing")
	}
	if strings.Contains(network, "/") {
		if _, err := registry.ParseNetwork(network); err != nil {
			f.Faultf("network", "%v", err)
		}
	}
	if err := f.Faults.Err(); err != nil {
		return err
	}
	cond, err := c.precondition()
	if err != nil {
		return err
	}
	err = c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		c.snap = s
		if key.Network, w.Events, err = c.networkForApp(network); err != nil {
			return w, err
		}
		a := s.App(key.Network, key.Name)
		if err := checkApp(cond, a); err != nil {
			return w, err
		}
		if a != nil {
			f := failf(http.StatusConflict, "Name has already been taken: %v has an app %s", key.Network, registry.Quote(key.Name))
			f.Body.Status = "name_taken" // Fly's clients look for it
			return w, f
		}
		w.Events = append(w.Events, registry.Put(&registry.App{Network: key.Network, Name: key.Name}))
		return w, nil
	})
	if err != nil {
		return err
	}
	c.snap = c.api.Store.Snapshot()
	return c.answer(http.StatusCreated, struct {
		ID            string `json:"id"`
		CreatedAt     int64  `json:"created_at"` // milliseconds since 1970
		Name          string `json:"name"`
		Network       string `json:"network"`
		NetworkPrefix string `json:"network_prefix"`
	}{appID(key), time.Now().UnixMilli(), key.Name, c.networkLabel(key.Network), key.Network.String()})
}

// networkForApp returns the network in which an app is to be created, and the
// events that make the network if it is a new one.
func (c *call) networkForApp(wanted string) (registry.Network, []registry.Event, error) {
	if wanted == "" {
		if len(c.who.networks) == 1 {
			return c.who.networks[0], nil, nil
		}
		wanted = defaultNetwork
	}
	if n := c.networkNamed(wanted); n != 0 {
		return n, nil, nil
	}
	if !c.who.all {
		return 0, nil, failf(http.StatusForbidden, "the token is not for the network %s", registry.Quote(wanted))
	}
	n, err := objects.NewNetwork(c.snap)
	return n, []registry.Event{registry.Put(&registry.NetworkName{Network: n, Name: registry.Fold(wanted)})}, err
}

// deleteApp is DELETE /v1/apps/{app}.
func (c *call) deleteApp() error {
	k, err := c.app()
	if err != nil {
		return err
	}
	cond, err := c.precondition()
	if err != nil {
		return err
	}
	return c.done(http.StatusAccepted, c.write(func(s *registry.Snapshot) (w registry.Write, err error) {
		a := s.App(k.Network, k.Name)
		if err := checkApp(cond, a); err != nil {
			return w, err
		}
		if a == nil {
			return w, objects.NoApp(k.Name)
		}
		w.Events = []registry.Event{registry.Delete(a.Key())}
		return w, nil
	}))
}
