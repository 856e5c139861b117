package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/internaldns/internaldns/registry"
)

// leaseWait bounds how long Lease waits for etcd.
const leaseWait = time.Second

// Lease returns the lease of a machine, and whether it has one. The end is that
// of the last renewal known here; when that has passed, etcd is asked, and if it
// does not answer the last that is known is returned.
func (k *Keeper) Lease(key registry.MachineKey) (registry.Lease, bool) {
	k.mu.Lock()
	if k.mirror == nil {
		k.mu.Unlock()
		return registry.Lease{}, false
	}
	id := leaseOf(k.mirror.machines(key))
	last, connected := k.leases[id], k.status.Connected
	k.mu.Unlock()
	if id == 0 {
		return registry.Lease{}, false
	}
	if connected && time.Until(last.Expires) <= 0 {
		ctx, cancel := context.WithTimeout(context.Background(), leaseWait)
		defer cancel()
		begun := time.Now()
		if resp, err := k.client.TimeToLive(ctx, id); err == nil && resp.TTL > 0 {
			last = k.remember(id, resp.GrantedTTL, begun.Add(time.Duration(resp.TTL)*time.Second))
		}
	}
	return last, true
}

// leaseOf returns the lease of the machines of one app and id, or 0.
func leaseOf(entries []*entry) clientv3.LeaseID {
	for _, e := range entries {
		if e.lease != 0 && e.why == "" {
			return e.lease
		}
	}
	return 0
}

// remember notes what is known of a lease; ttl is in seconds.
func (k *Keeper) remember(id clientv3.LeaseID, ttl int64, expires time.Time) registry.Lease {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.leases) > 2*len(k.mirror.entries)+1000 { // most are of keys that have been deleted
		clear(k.leases)
	}
	k.leases[id] = registry.Lease{TTL: time.Duration(ttl) * time.Second, Expires: expires}
	return k.leases[id]
}

// A grant is a lease to be granted for a machine.
type grant struct {
	machine string        // its key
	ttl     time.Duration // in whole seconds, which etcd counts
}

// chooseLeases returns the leases that the machines of a write get. Those of other
// machines stay as they are. Leases that have to be granted or renewed are noted in w.
func (k *Keeper) chooseLeases(w *write, want registry.Write) map[registry.MachineKey]clientv3.LeaseID {
	if want.Lease == nil {
		return nil
	}
	ttl := (*want.Lease + time.Second - 1).Truncate(time.Second)
	leases := make(map[registry.MachineKey]clientv3.LeaseID)
	for _, e := range want.Events {
		m, ok := e.Fact.(*registry.Machine)
		if !ok || e.Delete {
			continue
		}
		key := m.MachineKey()
		if _, done := leases[key]; done {
			continue
		}
		leases[key] = 0
		if ttl <= 0 {
			continue
		}
		now := leaseOf(k.mirror.machines(key))
		known := k.leases[now]
		g := grant{machineKey(key, 1), ttl}
		switch {
		case now != 0 && known.TTL == 0: // another node has granted it
			w.unknown = append(w.unknown, now)
		case now != 0 && known.TTL == ttl:
			leases[key] = now
			w.renew = append(w.renew, now)
		case w.granted[g] != 0:
			leases[key] = w.granted[g]
		default:
			w.grants = append(w.grants, g)
		}
	}
	return leases
}

// obtain makes that w can be decided: it grants leases, and renews those of which this
// node does not know the TTL.
func (k *Keeper) obtain(ctx context.Context, w *write) error {
	if _, err := k.renew(ctx, w.unknown); err != nil {
		return err
	}
	for _, g := range w.grants {
		id, err := k.grant(ctx, g)
		if err != nil {
			return fault(ctx, err)
		}
		w.granted[g] = id
	}
	return nil
}

// grant grants a lease.
func (k *Keeper) grant(ctx context.Context, g grant) (clientv3.LeaseID, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	begun := time.Now()
	fault := func(problem string, args ...any) error {
		return registry.Faults{{Object: g.machine, Field: "ttl", Problem: fmt.Sprintf(problem, args...)}}
	}
	resp, err := k.client.Grant(ctx, int64(g.ttl/time.Second))
	if errors.Is(err, rpctypes.ErrLeaseTTLTooLarge) {
		return 0, fault("%v is longer than etcd can grant", g.ttl)
	}
	if err != nil {
		return 0, err
	}
	if got := time.Duration(resp.TTL) * time.Second; got != g.ttl {
		k.client.Revoke(ctx, resp.ID)
		return 0, fault("%v is shorter than the %v that this etcd grants at least", g.ttl, got)
	}
	k.remember(resp.ID, resp.TTL, begun.Add(g.ttl))
	return resp.ID, nil
}

// renew renews leases. again reports that one had ended: its machine is about to be
// deleted, and the write must be decided again.
func (k *Keeper) renew(ctx context.Context, leases []clientv3.LeaseID) (again bool, err error) {
	for _, id := range leases {
		call, cancel := context.WithTimeout(ctx, callTime)
		begun := time.Now()
		resp, err := k.client.KeepAliveOnce(call, id)
		cancel()
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			k.waitBriefly(ctx)
			return true, nil
		}
		if err != nil {
			return false, fault(ctx, err)
		}
		k.remember(id, resp.TTL, begun.Add(time.Duration(resp.TTL)*time.Second))
	}
	return false, nil
}

// discardLeases gives up the leases that were granted for w: one of them has ended.
func (w *write) discardLeases() {
	for _, id := range w.granted {
		w.unused = append(w.unused, id)
	}
	clear(w.granted)
}

// revoke revokes the leases that were granted for w and that no key has.
func (k *Keeper) revoke(w *write) {
	w.discardLeases()
	for _, id := range w.unused {
		call, cancel := context.WithTimeout(context.Background(), callTime)
		k.client.Revoke(call, id)
		cancel()
	}
	w.unused = nil
}
