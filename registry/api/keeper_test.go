package api

import (
	"context"
	"sync"
	"time"

	"github.com/internaldns/internaldns/registry"
)

// A memoryKeeper keeps facts nowhere but in the store, and forgets leases only
// when told to. fail, unless nil, is what writes return.
type memoryKeeper struct {
	store *registry.Store

	mu     sync.Mutex
	leases map[registry.MachineKey]registry.Lease
	fail   error
	again  int // how many times decide is called before it counts
}

func (k *memoryKeeper) Write(ctx context.Context, decide func(*registry.Snapshot) (registry.Write, error)) (uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return 0, k.fail
	}
	for range k.again {
		decide(k.store.Snapshot())
	}
	w, err := decide(k.store.Snapshot())
	if err != nil {
		return 0, err
	}
	changes, err := k.store.Apply(w.Events)
	if err != nil {
		return 0, err
	}
	for _, e := range w.Events {
		if p, ok := e.(registry.PutMachine); ok && w.Lease != nil {
			key := registry.MachineKey{App: registry.AppKey{Network: p.Network, Name: p.App}, ID: p.ID}
			delete(k.leases, key)
			if *w.Lease > 0 {
				k.leases[key] = registry.Lease{TTL: *w.Lease, Expires: time.Now().Add(*w.Lease)}
			}
		}
	}
	return changes.Index, nil
}

func (k *memoryKeeper) Lease(key registry.MachineKey) (registry.Lease, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, ok := k.leases[key]
	return l, ok
}
