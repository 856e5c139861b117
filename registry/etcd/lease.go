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

// wholeSeconds rounds up to what etcd can count.
func wholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}

// leaseWait bounds how long Lease waits for etcd, and how long it does not ask
// again after etcd did not answer.
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
	last := k.leases[id]
	ask := id != 0 && k.status.Connected && (last == nil || time.Until(last.Expires) <= 0) && time.Since(k.asked) > leaseWait
	client := k.client
	k.mu.Unlock()
	if id == 0 {
		return registry.Lease{}, false
	}
	if ask {
		ctx, cancel := context.WithTimeout(context.Background(), leaseWait)
		defer cancel()
		l, err := k.askLease(ctx, client, id)
		if err == nil {
			last = l
		} else if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			k.mu.Lock()
			k.asked = time.Now()
			k.mu.Unlock()
		}
	}
	if last == nil {
		return registry.Lease{}, true
	}
	return *last, true
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

// askLease asks etcd for a lease and remembers the answer.
func (k *Keeper) askLease(ctx context.Context, client *clientv3.Client, id clientv3.LeaseID) (*registry.Lease, error) {
	begun := time.Now()
	resp, err := client.TimeToLive(ctx, id)
	if err != nil {
		return nil, err
	}
	if resp.TTL <= 0 {
		return nil, rpctypes.ErrLeaseNotFound
	}
	return k.remember(id, resp.GrantedTTL, begun.Add(time.Duration(resp.TTL)*time.Second)), nil
}

// remember notes what is known of a lease; ttl is in seconds.
func (k *Keeper) remember(id clientv3.LeaseID, ttl int64, expires time.Time) *registry.Lease {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.leases) > 2*len(k.mirror.entries)+1000 {
		k.forgetLocked()
	}
	l := &registry.Lease{TTL: time.Duration(ttl) * time.Second, Expires: expires}
	k.leases[id] = l
	return l
}

// forgetLocked forgets the leases that no key has.
func (k *Keeper) forgetLocked() {
	used := make(map[clientv3.LeaseID]*registry.Lease)
	for _, e := range k.mirror.entries {
		if l := k.leases[e.lease]; l != nil {
			used[e.lease] = l
		}
	}
	k.leases = used
}

// A grant is a lease to be granted for a machine.
type grant struct {
	machine string        // its key
	ttl     time.Duration // in whole seconds
}

// grant grants a lease.
func (k *Keeper) grant(ctx context.Context, g grant) (clientv3.LeaseID, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	begun := time.Now()
	resp, err := k.client.Grant(ctx, int64(g.ttl/time.Second))
	if err != nil {
		if errors.Is(err, rpctypes.ErrLeaseTTLTooLarge) {
			return 0, registry.Faults{{Object: g.machine, Field: "ttl", Problem: fmt.Sprintf("%v is longer than etcd can grant", g.ttl)}}
		}
		return 0, err
	}
	if got := time.Duration(resp.TTL) * time.Second; got != g.ttl {
		k.client.Revoke(ctx, resp.ID)
		return 0, registry.Faults{{Object: g.machine, Field: "ttl", Problem: fmt.Sprintf("%v is shorter than the %v that this etcd grants at least", g.ttl, got)}}
	}
	k.remember(resp.ID, resp.TTL, begun.Add(g.ttl))
	return resp.ID, nil
}

// chooseLeases returns the leases that the machines of a write get. Those of other
// machines stay as they are. Leases that have to be granted, asked for or renewed are
// noted in w.
func (k *Keeper) chooseLeases(w *write, want registry.Write) map[registry.MachineKey]clientv3.LeaseID {
	if want.Lease == nil {
		return nil
	}
	ttl := wholeSeconds(*want.Lease)
	leases := make(map[registry.MachineKey]clientv3.LeaseID)
	for _, e := range want.Events {
		m, ok := e.Fact.(*registry.Machine)
		if !ok || e.Delete {
			continue
		}
		key := registry.MachineKey{App: appOf(m), ID: m.ID}
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
		case now != 0 && known == nil:
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

// obtain grants and asks for the leases without which w cannot be decided.
func (k *Keeper) obtain(ctx context.Context, w *write) error {
	for _, id := range w.unknown {
		call, cancel := context.WithTimeout(ctx, callTime)
		_, err := k.askLease(call, k.client, id)
		cancel()
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			k.waitBriefly(ctx) // the machine is about to be deleted
		} else if err != nil {
			return faultIn(ctx, err)
		}
	}
	for _, g := range w.grants {
		id, err := k.grant(ctx, g)
		if err != nil {
			return faultIn(ctx, err)
		}
		w.granted[g] = id
	}
	return nil
}

// renewAll renews leases. again tells that one had ended: its machine is about to be
// deleted, and must be put again.
func (k *Keeper) renewAll(ctx context.Context, leases []clientv3.LeaseID) (again bool, err error) {
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
			return false, faultIn(ctx, err)
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
