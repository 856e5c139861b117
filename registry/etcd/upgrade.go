package etcd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// errBroken reports that etcd has no registry that this version can read, and that a
// person has to repair it.
var errBroken = errors.New("the registry is damaged")

// prepare makes an empty registry if there is none, and upgrades one of format 1. It
// returns the control keys afterwards.
func (k *Keeper) prepare(ctx context.Context) (*control, error) {
	absent := func(key string) clientv3.Cmp { return clientv3.Compare(clientv3.CreateRevision(k.key(key)), "=", 0) }
	put := func(key, value string) clientv3.Op { return clientv3.OpPut(k.key(key), value) }
	for range 3 {
		c, err := k.control(ctx)
		txn := k.client.Txn(ctx)
		switch {
		case err != nil:
			return nil, err
		case c.name == "" && c.epoch == "": // there is none
			txn.If(absent(keyRegistry), absent(keyEpoch)).
				Then(put(keyRegistry, rand.Text()), put(keyEpoch, "1"), put(keyFormat, currentFormat), put(keyHead, ""))
		case c.name == "" || c.epoch == "":
			return nil, fmt.Errorf("%w: of %s and %s only one is there", errBroken, k.key(keyRegistry), k.key(keyEpoch))
		case c.format == "": // servers of format 1 take this for an import that does not end
			txn.If(absent(keyFormat), clientv3.Compare(clientv3.Value(k.key(keyRegistry)), "=", c.name)).
				Then(put(keyFormat, upgrading), put(keyHead, ""))
		case c.format == upgrading:
			if err := k.dropClaims(ctx, c); err != nil {
				return nil, err
			}
			txn.If(clientv3.Compare(clientv3.Value(k.key(keyFormat)), "=", upgrading)).Then(put(keyFormat, currentFormat))
		case c.format == currentFormat:
			return c, nil
		case c.formatLeased:
			return nil, errors.New("a server of an older version imports a registry; this one waits until that has ended")
		default:
			return nil, fmt.Errorf("%w: its format, %.20q in %s, is unknown to this version", errBroken, c.format, k.key(keyFormat))
		}
		if _, err := txn.Commit(); err != nil { // another node may be quicker
			return nil, err
		}
	}
	return nil, errors.New("the registry is being changed by other servers")
}

// claimKinds are the beginnings of the keys of format 1 that said whose an id, an address
// or a name is, and how objects say that they want it.
var claimKinds = map[string]string{"ids": wantID, "addresses": wantAddress, "names": wantName}

// isClaim reports whether a key below an epoch is a claim of format 1.
func isClaim(key string) bool {
	kind, _, _ := strings.Cut(key, "/")
	return claimKinds[kind] != ""
}

// dropClaims deletes the claims of format 1, except those with leases: old servers can
// renew a lease only while its claims exist. An object that had a claim comes before
// others that want the same (see mirror.before): those that are older are put again.
func (k *Keeper) dropClaims(ctx context.Context, c *control) error {
	root := k.key(c.epoch) + "/"
	owners := make(map[string]string) // key of the owner, by what it wants
	var ops []clientv3.Op
	for kind, want := range claimKinds {
		err := pages(ctx, k.client, root+kind+"/", c.revision, func(kv *mvccpb.KeyValue) error {
			owners[want+string(kv.Key[len(root+kind+"/"):])] = string(kv.Value)
			if kv.Lease == 0 {
				ops = append(ops, clientv3.OpDelete(string(kv.Key)))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	m, err := k.list(ctx, c)
	if err != nil {
		return err
	}
	again := make(map[*entry]bool)
	for want, key := range owners {
		if owner := m.entries[key]; slices.Contains(m.wanted[want], owner) {
			for _, e := range m.wanted[want] {
				again[e] = again[e] || older(e, owner)
			}
		}
	}
	for e, is := range again {
		if !is {
			continue
		}
		// Only if it is as it was: another server may be upgrading, too.
		same := clientv3.Compare(clientv3.ModRevision(root+e.key), "=", e.mod)
		if _, err := k.client.Txn(ctx).If(same).Then(putUnchanged(root + e.key)).Commit(); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(ops, maxOps) {
		if _, err := k.client.Txn(ctx).Then(some...).Commit(); err != nil {
			return err
		}
	}
	k.log.Info("registry in etcd upgraded", zap.String("format", currentFormat), zap.Int("claims", len(owners)))
	return nil
}
