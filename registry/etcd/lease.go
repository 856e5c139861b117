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
	id := k.leaseLocked(key)
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

func (k *Keeper) leaseLocked(of registry.MachineKey) clientv3.LeaseID {
	if k.mirror == nil {
		return 0
	}
	a := k.mirror.apps[of.App]
	if a == nil {
		return 0
	}
	for _, e := range a.machines[of.ID] {
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

// renew renews a lease.
func (k *Keeper) renew(ctx context.Context, client *clientv3.Client, id clientv3.LeaseID) error {
	begun := time.Now()
	resp, err := client.KeepAliveOnce(ctx, id)
	if err != nil {
		return err
	}
	k.remember(id, resp.TTL, begun.Add(time.Duration(resp.TTL)*time.Second))
	return nil
}

// grant grants a lease of ttl, which is whole seconds.
func (k *Keeper) grant(ctx context.Context, client *clientv3.Client, g *grant) (clientv3.LeaseID, error) {
	begun := time.Now()
	resp, err := client.Grant(ctx, int64(g.ttl/time.Second))
	if err != nil {
		if errors.Is(err, rpctypes.ErrLeaseTTLTooLarge) {
			return 0, registry.Faults{{Object: g.machine, Field: "ttl", Problem: fmt.Sprintf("%v is longer than etcd can grant", g.ttl)}}
		}
		return 0, err
	}
	if got := time.Duration(resp.TTL) * time.Second; got != g.ttl {
		client.Revoke(ctx, resp.ID)
		return 0, registry.Faults{{Object: g.machine, Field: "ttl", Problem: fmt.Sprintf("%v is shorter than the %v that this etcd grants at least", g.ttl, got)}}
	}
	k.remember(resp.ID, resp.TTL, begun.Add(g.ttl))
	return resp.ID, nil
}

// learn asks etcd for the TTL of the leases that the batch needs.
func (w *write) learn(ctx context.Context, b *batch) error {
	for _, id := range b.unknown {
		call, cancel := context.WithTimeout(ctx, callTime)
		_, err := w.askLease(call, w.client, id)
		cancel()
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return w.lost(ctx, b.revision, 0) // the machine is about to go
		}
		if err != nil {
			return w.fault(ctx, err)
		}
	}
	return nil
}

// lease renews and grants the leases of the batch.
func (w *write) lease(ctx context.Context, b *batch) (again bool, err error) {
	for _, id := range b.renew {
		call, cancel := context.WithTimeout(ctx, callTime)
		err := w.renew(call, w.client, id)
		cancel()
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return true, w.lost(ctx, b.revision, 0)
		}
		if err != nil {
			return false, w.fault(ctx, err)
		}
	}
	for _, p := range b.puts {
		if p.grant == nil || w.granted[*p.grant] != 0 {
			continue
		}
		call, cancel := context.WithTimeout(ctx, callTime)
		id, err := w.grant(call, w.client, p.grant)
		cancel()
		if err != nil {
			return false, w.fault(ctx, err)
		}
		w.granted[*p.grant] = id
	}
	return false, nil
}

// revoke revokes the leases that were granted and that no key has.
func (w *write) revoke() {
	for _, id := range w.granted {
		call, cancel := context.WithTimeout(context.Background(), callTime)
		w.client.Revoke(call, id)
		cancel()
	}
}
