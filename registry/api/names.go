package api

import (
	"sync"

	"github.com/internaldns/internaldns/registry"
)

// A nameCache remembers in which networks there are apps of a name, for those who
// may see all networks and do not say which one they mean: of 100,000 networks,
// looking in each takes 35 ms.
type nameCache struct {
	mu       sync.Mutex
	apps     uint64 // Feed.Apps() when the names were found; with another, none of them counts
	networks map[string][]registry.Network
}

// maxNames bounds how many names are remembered.
const maxNames = 4096

// lookup returns the networks in which c's registry has an app of that name. find
// looks in all of them.
func (n *nameCache) lookup(c *call, name string, find func() []registry.Network) []registry.Network {
	// What is found in a registry that was read after apps is good as long as
	// apps stays: commits are shown before they are counted.
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
